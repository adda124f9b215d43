import * as wire from '#protocol/limits.js';

// Where a limit is tighter than that of the wire, the difference is what the runner or the call of a worker adds.

/** Bytes of a result's JSON. */
export const MAX_RESULT_BYTES = wire.MAX_RESULT_BYTES - 128;
/** Arrays and objects around a value of a result or a question. */
export const MAX_DEPTH = wire.MAX_JSON_DEPTH - 1;
/** Bytes of the payloads of one batch. Joining adds and takes away. */
export const MAX_BATCH_BYTES = wire.MAX_BATCH_BYTES - 16 * 1024;

/** Output leaves after this time, or sooner when there are this many bytes of it. */
export const JOIN_MS = 50;
export const JOIN_BYTES = 4 * 1024;
/** Bytes of one joined output, below the limit of an event. */
export const MAX_JOINED_BYTES = 8 * 1024;
/** Bytes of output under way. Above this, `output` waits. */
export const MAX_BUFFERED_BYTES = 256 * 1024;
