import type { ServerResponse } from 'node:http';

/** Whether the client hung up before the end of its answer. An answer cut off by our own fault does not count. */
export function clientLeft({ destroyed, writableFinished, errored }: ServerResponse): boolean {
  return destroyed && !writableFinished && !errored;
}
