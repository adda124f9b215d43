import type { Redis } from 'ioredis';

/** `v2` is the form of an entry. Builds that write another form use another stream, and reach each other by the head comparison. */
export const STREAM_KEY = 'taskbridge:live:v2';

/**
 * The approximate number of entries that the stream keeps for a reader that reconnects. Single events of 325 bytes take 2 MB of
 * Redis, full packs 64 MB, and payloads at their limit of 64 KiB 256 MB.
 */
export const STREAM_ENTRIES = 4_000;

/**
 * A write that Redis refuses in the same cases as all others (read-only, out of memory, no permission). It writes nothing,
 * because the stream does not exist.
 */
export async function checkWritable(redis: Redis): Promise<void> {
  await redis.xadd(`${STREAM_KEY}:none`, 'NOMKSTREAM', '*', 'a', 'a');
}

/** Both reads of the stream, without waiting. */
export async function checkReadable(redis: Redis): Promise<void> {
  await redis.xrevrange(STREAM_KEY, '+', '-', 'COUNT', 1);
  await redis.xread('COUNT', 1, 'STREAMS', STREAM_KEY, '$');
}

/** Whether the id of a stream entry, `<milliseconds>-<sequence>`, is less than another. Both parts have up to 64 bits. */
export function isBefore(id: string, other: string): boolean {
  const [time = '', sequence = ''] = id.split('-');
  const [otherTime = '', otherSequence = ''] = other.split('-');
  return (compareDigits(time, otherTime) || compareDigits(sequence, otherSequence)) < 0;
}

function compareDigits(digits: string, other: string): number {
  return digits.length - other.length || (digits < other ? -1 : Number(digits > other));
}
