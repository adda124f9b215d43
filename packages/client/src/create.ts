import { TaskBridgeError } from './errors.js';
import type { RequestIds } from './store.js';
import { FollowedTask, type TaskPorts } from './task.js';
import { randomId } from './waiting.js';

export interface CreateOptions {
  /** Names the request: the same again is the same task, from any device. Default: one is made up. */
  readonly requestId?: string;
  /** Kept with the task, and shown in its snapshot. */
  readonly metadata?: object;
  readonly files?: readonly Blob[];
  /** RFC 3339: the task does not begin before. */
  readonly startAfter?: string;
  /** Ends the attempts to create it. What the service has stored stays. */
  readonly signal?: AbortSignal;
}

/** An upload may take long before the service says a word. */
const UPLOAD_MS = 2 ** 31 - 1;

/** A task at once. Its request is sent, and repeated, until the service has answered. */
export function created<R>(
  ports: TaskPorts,
  requests: RequestIds | undefined,
  asked: { readonly taskType: string; readonly input: unknown },
  { requestId = requests ? undefined : randomId(), metadata, startAfter, files = [], signal }: CreateOptions = {},
): FollowedTask<R> {
  const post = async (): Promise<string> => {
    const content = { ...asked, metadata, startAfter };
    const kept = requestId === undefined && (await requests?.take(JSON.stringify(content)));
    if (kept) ports.onEnd = kept.forget;
    const members = { clientRequestId: kept ? kept.requestId : requestId, ...content };
    try {
      const { taskId, deduplicated } = await ports.http.post<{ taskId: string; deduplicated: boolean }>(
        '/tasks',
        members,
        {
          signal: signal ?? null,
          ...(files.length && { body: formOf(members, files), headers: {}, firstByteMs: UPLOAD_MS }),
        },
      );
      ports.isNew = !deduplicated;
      return taskId;
    } catch (error) {
      // Refused: the same again would be refused, too.
      if (error instanceof TaskBridgeError && error.code !== 'CLOSED') ports.onEnd?.();
      throw error;
    }
  };
  return new FollowedTask(ports, undefined, post(), requestId);
}

/** A form with the members of a create, and its files. A `File` has its name; a blob is called `blob`. */
function formOf(members: object, files: readonly Blob[]): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(members)) {
    if (value !== undefined) form.set(name, typeof value === 'string' ? value : JSON.stringify(value));
  }
  for (const file of files) form.append('attachments', file);
  return form;
}
