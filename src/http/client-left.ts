import type { ServerResponse } from 'node:http';

/** Whether the client hung up before it had all of its answer. An answer that a fault of ours cut off has that fault. */
export function clientLeft({ destroyed, writableFinished, errored }: ServerResponse): boolean {
  return destroyed && !writableFinished && !errored;
}
