import { MAX_BATCH_BYTES, MAX_JSON_DEPTH, MAX_RESULT_BYTES } from '#protocol/limits.js';

// Numbers of the runner. Those of the wire are in the protocol's table.

/** Bytes of a result's JSON. The call of a worker has at most 160 bytes around it, and is no larger than 1 MiB either. */
export const MAX_RESULT_JSON_BYTES = MAX_RESULT_BYTES - '{"result":}'.length;
/** Arrays and objects around a value of a result or a question: one less than the service takes, for the call around it. */
export const MAX_DEPTH = MAX_JSON_DEPTH - 1;

/** Output leaves after this time, or sooner when there are this many bytes of it. */
export const JOIN_MS = 50;
export const JOIN_BYTES = 4 * 1024;
/** Bytes of one joined output: below what an event may have. */
export const MAX_JOINED_BYTES = 8 * 1024;
/** Bytes of output that are on their way. Above, `output` waits. */
export const MAX_BUFFERED_BYTES = 256 * 1024;
/** Bytes of one batch; the difference is for what joining adds and takes away. */
export const MAX_SENT_BYTES = MAX_BATCH_BYTES - 16 * 1024;
/** Bytes of what a run says before its last finished step has returned. Above, it is dropped. */
export const MAX_HELD_BYTES = 1024 * 1024;
