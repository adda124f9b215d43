import { setTimeout as delay } from 'node:timers/promises';
import { type Clause } from './clause.js';
import { Broken, NotChecked } from './outcomes.js';
import type { Installation } from './installation.js';
import { Scene } from './scene.js';

export interface Result {
  readonly clause: Clause;
  readonly outcome: 'passed' | 'failed' | 'not checked';
  /** What was seen, or why it was not checked. */
  readonly detail?: string;
  readonly tookMs: number;
}

/** Clauses at one time; those that wait for a clock of the service come on top. */
const LANES = 6;
/** One clause takes at most this long. */
const DEADLINE_MS = 30_000;

/** Checks the clauses. @returns the results in their order */
export async function runAll(installation: Installation, clauses: readonly Clause[]): Promise<readonly Result[]> {
  const results = new Map<Clause, Result>();
  const run = async (clause: Clause) => {
    results.set(clause, await resultOf(installation, clause));
  };
  const isSlow = ({ waitsSeconds }: Clause) => waitsSeconds !== undefined;
  const waiting = clauses.filter((clause) => !isSlow(clause));
  const lane = async () => {
    for (let clause = waiting.shift(); clause !== undefined; clause = waiting.shift()) await run(clause);
  };
  await Promise.all([...clauses.filter(isSlow).map(run), ...Array.from({ length: LANES }, lane)]);
  return clauses.flatMap((clause) => results.get(clause) ?? []);
}

async function resultOf(installation: Installation, clause: Clause): Promise<Result> {
  const { check, needs } = clause;
  const reasons = clause.reason ?? needs.flatMap((need) => installation.missing(need) ?? []).join('; ');
  if (check === undefined || reasons !== '') {
    return { clause, outcome: 'not checked', tookMs: 0, detail: reasons };
  }
  const begun = performance.now();
  const took = () => ({ clause, tookMs: Math.round(performance.now() - begun) });
  const scene = new Scene(installation);
  try {
    await within(deadlineOf(clause), check(scene));
    return { ...took(), outcome: 'passed' };
  } catch (error) {
    const { name, message } = error as Error;
    if (error instanceof NotChecked) return { ...took(), outcome: 'not checked', detail: message };
    return { ...took(), outcome: 'failed', detail: error instanceof Broken ? message : `${name}: ${message}` };
  } finally {
    await scene.close();
  }
}

function deadlineOf({ waitsSeconds = 0 }: Clause): number {
  return Math.max(DEADLINE_MS, waitsSeconds * 1000);
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  const timer = new AbortController();
  try {
    const late = delay(ms, undefined, { signal: timer.signal }).then(() => {
      throw new Broken(`the check was not over within ${ms} ms`);
    });
    late.catch(() => undefined);
    await Promise.race([work, late]);
  } finally {
    timer.abort();
    work.catch(() => undefined);
  }
}
