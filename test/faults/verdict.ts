import { connected, findViolations, storedEnvelopes } from '../support/fold.js';
import { type Delivered, isTerminal } from '../support/follow.js';
import { type History, isPassing, type Visit } from './subscriber.js';

/** What was promised and what is there; all but the first two must be 0. */
export interface Verdict {
  /** Creates that were answered with 2xx, and events that were delivered (a promise too: nothing is delivered before it is stored). */
  acknowledged: number;
  stored: number;
  /** Acknowledged and not stored, or stored and not delivered to a subscriber. */
  lost: number;
  /** Twice on one connection. */
  duplicates: number;
  holes: number;
  reordered: number;
  /** Other bytes than those that are stored. */
  mismatches: number;
  /** An end before the terminal event, no end after it, an event behind it, a task that is refused to its owner. */
  terminalViolations: number;
  /** Tasks, a minute after the last fault, that are not over and have nobody who would end them. */
  limbo: number;
  /** Others of the guarantees that the rows themselves contradict. */
  otherViolations: number;
}

export type Finding = Exclude<keyof Verdict, 'acknowledged' | 'stored'>;

export interface Judged {
  readonly verdict: Verdict;
  /** One line for each violation. */
  readonly findings: readonly string[];
}

export async function judge(
  superuserUrl: string,
  taskIds: readonly string[],
  histories: readonly History[],
): Promise<Judged> {
  const judgement = new Judgement();
  const rows = await connected(superuserUrl, async (db) => {
    const tasks = await db.query<{ id: string; status: string }>(
      'SELECT task_id AS id, status FROM taskbridge.proj_tasks',
    );
    return new Map(tasks.rows.map(({ id, status }) => [id, status]));
  });
  judgement.verdict.acknowledged += taskIds.length;
  for (const taskId of taskIds) {
    if (rows.has(taskId)) judgement.verdict.stored += 1;
    else judgement.found('lost', `task ${taskId}`);
    const log = await storedEnvelopes(superuserUrl, taskId);
    judgement.verdict.stored += log.length;
    const own = histories.filter((history) => history.taskId === taskId);
    const delivered = new Set(
      own.flatMap(({ visits }) => visits.flatMap(({ events }) => events.map(({ raw }) => raw))),
    );
    judgement.verdict.acknowledged += delivered.size;
    for (const history of own) judgement.look(history, log);
    if (!isTerminal(log.at(-1) ?? '{}')) judgement.found('limbo', `task ${taskId} is ${rows.get(taskId)}`);
  }
  for (const violation of await findViolations(superuserUrl, { quiescent: true })) {
    const kind = { I1: 'lost', I5: 'terminalViolations', I9: 'limbo' }[violation.slice(0, 2)] as Finding | undefined;
    judgement.found(kind ?? 'otherViolations', violation);
  }
  return judgement;
}

/** Looks at one history after the other. */
export class Judgement implements Judged {
  readonly findings: string[] = [];
  readonly verdict: Verdict = {
    ...{ acknowledged: 0, stored: 0, lost: 0, duplicates: 0, holes: 0, reordered: 0, mismatches: 0 },
    ...{ terminalViolations: 0, limbo: 0, otherViolations: 0 },
  };

  found(kind: Finding, what: string, count = 1): void {
    this.verdict[kind] += count;
    this.findings.push(`${kind}: ${what}`);
  }

  look({ taskId, transport, visits }: History, log: readonly string[]): void {
    let furthest = 0;
    visits.forEach((visit, index) => {
      const where = `${transport}, task ${taskId}, connection ${index + 1}`;
      this.#order(visit, where);
      for (const event of visit.events) this.#bytes(event, log, where);
      furthest = Math.max(furthest, Number(visit.events.at(-1)?.eventId ?? 0));
      this.#end(visit, isTerminal(log[furthest - 1] ?? '{}'), where);
    });
    const missing = Math.max(0, log.length - furthest);
    if (missing > 0) this.found('lost', `the last ${missing} events (${transport}, task ${taskId})`, missing);
  }

  #order({ cursor, events }: Visit, where: string): void {
    const seen = new Set<number>();
    let last = Number(cursor ?? 0);
    for (const id of events.map(({ eventId }) => Number(eventId))) {
      if (seen.has(id)) this.found('duplicates', `event ${id} (${where})`);
      else if (id <= last) this.found('reordered', `event ${id} after ${last} (${where})`);
      else if (id > last + 1) this.found('holes', `event ${id} after ${last} (${where})`);
      seen.add(id);
      last = Math.max(last, id);
    }
  }

  #bytes({ eventId, raw }: Delivered, log: readonly string[], where: string): void {
    const stored = log[Number(eventId) - 1];
    if (stored === undefined) this.found('lost', `event ${eventId} is not stored: ${raw} (${where})`);
    else if (stored !== raw) this.found('mismatches', `event ${eventId}: ${raw} is not ${stored} (${where})`);
  }

  #end({ events, ended }: Visit, isOver: boolean, where: string): void {
    const terminal = events.findIndex(({ raw }) => isTerminal(raw));
    if (terminal >= 0 && terminal < events.length - 1)
      this.found('terminalViolations', `events after the end (${where})`);
    if (ended === undefined) return this.found('terminalViolations', `no end after the terminal event (${where})`);
    if (isOver || ended.kind === 'left' || isPassing(ended)) return;
    // A response may end when its replica cannot go on: SSE has no other way to say so.
    if (ended.kind === 'end') return;
    this.found('terminalViolations', `${JSON.stringify(ended)} before the terminal event (${where})`);
  }
}
