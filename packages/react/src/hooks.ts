import type {
  AnswerOutcome,
  AnyTasks,
  Client,
  Connection,
  CreateOptions,
  ListFilter,
  OpenQuestion,
  Task,
  Tasks,
  TaskState,
} from '@taskbridge/client';
import {
  createContext,
  createElement,
  type FunctionComponent,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useState,
} from 'react';
import { type ListedTask, withChange } from './listed.js';
import { useLive } from './use-live.js';

export interface Started<I, R> {
  /** The task that was started here, or before a reload under the same key. */
  readonly task: Task<R> | undefined;
  /** At once. With a key, the same again is the same task. */
  start(input: I, options?: Omit<CreateOptions, 'requestId'>): Task<R>;
}

export interface Answering {
  /** Never rejects: `error` has what was refused. */
  answer(actionType: string, payload?: object): Promise<AnswerOutcome | undefined>;
  readonly isSending: boolean;
  readonly outcome: AnswerOutcome | undefined;
  readonly error: unknown;
}

export interface Listed {
  /** Newest first. */
  readonly tasks: readonly ListedTask[];
  readonly status: 'loading' | 'ready' | 'failed';
  readonly error: unknown;
}

export interface Hooks<T extends Tasks> {
  readonly Provider: FunctionComponent<{ readonly client: Client<T>; readonly children?: ReactNode }>;
  useClient(): Client<T>;
  /** The state of a task, or what `select` makes of it. */
  useTask<R = unknown>(taskOrId: Task<R> | string): TaskState<R>;
  useTask<R, S>(taskOrId: Task<R> | string, select: (state: TaskState<R>) => S): S;
  /** `key` names the start, so that a reload and another device find its task. */
  useStart<K extends keyof T & string>(
    taskType: K,
    options?: { readonly key?: string },
  ): Started<T[K]['input'], T[K]['result']>;
  /** Answers a question of `useQuestions`, or that of a task. */
  useAnswer(question: Pick<OpenQuestion | Task, 'answer'>): Answering;
  useTasks(filter?: ListFilter): Listed;
  useQuestions(): readonly OpenQuestion[];
  useConnection(): Connection;
}

/** The hooks of an application, typed by its tasks: `createHooks<TasksOf<typeof handlers>>()`. */
export function createHooks<T extends Tasks = AnyTasks>(): Hooks<T> {
  const Context = createContext<Client<T> | undefined>(undefined);

  function useClient(): Client<T> {
    const client = useContext(Context);
    if (!client) throw new Error('There is no <Provider client={…}> above this component.');
    return client;
  }

  function useTask<R, S>(taskOrId: Task<R> | string, select: (state: TaskState<R>) => S = same): S {
    const client = useClient();
    const task = useMemo(
      () => (typeof taskOrId === 'string' ? client.task<R>(taskOrId) : taskOrId),
      [client, taskOrId],
    );
    return useLive(task.state, select);
  }

  function useStart<K extends keyof T & string>(taskType: K, { key }: { readonly key?: string } = {}) {
    type R = T[K]['result'];
    const client = useClient();
    const [started, setStarted] = useState<{ readonly key: string | undefined; readonly task: Task<R> }>();
    const task = started?.key === key ? started?.task : undefined;
    useEffect(() => {
      if (key === undefined || task) return;
      let isOver = false;
      const find = async () => {
        for await (const { taskId } of client.list({ clientRequestId: key })) {
          if (!isOver) setStarted((now) => (now?.key === key ? now : { key, task: client.task<R>(taskId) }));
        }
      };
      // What cannot be found now is found by `start`: the key makes it the same task.
      find().catch(() => {});
      return () => {
        isOver = true;
      };
    }, [client, key, task]);
    const start = useCallback(
      (input: T[K]['input'], options: Omit<CreateOptions, 'requestId'> = {}) => {
        const made = client.create(taskType, input, { ...options, ...(key !== undefined && { requestId: key }) });
        setStarted({ key, task: made });
        return made;
      },
      [client, taskType, key],
    );
    return { task, start };
  }

  function useTasks(filter: ListFilter = {}): Listed {
    const client = useClient();
    const [listed, setListed] = useState<Listed>(NOTHING);
    const content = JSON.stringify(filter);
    useEffect(() => {
      const wanted = JSON.parse(content) as ListFilter;
      const leaving = new AbortController();
      const show = (next: (now: Listed) => Listed) => leaving.signal.aborted || setListed(next);
      const fail = (error: unknown) => show((now) => ({ ...now, status: 'failed', error }));
      const follow = async () => {
        for await (const change of client.changes({ signal: leaving.signal })) {
          show((now) => ({ ...now, tasks: withChange(now.tasks, change, wanted) }));
        }
      };
      const read = async () => {
        const found: ListedTask[] = [];
        for await (const task of client.list(wanted)) found.push(task);
        // A change that came meanwhile is newer than the list.
        show((now) => ({
          tasks: now.tasks.reduce(
            (all: readonly ListedTask[], task) => withChange(all, { taskId: task.taskId, task }, wanted),
            found,
          ),
          status: 'ready',
          error: undefined,
        }));
      };
      setListed(NOTHING);
      follow().catch(fail);
      read().catch(fail);
      return () => leaving.abort();
    }, [client, content]);
    return listed;
  }

  return {
    Provider: ({ client, children }) => createElement(Context.Provider, { value: client }, children),
    useClient,
    useTask,
    useStart,
    useAnswer,
    useTasks,
    useQuestions: () => useLive(useClient().questions, same),
    useConnection: () => useLive(useClient().connection, same),
  };
}

function useAnswer(question: Pick<OpenQuestion | Task, 'answer'>): Answering {
  const [now, setNow] = useState<Omit<Answering, 'answer'>>(UNANSWERED);
  const answer = async (actionType: string, payload?: object) => {
    setNow({ ...UNANSWERED, isSending: true });
    try {
      const outcome = await question.answer(actionType, payload);
      setNow({ ...UNANSWERED, outcome });
      return outcome;
    } catch (error) {
      setNow({ ...UNANSWERED, error });
      return undefined;
    }
  };
  return { ...now, answer };
}

const same = <V>(value: V): never => value as never;
const UNANSWERED: Omit<Answering, 'answer'> = { isSending: false, outcome: undefined, error: undefined };
const NOTHING: Listed = { tasks: [], status: 'loading', error: undefined };
