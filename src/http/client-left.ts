import type { ServerResponse } from 'node:http';

/**
 * Whether `error` comes from a client that hung up before it had all of its answer. An answer that a fault of ours cut off
 * has that fault. A pipeline may still report a premature close when the client leaves right after the last byte.
 */
export function clientLeft({ destroyed, writableFinished, errored }: ServerResponse, error: unknown): boolean {
  return destroyed && !errored && (!writableFinished || codeOf(error) === 'ERR_STREAM_PREMATURE_CLOSE');
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null | undefined)?.code;
}
