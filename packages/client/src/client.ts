import type { TaskStatus, TaskSummary } from '../../protocol/src/snapshots.js';
import { TaskBridgeError } from './errors.js';
import type { Change } from './feed.js';
import { Http, type HttpOptions } from './http.js';
import { type Connection, Link, type LinkOptions } from './link.js';
import type { Inbox } from './inbox.js';
import { type Live, LiveValue } from './live.js';
import { Logs } from './logs.js';
import { watchPage } from './page.js';
import type { OpenQuestion } from './questions.js';
import { RequestIds, type Store } from './store.js';
import type { Tabs } from './tabs.js';
import { FollowedTask, type Task, type TaskPorts } from './task.js';
import type { AnyTasks, Tasks } from './tasks.js';
import { randomId } from './waiting.js';

export interface ClientOptions extends HttpOptions, LinkOptions {
  /** Keeps the ids of requests over a reload. Default: none. */
  readonly store?: Store | undefined;
  /** Names the signed-in user. Tabs with an equal name share one connection. Default: they do not. */
  readonly shareTabs?: string | undefined;
  /** The newest events of each task that are kept for readers that are late. Default: 1 000. */
  readonly maxEventsKept?: number | undefined;
}

export interface CreateOptions {
  /** Names the request: the same again is the same task, from any device. Default: one is made up. */
  readonly requestId?: string;
  /** Kept with the task, and shown in its snapshot. */
  readonly metadata?: object;
  readonly files?: readonly Blob[];
  /** Ends the attempts to create it. What the service has stored stays. */
  readonly signal?: AbortSignal;
}

export interface ListFilter {
  readonly status?: TaskStatus;
  readonly taskType?: string;
  readonly clientRequestId?: string;
  /** Only tasks with, or without, an open question. */
  readonly suspended?: boolean;
  /** RFC 3339. */
  readonly createdAfter?: string;
  readonly createdBefore?: string;
}

export interface Client<T extends Tasks = AnyTasks> {
  /** At once: the network comes later, and the request is repeated until the service has answered. */
  create<K extends keyof T & string>(taskType: K, input: T[K]['input'], options?: CreateOptions): Task<T[K]['result']>;
  task<R = unknown>(id: string): Task<R>;
  /** The caller's tasks, newest first. @throws TaskBridgeError, also when the service does not answer for a while */
  list(filter?: ListFilter): AsyncIterableIterator<TaskSummary>;
  /** What changes among the caller's tasks, from now on. Of a reader that is late a task comes once, as it is then. */
  changes(options?: { readonly signal?: AbortSignal }): AsyncIterableIterator<Change>;
  /** The open questions of all tasks of the caller, oldest first. */
  readonly questions: Live<readonly OpenQuestion[]>;
  readonly connection: Live<Connection>;
  /** Ends all that runs. Loops and promises that wait reject with CLOSED. */
  close(): void;
}

const LIST_TRIES = 5;
const NONE: readonly OpenQuestion[] = [];

export function createClient<T extends Tasks = AnyTasks>(options: ClientOptions = {}): Client<T> {
  const closing = new AbortController();
  const http = new Http(options, closing.signal);
  const mayShare = options.shareTabs !== undefined && typeof BroadcastChannel === 'function';
  const link = new Link(http, options, mayShare);
  let tabs: Tabs | undefined;
  const logs = new Logs(http, link, options.maxEventsKept ?? 1_000, (log) => tabs?.ended(log));
  const requests = options.store && new RequestIds(options.store);
  const unwatch = watchPage(() => tabs ?? link);
  const task = <R>(id: string): Task<R> => {
    const name = id.toLowerCase();
    return new FollowedTask<R>({ http, logs }, name, Promise.resolve(name), undefined);
  };

  let inbox: Inbox | undefined;
  const loaded = async (): Promise<Inbox> => {
    const { Inbox } = await import('./inbox.js');
    return (inbox ??= new Inbox(http, link, (filter) => list(filter, Infinity), task));
  };
  /** Begins what is loaded first. Returns what ends it, also before it is there. */
  const later = (begin: (inbox: Inbox) => () => void) => {
    let isOver = false;
    let end = () => {};
    // Without its code there is nothing to show.
    loaded().then((now) => isOver || (end = begin(now)), () => {});
    return () => {
      isOver = true;
      end();
    };
  };
  const questions: LiveValue<readonly OpenQuestion[]> = new LiveValue(
    () => inbox?.questions.shown ?? NONE,
    () => later((now) => now.questions.follow(() => questions.changed())),
  );
  if (mayShare) {
    import('./tabs.js').then(
      ({ Tabs }) => {
        if (closing.signal.aborted) return;
        const name = `taskbridge:${http.base}:${options.shareTabs}`;
        link.sharing = tabs = new Tabs(name, link, logs, () => later((now) => now.feed.listen(() => {})));
      },
      // A connection of its own is better than none.
      () => link.resume(),
    );
  }

  async function* list(filter: ListFilter = {}, tries = LIST_TRIES): AsyncIterableIterator<TaskSummary> {
    const query = new URLSearchParams({ limit: '100' });
    for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, String(value));
    for (;;) {
      const path = `/tasks?${query}`;
      const page = await http.json<{ items: TaskSummary[]; nextCursor: string | null }>(path, { tries });
      yield* page.items;
      if (page.nextCursor === null) return;
      query.set('cursor', page.nextCursor);
    }
  }

  return {
    create(taskType, input, { requestId: given, metadata, files, signal } = {}) {
      let forget = () => {};
      const ports: TaskPorts = { http, logs, onEnd: () => forget() };
      const requestId = given ?? (requests ? undefined : randomId());
      const post = async (): Promise<string> => {
        const kept = requestId === undefined && (await requests?.take(taskType, JSON.stringify([input, metadata])));
        if (kept) forget = kept.forget;
        const members = { clientRequestId: kept ? kept.requestId : requestId, taskType, input, metadata };
        try {
          const { taskId, deduplicated } = await http.post<{ taskId: string; deduplicated: boolean }>(
            '/tasks',
            files?.length ? formOf(members, files) : members,
            { ...(signal && { signal }), ...(files?.length && { firstByteMs: 2 ** 31 - 1 }) },
          );
          ports.isNew = !deduplicated;
          return taskId;
        } catch (error) {
          // Refused: the same again would be refused, too.
          if (error instanceof TaskBridgeError && !error.mayPass && error.code !== 'CLOSED') forget();
          throw error;
        }
      };
      return new FollowedTask(ports, undefined, post(), requestId);
    },
    task,
    list: (filter) => list(filter),
    async *changes({ signal } = {}) {
      yield* (await loaded()).changes(signal);
    },
    questions,
    connection: link.connection,
    close() {
      if (closing.signal.aborted) return;
      unwatch();
      closing.abort(new TaskBridgeError('CLOSED', 'The client was closed.'));
      tabs?.close();
      questions.stop();
      link.close();
    },
  };
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
