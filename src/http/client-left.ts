import type { ServerResponse } from 'node:http';

/**
 * Whether `error` comes from a client that hung up before the end of its answer. An answer cut off by our own fault does not
 * count. A pipeline may still report a premature close when the client leaves right after the last byte.
 */
export function clientLeft({ destroyed, writableFinished, errored }: ServerResponse, error: unknown): boolean {
  return destroyed && !errored && (!writableFinished || codeOf(error) === 'ERR_STREAM_PREMATURE_CLOSE');
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null | undefined)?.code;
}
