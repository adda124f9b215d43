/** A way in which the service could be broken, and the test that has to notice. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Each is in the file exactly once. */
  readonly changes: readonly { readonly from: string; readonly to: string }[];
  readonly caughtBy: { readonly file: string; readonly tests: string };
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'publish before commit',
    file: 'src/tasks/task-writer.ts',
    changes: [
      {
        from: '      await beside?.(tx, result);\n',
        to: '      await beside?.(tx, result);\n      this.liveLog.publish(events);\n',
      },
    ],
    caughtBy: { file: 'test/commit-order.test.ts', tests: 'the COMMIT of an end' },
  },
  {
    name: 'a hub that trusts the live log',
    file: 'src/delivery/channel.ts',
    changes: [
      { from: ') this.#ring = [];\n    this.#ring.push(event);', to: ') void 0;\n    this.#ring.push(event);' },
      {
        from: 'this.#ring.slice(this.placeAfter(cursor))',
        to: 'this.#ring.filter(({ eventId }) => eventId > cursor)',
      },
      {
        from: 'this.#ring[this.placeAfter(cursor)]?.eventId === cursor + 1',
        to: 'this.placeAfter(cursor) >= 0',
      },
    ],
    caughtBy: { file: 'test/live-log-faults.test.ts', tests: 'drops events' },
  },
  {
    name: 'no head comparison',
    file: 'src/delivery/hub.ts',
    changes: [{ from: 'this.compareHeads().catch(', to: 'Promise.resolve().catch(' }],
    caughtBy: { file: 'test/live-log-faults.test.ts', tests: 'loses the last of' },
  },
  {
    name: 'attach after reading history',
    file: 'src/delivery/open-subscription.ts',
    changes: [
      {
        from: '      const channel = this.hub.attach(taskId);\n      try {\n',
        to: '      const early = await readTaskHead(this.database, taskId);\n      const channel = this.hub.attach(taskId);\n      try {\n',
      },
      {
        from: 'const task = await readTaskHead(this.database, taskId);\n        if',
        to: 'const task = early;\n        if',
      },
    ],
    caughtBy: { file: 'test/attach-first.test.ts', tests: 'right after answer 1' },
  },
  {
    name: '`hasMore` by equality with the limit',
    file: 'src/delivery/poll-events.ts',
    changes: [{ from: 'hasMore: found.length > maxEvents', to: 'hasMore: events.length === maxEvents' }],
    caughtBy: { file: 'test/transports.test.ts', tests: 'at the border of a page' },
  },
  {
    name: 'SSE that does not end',
    file: 'src/delivery/sse-writer.ts',
    changes: [{ from: '    response.end(() => clearTimeout(cut));\n', to: '' }],
    caughtBy: { file: 'test/transports.test.ts', tests: 'on a task of 1 events .* SSE replays the rest and ends' },
  },
];
