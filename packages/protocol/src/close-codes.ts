export interface CloseRow {
  readonly code: number;
  /** What the close frame says where there is no error code. */
  readonly reason?: string;
  /** For PROTOCOL.md: why the connection ends, and what the client does. */
  readonly why: string;
  readonly client: string;
}

/** How a WebSocket ends. Below 4400: reconnect and resume. From 4400 on: do not come back unchanged. */
export const CLOSE_CODES = {
  over: {
    code: 1000,
    why: 'the task is over; at once when the cursor is at its terminal event',
    client: 'is done',
  },
  protocolBroken: {
    code: 1002,
    why: 'the client broke the rules of WebSocket frames (RFC 6455), for instance without a mask',
    client: 'has a bug',
  },
  binary: { code: 1003, why: 'the client sent a binary frame', client: 'has a bug' },
  invalidText: { code: 1007, why: 'the client sent invalid UTF-8', client: 'has a bug' },
  tooLarge: { code: 1009, why: 'the client sent more than 64 KiB', client: 'has a bug' },
  restarting: {
    code: 1012,
    reason: 'DRAINING',
    why: 'the service shuts down or restarts',
    client: 'resumes after 1 to 5 s, at random',
  },
  maxAgeOfOne: {
    code: 1012,
    reason: 'MAX_AGE',
    why: 'a connection that follows one task was as old as connections get (`STREAM_MAX_SECONDS`)',
    client: 'resumes after 1 to 5 s, at random',
  },
  overloaded: {
    code: 1013,
    why: 'the service cannot now, or the principal has too many streams',
    client: 'resumes, with backoff',
  },
  maxAge: {
    code: 4001,
    reason: 'MAX_AGE',
    why: 'a connection with the multiplex subprotocol was as old as connections get (`STREAM_MAX_SECONDS`)',
    client: 'resumes at once',
  },
  slowConsumer: {
    code: 4013,
    reason: 'SLOW_CONSUMER',
    why: 'the client did not read',
    client: 'resumes from the last event that it handled',
  },
  badFrame: {
    code: 4400,
    why: 'a frame that is not understood, a second `subscribe` where one task is followed, a malformed cursor',
    client: 'stops',
  },
  notAuthenticated: {
    code: 4401,
    why: 'who is calling is not proved, or no longer: the credentials have ended',
    client: 'stops, or comes back with credentials',
  },
  refused: { code: 4403, why: 'not allowed', client: 'stops' },
  noSuchTask: { code: 4404, why: 'no such task for this principal', client: 'stops' },
  noSubscribe: {
    code: 4408,
    reason: 'SUBSCRIBE_TIMEOUT',
    why: 'no `subscribe` within 10 s of opening',
    client: 'stops',
  },
  cursorAhead: { code: 4409, why: 'the cursor is ahead of the task', client: 'stops' },
} as const satisfies Readonly<Record<string, CloseRow>>;

export type CloseName = keyof typeof CLOSE_CODES;
