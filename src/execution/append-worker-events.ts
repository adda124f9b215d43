import { Injectable } from '@nestjs/common';
import { MAX_BATCH_BYTES } from '#protocol/limits.js';
import type { WorkerReceipt } from '#protocol/snapshots.js';
import { PayloadTooLarge } from '../http/http.errors.js';
import { Observer } from '../observability/observer.js';
import { AppendEvents } from '../tasks/append-events.js';
import { appendedEvent } from '../tasks/domain/event-payloads.js';
import { joinOutput } from '../tasks/domain/join-output.js';
import type { NewEvent } from '../tasks/domain/task-event.js';
import { EventInvalid, EventTooLarge } from '../tasks/domain/tasks.errors.js';
import { attemptOf } from '../tasks/task-writer.js';
import { TasksConfig } from '../tasks/tasks.config.js';
import { AppendEventsDto } from './dto/worker.dto.js';

/** The claim of the first attempt has stored it. A worker may send it, too. */
const STARTED_EVENT_ID = '1';

/** A remote worker's batch: checked event by event, adjacent output joined, stored whole or not at all. */
@Injectable()
export class AppendWorkerEvents {
  constructor(
    private readonly appendEvents: AppendEvents,
    private readonly config: TasksConfig,
    private readonly observer: Observer,
  ) {}

  /** @throws EventInvalid, which names the index; EventTooLarge; what appending events throws */
  execute(taskId: string, batch: AppendEventsDto): Promise<WorkerReceipt> {
    const about = { principalId: 'worker', taskId, quiet: true };
    return this.observer.command('append_events', about, async (note) => {
      const receipt = await this.append(taskId, batch);
      const eventId = receipt.eventIds.at(-1);
      note(eventId === undefined ? {} : { eventId });
      return receipt;
    });
  }

  private async append(taskId: string, { leaseToken, batchSeq, events }: AppendEventsDto): Promise<WorkerReceipt> {
    const given = events.map((event, index) => this.checked(event, index, attemptOf(leaseToken)));
    if (given.reduce((bytes, { json }) => bytes + Buffer.byteLength(json), 0) > MAX_BATCH_BYTES) {
      throw new PayloadTooLarge(MAX_BATCH_BYTES, `The events of a batch have at most ${MAX_BATCH_BYTES} bytes.`);
    }
    const told = given.filter(({ type }) => type !== 'TASK_STARTED');
    const joined = joinOutput(told, this.config.maxEventPayloadBytes);
    const receipt = await this.appendEvents.execute({
      taskId,
      leaseToken,
      batchSeq,
      events: joined.events,
    });
    const stored = joined.placeOf.map((place) => String(receipt.events[place]?.eventId));
    const eventIds = given.map(({ type }) => (type === 'TASK_STARTED' ? STARTED_EVENT_ID : (stored.shift() ?? '')));
    const { leaseExpiresAt, cancellationRequested } = receipt;
    return { eventIds, leaseExpiresAt, cancellationRequested };
  }

  private checked({ type, payload }: AppendEventsDto['events'][number], index: number, attempt: number): NewEvent {
    try {
      const event = appendedEvent(type, payload, attempt);
      if (Buffer.byteLength(event.json) <= this.config.maxEventPayloadBytes) return event;
    } catch (error) {
      if (error instanceof EventInvalid) throw error.within(`events[${index}].payload`);
      throw error;
    }
    throw new EventTooLarge(this.config.maxEventPayloadBytes);
  }
}
