"""Numbers of the service, and of the runner."""

KIB = 1024
MAX_EVENT_BYTES = 64 * KIB
MAX_STEP_RESULT_BYTES = 64 * KIB
MAX_RESULT_JSON_BYTES = 1024 * KIB - 256 - len('{"result":}')
MAX_DEPTH = 31
"""Arrays and objects around a value: one less than the service takes, for the call around it."""
MAX_BATCH_EVENTS = 500
MAX_SENT_BYTES = 240 * KIB
"""Of one batch. The difference to what the service takes is for what joining adds and takes away."""
MAX_HELD_LEASES = 500
MAX_CLAIM = 50
MAX_NAME_LENGTH = 255
MAX_FAILURE_MESSAGE_LENGTH = 8_192
MAX_ALLOWED_ACTIONS = 100
LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1_000

JOIN_SECONDS = 0.05
JOIN_BYTES = 4 * KIB
"""Output leaves after this time, or sooner when there are this many bytes of it."""
MAX_JOINED_BYTES = 8 * KIB
MAX_BUFFERED_BYTES = 256 * KIB
"""Bytes of output on their way. Above, `output` waits."""
MAX_HELD_BYTES = 1024 * KIB
"""Bytes of what a run says before its last finished step has returned. Above, it is dropped."""
