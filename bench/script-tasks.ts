interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds. */
  readonly ts: number;
  readonly dur?: number;
  readonly args?: { readonly data?: { readonly url?: string } };
}

/** The lengths, in milliseconds, of the tasks of main threads in which a script of the console ran. From a trace of Chromium. */
export function scriptTasksIn(trace: Buffer): readonly number[] {
  const { traceEvents } = JSON.parse(trace.toString()) as { readonly traceEvents: readonly TraceEvent[] };
  const complete = traceEvents.filter(({ ph, dur }) => ph === 'X' && dur !== undefined);
  const calls = complete.filter(
    ({ name, args }) => name === 'FunctionCall' && args?.data?.url?.includes('/console/assets/'),
  );
  const threads = new Set(calls.map(threadOf));
  const tasks = complete
    .filter((event) => event.name === 'RunTask' && threads.has(threadOf(event)))
    .sort((a, b) => a.ts - b.ts);
  const ran = new Set<TraceEvent>();
  for (const call of calls) {
    const at = tasks.findLastIndex((task) => task.ts <= call.ts && threadOf(task) === threadOf(call));
    const task = tasks[at];
    if (task && call.ts < task.ts + (task.dur ?? 0)) ran.add(task);
  }
  return [...ran].map(({ dur = 0 }) => dur / 1_000);
}

const threadOf = ({ pid, tid }: TraceEvent) => `${pid} ${tid}`;
