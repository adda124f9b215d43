import type { EventPayload } from '../../protocol/src/events.js';
import type { TaskBridgeError } from './errors.js';

/** A question that the task asks: the payload of its TASK_SUSPENDED. */
export type AskedQuestion = EventPayload<'TASK_SUSPENDED'>;

/** What is known of a task in each of its states. */
export interface Known {
  /** Undefined until the service has answered the create. */
  readonly taskId: string | undefined;
  /** 0 to 100: that of the last TASK_PROGRESS. */
  readonly progress: number | undefined;
  /** `stage` of the last TASK_PROGRESS that was seen. */
  readonly stage: string | undefined;
  /** The last text for a person: of TASK_MESSAGE, or of TASK_PROGRESS. */
  readonly message: string | undefined;
  /** What the task has put out and is not void: the text of the channel `text`. */
  readonly text: string;
  /** The text by channel. */
  readonly output: Readonly<Record<string, string>>;
  /** The attempt that runs, from 1. 0 before the first. */
  readonly attempt: number;
  /** The id of the last event that is in this state. */
  readonly eventId: number;
}

/** A union by `status`. With `completed`, `failed` and `cancelled` the task is over; with `unreachable` it may go on unseen. */
export type TaskState<R = unknown> = Known &
  (
    | { /** The service has not answered the create. */ readonly status: 'creating' }
    | { /** It waits for its turn. */ readonly status: 'waiting' }
    | { readonly status: 'running' }
    | { readonly status: 'asking'; readonly question: AskedQuestion }
    | {
        /** An attempt failed, and the next has not said anything. */ readonly status: 'retrying';
        readonly reason: string | undefined;
        /** RFC 3339: when it may begin. */ readonly notBefore: string | undefined;
      }
    | { readonly status: 'completed'; readonly result: R }
    | { readonly status: 'failed'; readonly failure: EventPayload<'TASK_FAILED'> }
    | { readonly status: 'cancelled'; readonly reason: string }
    | {
        /** The service refuses it: the create, or the right to see the task. A cut connection is never shown like this. */
        readonly status: 'unreachable';
        readonly error: TaskBridgeError;
      }
  );

/** What `status` brings with it. */
export type Standing<R> = TaskState<R> extends infer S ? (S extends unknown ? Omit<S, keyof Known> : never) : never;
