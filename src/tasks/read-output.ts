import { Injectable } from '@nestjs/common';
import type { JsonObject } from '#protocol/json-schema.js';
import { SHOWN_OUTPUT } from '#protocol/limits.js';
import { OutputFold } from '#protocol/output-fold.js';
import { ConnectionQuota } from '../database/connection-quota.js';
import { Database } from '../database/database.js';
import type { Queryable } from '../database/queryable.js';
import { ServiceUnavailable } from '../errors.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { FIRST_EVENT_ID, OutputSoFar } from './domain/output-so-far.js';
import { type OutputEvent, readOutputPage } from './store/read-output-page.js';
import { TaskPolicies } from './task-policies.js';
import { withWaitingFor } from './waiting-for.js';
import { readTaskView, type TaskView } from './store/read-task-view.js';

/** One read of the log. Between two of them other work gets its turn. */
const PAGE = { events: 1_000, bytes: 1024 * 1024 };
/** Readers at a time. The bound leaves connections for writers. */
const CONNECTIONS = 2;
/** Readers that wait, at most: the last one waits for some seconds. */
const MAX_WAITING = 64;

/** What a task has put out so far. */
@Injectable()
export class ReadOutput {
  readonly #connections: ConnectionQuota;
  /** Clients that join a task at the same time share one read. */
  readonly #reading = new Map<string, Promise<OutputSoFar>>();

  constructor(
    private readonly database: Database,
    private readonly policies: TaskPolicies,
    private readonly metrics: MetricsSink,
  ) {
    this.#connections = new ConnectionQuota(database, CONNECTIONS);
  }

  /**
   * As of the view's head. Its events never change, so what is read later agrees with the view.
   * @throws ServiceUnavailable when too many wait
   */
  async execute(view: TaskView): Promise<OutputSoFar> {
    const key = `${view.identity.taskId} ${view.headEventId} ${view.settledEventId}`;
    const begunAt = performance.now();
    let reading = this.#reading.get(key);
    if (!reading) {
      if (this.#connections.waiting >= MAX_WAITING)
        throw new ServiceUnavailable(1, 'Too many snapshots with output are being read');
      reading = this.#connections.holding((db) => read(db, view)).finally(() => this.#reading.delete(key));
      this.#reading.set(key, reading);
    }
    const output = await reading;
    const { isTruncated } = output.within(SHOWN_OUTPUT.bytes);
    this.metrics.observe('snapshot_output_seconds', (performance.now() - begunAt) / 1000);
    if (isTruncated) this.metrics.increment('snapshot_outputs_truncated_total');
    return output;
  }

  /** The task as it is now, with what it has put out. Undefined when there is no such task. @throws ServiceUnavailable */
  async withView(taskId: string): Promise<TaskSoFar | undefined> {
    const view = await readTaskView(this.database, taskId, this.policies.maxAttemptsOf);
    if (!view) return undefined;
    const [shown = view] = await withWaitingFor(this.database, this.policies, [view]);
    return { view: shown, output: await this.execute(view) };
  }
}

/** A task, and what it has put out up to the view's head. */
export interface TaskSoFar {
  readonly view: TaskView;
  readonly output: OutputSoFar;
}

async function read(db: Queryable, { identity, headEventId, settledEventId }: TaskView): Promise<OutputSoFar> {
  const newestFirst: ParsedEvent[] = [];
  let next = headEventId + 1;
  let [events, bytes] = [SHOWN_OUTPUT.events, SHOWN_OUTPUT.readBytes];
  while (next - 1 > FIRST_EVENT_ID && events > 0) {
    const bounds = { beforeEventId: next, events: Math.min(events, PAGE.events), bytes: Math.min(bytes, PAGE.bytes) };
    const page = await readOutputPage(db, identity.taskId, bounds);
    // Nothing is left of the bounds, or of the log.
    if (page.length === 0) break;
    for (const event of page) {
      if (event.eventId >= next) continue;
      const parsed = { ...event, payload: payloadIn(event) };
      newestFirst.push(parsed);
      next = Math.min(next, event.eventId, voidFrom(parsed));
      bytes -= Buffer.byteLength(event.payloadJson);
    }
    events -= page.length;
  }
  const afterEventId = next - 1 > FIRST_EVENT_ID ? next - 1 : 0;
  return foldOf(newestFirst.reverse(), afterEventId, settledEventId);
}

interface ParsedEvent extends OutputEvent {
  readonly payload: JsonObject;
}

function payloadIn({ payloadJson }: OutputEvent): JsonObject {
  return (JSON.parse(payloadJson) as JsonObject | null) ?? {};
}

/**
 * Where the events begin that a new run made void. They are not read: all of them are void, and none voids what is before them, as the
 * boundary was the same.
 */
function voidFrom({ type, eventId, payload }: ParsedEvent): number {
  if (type !== 'TASK_RETRYING' && type !== 'TASK_RESUMED') return eventId;
  const since = Number(payload['supersedesAfterEventId']);
  return since >= 0 ? since + 1 : eventId;
}

function foldOf(events: readonly ParsedEvent[], afterEventId: number, settledEventId: number): OutputSoFar {
  const fold = new OutputFold();
  const channels = new Set<string>();
  for (const { eventId, type, payload } of events) {
    fold.add(eventId, type, payload);
    if (type === 'TASK_OUTPUT') channels.add(String(payload['channel']));
  }
  return new OutputSoFar({ fold, channels, afterEventId, settledEventId });
}
