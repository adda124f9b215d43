import { MAX_CHANGES_CURSOR_LENGTH } from '#protocol/limits.js';
import { InvalidCursor } from '../../tasks/domain/tasks.errors.js';
import { bytesOf, readSnapshot, type Snapshot, varint } from './snapshot.js';

/** A place among changes, which are in the order of their transaction ids and tasks. */
export interface Position {
  readonly xid: bigint;
  readonly taskId: string;
}

/** What a client has of a feed. */
export interface ChangeCursor {
  /** The history of the database in which the ids count, as 16 hex digits. */
  readonly epoch: string;
  /** The client has what was visible in this one. */
  readonly base: Snapshot;
  /** Between two pages: what is visible in `target` is on its way, and the client has it up to `position`. */
  readonly target?: Snapshot;
  readonly position?: Position;
}

const EPOCH_BYTES = 8;
/** PostgreSQL refuses larger ids in a list of open ones. */
const XID_BITS = 63n;
const TASK_ID_BYTES = 16;

/** The part of an epoch that cursors have. */
export const shortEpoch = (epoch: string) => epoch.slice(0, 2 * EPOCH_BYTES);

export function cursorText({ epoch, base, target, position }: ChangeCursor): string {
  const place = position && [...varint(position.xid), ...Buffer.from(position.taskId.replaceAll('-', ''), 'hex')];
  const round = target && place ? [...bytesOf(target), ...place] : [];
  return Buffer.from([...Buffer.from(epoch, 'hex'), ...bytesOf(base), ...round]).toString('base64url');
}

/** @throws InvalidCursor for a text that `cursorText` does not make */
export function cursorFrom(text: string): ChangeCursor {
  try {
    if (text.length > MAX_CHANGES_CURSOR_LENGTH) throw new RangeError('too long');
    const cursor = parsed(Buffer.from(text, 'base64url'));
    if (cursorText(cursor) !== text) throw new RangeError('not canonical');
    return cursor;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new InvalidCursor('The cursor must be one that a feed of changes gave out.');
  }
}

function parsed(bytes: Buffer): ChangeCursor {
  let at = EPOCH_BYTES;
  const read = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 127) << shift;
      if (value >> XID_BITS > 0n) throw new RangeError('too large');
      if (byte < 128) return value;
    }
  };
  const epoch = bytes.toString('hex', 0, EPOCH_BYTES);
  const base = readSnapshot(read);
  if (at === bytes.length) return { epoch, base };
  const target = readSnapshot(read);
  const xid = read();
  if (bytes.length - at !== TASK_ID_BYTES) throw new RangeError('no position');
  const taskId = bytes.toString('hex', at).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return { epoch, base, target, position: { xid, taskId } };
}
