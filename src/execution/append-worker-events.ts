import { Injectable } from '@nestjs/common';
import type { AppendableType } from '#protocol/events.js';
import type { JsonObject } from '#protocol/json-schema.js';
import { MAX_BATCH_BYTES } from '#protocol/limits.js';
import type { WorkerReceipt } from '#protocol/snapshots.js';
import { PayloadTooLarge, RequestValidationError } from '../errors.js';
import { Observer } from '../observability/observer.js';
import { AppendEvents } from '../tasks/append-events.js';
import { appendedEvent } from '../tasks/domain/event-payloads.js';
import { type Joined, joinOutput } from '../tasks/domain/join-output.js';
import type { NewEvent } from '../tasks/domain/task-event.js';
import { EventInvalid, EventTooLarge, IdempotencyConflict } from '../tasks/domain/tasks.errors.js';
import { attemptOf } from '../tasks/domain/lease-token.js';
import { TasksConfig } from '../tasks/tasks.config.js';

/** The claim of the first attempt has stored it. A worker may send it, too. */
const STARTED_EVENT_ID = '1';

export interface WorkerBatch {
  readonly leaseToken: string;
  /** 1, 2, 3… within the lease. Absent: each event has a key. */
  readonly batchSeq?: number;
  readonly events: readonly WorkerEvent[];
}

interface WorkerEvent {
  readonly type: AppendableType;
  readonly payload: JsonObject;
  /** Names the event in its attempt, so that it is stored once. */
  readonly eventKey?: string;
}

/**
 * A batch of a running attempt, wherever it runs: checked event by event, stored whole or not at all. Adjacent output is joined, unless
 * it has keys.
 */
@Injectable()
export class AppendWorkerEvents {
  constructor(
    private readonly appendEvents: AppendEvents,
    private readonly config: TasksConfig,
    private readonly observer: Observer,
  ) {}

  /**
   * `principalId` is absent for the worker that holds the lease.
   * @throws RequestValidationError, EventInvalid, which name the index; EventTooLarge; what appending events throws
   */
  execute(taskId: string, batch: WorkerBatch, principalId?: string): Promise<WorkerReceipt> {
    const about = { principalId: principalId ?? 'worker', taskId, quiet: true };
    return this.observer.command('append_events', about, async (note) => {
      const receipt = await this.append(taskId, batch, principalId);
      const eventId = receipt.eventIds.at(-1);
      note(eventId === undefined ? {} : { eventId });
      return receipt;
    });
  }

  private async append(taskId: string, batch: WorkerBatch, principalId?: string): Promise<WorkerReceipt> {
    const { leaseToken, batchSeq, events } = batch;
    refuseMixed(batch);
    const given = events.map((event, index) => this.checked(event, index, attemptOf(leaseToken)));
    // Where an event may have more, it makes a batch of its own.
    const maxBytes = Math.max(MAX_BATCH_BYTES, this.config.maxEventPayloadBytes);
    if (given.reduce((bytes, { json }) => bytes + Buffer.byteLength(json), 0) > maxBytes) {
      throw new PayloadTooLarge(maxBytes, `The events of a batch have at most ${maxBytes} bytes.`);
    }
    const told = given.filter(({ type }) => type !== 'TASK_STARTED');
    const append = async ({ events, placeOf }: Joined) => {
      const request = {
        ...{ taskId, leaseToken, events },
        ...(batchSeq !== undefined && { batchSeq }),
        ...(principalId !== undefined && { principalId }),
      };
      const receipt = await this.appendEvents.execute(request);
      return { ...receipt, stored: placeOf.map((place) => String(receipt.events[place]?.eventId)) };
    };
    const joined = batchSeq === undefined ? onceEach(told) : joinOutput(told, this.config.maxEventPayloadBytes);
    const receipt = await append(joined).catch((error: unknown) => {
      if (!(error instanceof IdempotencyConflict)) throw error;
      // 0.1.0 did not count escapes, and may have stored this very batch in other pieces. A used number stores nothing.
      const asBefore = joinOutput(told, this.config.maxEventPayloadBytes, JSON.stringify);
      if (asBefore.placeOf.every((place, n) => place === joined.placeOf[n])) throw error;
      return append(asBefore);
    });
    const { stored } = receipt;
    const eventIds = given.map(({ type }) => (type === 'TASK_STARTED' ? STARTED_EVENT_ID : (stored.shift() ?? '')));
    const { leaseExpiresAt, cancellationRequested } = receipt;
    return { eventIds, leaseExpiresAt, cancellationRequested };
  }

  private checked({ type, payload, eventKey: key }: WorkerEvent, index: number, attempt: number): NewEvent {
    try {
      const event = { ...appendedEvent(type, payload, attempt), ...(key !== undefined && { key }) };
      if (Buffer.byteLength(event.json) <= this.config.maxEventPayloadBytes) return event;
    } catch (error) {
      if (error instanceof EventInvalid) throw error.within(`events[${index}].payload`);
      throw error;
    }
    throw new EventTooLarge(this.config.maxEventPayloadBytes);
  }
}

/** A batch has a number, or a key on each of its events. @throws RequestValidationError */
function refuseMixed({ batchSeq, events }: WorkerBatch): void {
  const wrong = events.findIndex(({ eventKey }) => (eventKey === undefined) === (batchSeq === undefined));
  if (wrong < 0) return;
  const areAllBare = batchSeq === undefined && events.every(({ eventKey }) => eventKey === undefined);
  if (areAllBare) throw new RequestValidationError([{ path: 'batchSeq', message: 'is required' }]);
  const message = batchSeq === undefined ? 'is required without batchSeq' : 'is not allowed beside batchSeq';
  throw new RequestValidationError([{ path: `events[${wrong}].eventKey`, message }]);
}

/** The first event of each key. */
function onceEach(events: readonly NewEvent[]): Joined {
  const byKey = Map.groupBy(events, ({ key }) => key);
  const keys = [...byKey.keys()];
  return {
    events: [...byKey.values()].flatMap(([first]) => first ?? []),
    placeOf: events.map(({ key }) => keys.indexOf(key)),
  };
}
