/**
 * Which transactions were over at a moment: all below `xmax` but those that were open. It may say less than PostgreSQL knew, so that a change
 * comes twice, and never more.
 */
export interface Snapshot {
  /** The clock of the database, in Unix milliseconds. */
  readonly at: number;
  readonly xmax: bigint;
  /** Ids of open transactions below `xmax`, ascending. */
  readonly open: readonly bigint[];
}

const MAX_OPEN = 64;
/** Two snapshots, an epoch and a position are a cursor of at most 1 KiB. */
const MAX_BYTES = 340;

/** A `pg_snapshot` in text form. Of many open transactions the newest are left out, and count as not begun. */
export function snapshotFrom(text: string, at: number): Snapshot {
  const [, top = '', list = ''] = text.split(':');
  const open = list === '' ? [] : list.split(',').map(BigInt);
  let cut: Snapshot = { at: Math.floor(at), xmax: BigInt(top), open };
  while (cut.open.length > MAX_OPEN || bytesOf(cut).length > MAX_BYTES) {
    cut = { ...cut, xmax: cut.open.at(-1) ?? 0n, open: cut.open.slice(0, -1) };
  }
  return cut;
}

/** The same as a `pg_snapshot` in text form. */
export function textOf({ xmax, open }: Snapshot): string {
  return `${open[0] ?? xmax}:${xmax}:${open.join(',')}`;
}

/** Numbers in groups of 7 bits. Ids that are near each other take a byte or two. */
export function bytesOf({ at, xmax, open }: Snapshot): readonly number[] {
  const distances = [...open].reverse().map((id, n, down) => (down[n - 1] ?? xmax) - id);
  return [BigInt(at), xmax, BigInt(open.length), ...distances].flatMap(varint);
}

export function readSnapshot(read: () => bigint): Snapshot {
  const [at, xmax, length] = [Number(read()), read(), Number(read())];
  if (!Number.isSafeInteger(at) || xmax === 0n || length > MAX_OPEN) throw new RangeError('no snapshot');
  const open: bigint[] = [];
  for (let last = xmax; open.length < length; ) {
    const distance = read();
    if (distance === 0n || distance >= last) throw new RangeError('no snapshot');
    open.push((last -= distance));
  }
  return { at, xmax, open: open.reverse() };
}

export function varint(value: bigint): number[] {
  return value < 128n ? [Number(value)] : [Number(value & 127n) | 128, ...varint(value >> 7n)];
}
