import type { TaskEvent } from '../../protocol/src/events.js';
import type { JsonObject } from '../../protocol/src/json-schema.js';
import type { Answer } from '../../protocol/src/snapshots.js';

// What the protocol says about the shapes of bodies. A clause looks at each before it believes it.

export type Created = Answer<'TaskAccepted'>;
export type Page = Omit<Answer<'EventPage'>, 'events'> & { readonly events: readonly Envelope[] };
export type Snapshot = Answer<'TaskSnapshot'>;
export type TaskList = Answer<'TaskPage'>;
export type ChangesPage = Answer<'ChangesPage'>;
export type ErrorBody = Answer<'Error'>;
export type Lease = Answer<'Lease'>;

/** An event of any type, also of one that the protocol does not have. */
export type Envelope = Omit<TaskEvent, 'type' | 'payload'> & { readonly type: string; readonly payload: JsonObject };

/** What a worker appends, also when the service has to refuse it. */
export type WorkerEvent = Pick<Envelope, 'type' | 'payload'>;

export interface Action {
  readonly clientActionId: string;
  readonly suspendId: string;
  readonly actionType: string;
  readonly payload?: JsonObject;
  readonly metadata?: JsonObject;
}

/** The form of every timestamp: UTC, in milliseconds. */
export const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
/** An id of the right form that no service gives out: its time is that of 1970. */
export const ABSENT_TASK = '00000000-0000-7000-8000-000000000000';
