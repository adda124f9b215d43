/** Bytes of a result's JSON: 1 MiB, less the rest of a worker's call. */
export const MAX_RESULT_BYTES = 1024 * 1024 - 128;
/** Arrays and objects around a value of a result or a question: one less than the service accepts, for the call around it. */
export const MAX_DEPTH = 31;
/** The default of the bytes of one event's payload. */
export const MAX_EVENT_BYTES = 64 * 1024;

/** Output leaves after this time, or sooner when there are this many bytes of it. */
export const JOIN_MS = 50;
export const JOIN_BYTES = 4 * 1024;
/** Bytes of one joined output, below the limit of an event. */
export const MAX_JOINED_BYTES = 8 * 1024;
/** Bytes of output under way. Above this, `output` waits. */
export const MAX_BUFFERED_BYTES = 256 * 1024;

/** Of one batch. */
export const MAX_BATCH_EVENTS = 500;
/** The service accepts 256 KiB. The difference is for the effects of joining. */
export const MAX_BATCH_BYTES = 240 * 1024;

/** UTF-16 units of a failure's texts. */
export const MAX_CODE_LENGTH = 255;
export const MAX_MESSAGE_LENGTH = 8_192;
export const LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** Characters of the names in a question, and how many actions it may allow. */
export const MAX_NAME_CHARACTERS = 255;
export const MAX_ALLOWED_ACTIONS = 100;
