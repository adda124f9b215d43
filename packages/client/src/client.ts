import type { TaskSummary } from '../../protocol/src/snapshots.js';
import { TaskBridgeError } from './errors.js';
import type { Change } from './feed.js';
import { Http, type HttpOptions } from './http.js';
import { type Connection, Link, type LinkOptions } from './link.js';
import { created, type CreateOptions } from './create.js';
import type { Inbox, ListFilter } from './inbox.js';
import { type Live, LiveValue } from './live.js';
import { Logs } from './logs.js';
import { watchPage } from './page.js';
import type { OpenQuestion } from './questions.js';
import { RequestIds, type Store } from './store.js';
import type { Tabs } from './tabs.js';
import { FollowedTask, type Task } from './task.js';
import type { AnyTasks, Tasks } from './tasks.js';

export interface ClientOptions extends HttpOptions, LinkOptions {
  /** Keeps the ids of requests over a reload. Default: none. */
  readonly store?: Store | undefined;
  /** Names the signed-in user. Tabs with an equal name share one connection. Default: they do not. */
  readonly shareTabs?: string | undefined;
  /** The newest events of each task that are kept for readers that are late. Default: 1 000. */
  readonly maxEventsKept?: number | undefined;
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

const NONE: readonly OpenQuestion[] = [];

export function createClient<T extends Tasks = AnyTasks>(options: ClientOptions = {}): Client<T> {
  const closing = new AbortController();
  const http = new Http(options, closing.signal);
  const isPage = typeof document === 'object' && typeof BroadcastChannel === 'function';
  const mayShare = options.shareTabs !== undefined && isPage;
  const link = new Link(http, options, mayShare);
  let tabs: Tabs | undefined;
  const logs = new Logs(http, link, options.maxEventsKept ?? 1_000, (log) => tabs?.ended(log));
  const requests = options.store && new RequestIds(options.store);
  const unwatch = watchPage(() => tabs ?? link);
  const task = <R>(id: string): Task<R> => {
    const name = id.toLowerCase();
    // A frame with anything else would end the connection of all tasks.
    const isId = /^[a-z0-9][\w.@-]{0,254}$/.test(name);
    const known = isId ? Promise.resolve(name) : Promise.reject(new TaskBridgeError('TASK_NOT_FOUND', 'No id.', 404));
    return new FollowedTask<R>({ http, logs }, name, known, undefined);
  };

  let inbox: Inbox | undefined;
  const loaded = async (): Promise<Inbox> => {
    const { Inbox } = await import('./inbox.js');
    return (inbox ??= new Inbox(http, link, task));
  };
  /** Begins what is loaded first. Returns what ends it, also before it is there. */
  const later = (begin: (inbox: Inbox) => () => void) => {
    let isOver = false;
    let end = () => {};
    // Without its code there is nothing to show.
    loaded().then(
      (now) => isOver || (end = begin(now)),
      () => {},
    );
    return () => {
      isOver = true;
      end();
    };
  };
  const questions: LiveValue<readonly OpenQuestion[]> = new LiveValue(
    () => inbox?.questions.shown ?? NONE,
    closing.signal,
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

  return {
    create: (taskType, input, given) => created({ http, logs }, requests, { taskType, input }, given),
    task,
    async *list(filter) {
      yield* (await loaded()).list(filter);
    },
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
      link.close();
    },
  };
}
