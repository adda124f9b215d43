/** `from` is in the file exactly once. */
export interface Change {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** A way in which the service could be broken, and the test that has to notice. */
export interface Mutant {
  readonly name: string;
  readonly changes: readonly Change[];
  readonly caughtBy: { readonly file: string; readonly tests: string };
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'publish before commit',
    changes: [
      {
        file: 'src/tasks/task-writer.ts',
        from: '        await beside?.(tx, result);\n',
        to: '        await beside?.(tx, result);\n        this.liveLog.publish(result.flatMap(({ events }) => events));\n',
      },
    ],
    caughtBy: { file: 'test/tasks/commit-order.test.ts', tests: 'the COMMIT of an end' },
  },
  {
    name: 'a hub that trusts the live log',
    changes: [
      { file: 'src/following/channel.ts', from: 'if (isAfterHole) this.#ring.clear();\n', to: '' },
      {
        file: 'src/following/recent-events.ts',
        from: 'this.#events.slice(this.placeAfter(cursor))',
        to: 'this.#events.filter(({ eventId }) => eventId > cursor)',
      },
      {
        file: 'src/following/recent-events.ts',
        from: 'this.#events[this.placeAfter(cursor)]?.eventId === cursor + 1',
        to: 'this.placeAfter(cursor) >= 0',
      },
    ],
    caughtBy: { file: 'test/live-log/live-log-faults.test.ts', tests: 'drops events' },
  },
  {
    name: 'nobody sees who keeps dead rows',
    changes: [
      {
        file: 'src/database/xmin-age.ts',
        from: 'greatest(age(a.backend_xmin), age(a.backend_xid)) AS age',
        to: '0 AS age',
      },
    ],
    caughtBy: { file: 'test/observability/metrics.test.ts', tests: 'keeps PostgreSQL from removing' },
  },
  {
    name: 'no head comparison',
    changes: [{ file: 'src/following/hub.ts', from: 'this.compareHeads().catch(', to: 'Promise.resolve().catch(' }],
    caughtBy: { file: 'test/live-log/live-log-faults.test.ts', tests: 'loses the last of' },
  },
  {
    name: 'a reconnection without a comparison',
    changes: [{ file: 'src/live-log/redis-reader.ts', from: '    this.followers.missed();\n  }\n', to: '  }\n' }],
    caughtBy: { file: 'test/live-log/hints.test.ts', tests: 'cuts its connections|a Redis that is back' },
  },
  {
    name: 'a feed that forgets what was open',
    changes: [
      {
        file: 'src/following/changes/snapshot.ts',
        from: "const open = list === '' ? [] : list.split(',').map(BigInt);",
        to: 'const open: bigint[] = [];',
      },
    ],
    caughtBy: { file: 'test/changes/lost-nothing.test.ts', tests: 'a COMMIT is held|a prepared transaction' },
  },
  {
    name: 'a feed that rests at an earlier target',
    changes: [
      {
        file: 'src/following/changes/change-subscription.ts',
        from: 'isRoundOver && cursor.target === undefined;',
        to: 'isRoundOver;',
      },
    ],
    caughtBy: { file: 'test/changes/changes.test.ts', tests: 'says what it missed' },
  },
  {
    name: 'a publisher that is silent about what it lost',
    changes: [
      {
        file: 'src/live-log/redis-publisher.ts',
        from: 'const channels = this.#hasGap ? new Set([GAP]) : this.#channels;',
        to: 'const channels = this.#channels;',
      },
    ],
    caughtBy: { file: 'test/live-log/hints.test.ts', tests: 'a publisher that could not write' },
  },
  {
    name: 'attach after reading history',
    changes: [
      {
        file: 'src/following/open-subscription.ts',
        from: '      const channel = await this.hub.attach(taskId);\n      try {\n',
        to: '      const early = await readTaskHead(this.database, taskId);\n      const channel = await this.hub.attach(taskId);\n      try {\n',
      },
      {
        file: 'src/following/open-subscription.ts',
        from: '        const task = await readTaskHead(this.database, taskId);\n',
        to: '        const task = early;\n',
      },
    ],
    caughtBy: { file: 'test/live-log/attach-first.test.ts', tests: 'right after answer 2' },
  },
  {
    name: '`hasMore` by equality with the limit',
    changes: [
      {
        file: 'src/streaming/poll-events.ts',
        from: 'hasMore: found.length > maxEvents',
        to: 'hasMore: events.length === maxEvents',
      },
    ],
    caughtBy: { file: 'test/streaming/transports.test.ts', tests: 'at the border of a page' },
  },
  {
    name: 'SSE that does not end',
    changes: [{ file: 'src/streaming/sse-writer.ts', from: '    response.end(() => clearTimeout(cut));\n', to: '' }],
    caughtBy: {
      file: 'test/streaming/transports.test.ts',
      tests: 'on a task of 1 events .* SSE replays the rest and ends',
    },
  },
  {
    name: 'a stream that is written to after its end',
    changes: [
      {
        file: 'src/streaming/feed.ts',
        from: '      if (writer.why) this.end(writer.why);\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/streaming/feed-stream.test.ts', tests: 'gives nothing to a connection that has ended' },
  },
  {
    name: 'late release',
    changes: [
      {
        file: 'src/streaming/follow-stream.ts',
        from: '        subscription.close();\n        release();\n',
        to: '        subscription.close();\n',
      },
    ],
    caughtBy: { file: 'test/streaming/multiplex.test.ts', tests: 'counts each subscription as a stream' },
  },
  {
    name: 'no halving',
    changes: [
      {
        file: 'src/tasks/task-writer.ts',
        from: '      if (!isFaultOfData(error)) throw error;\n      if (decided.length === 1)',
        to: '      if (decided.length > 0) throw error;\n      if (decided.length === 1)',
      },
    ],
    caughtBy: { file: 'test/tasks/bad-rows.test.ts', tests: 'are set aside one by one' },
  },
  {
    name: 'a policy that is asked under the lock',
    changes: [
      {
        file: 'src/tasks/cancel-task.ts',
        from: '      await demandControl(this.database, this.ownership, auth, taskId);\n',
        to: '',
      },
      {
        file: 'src/tasks/cancel-task.ts',
        from: '        (tx) => lockTask(tx, taskId),\n',
        to: '        async (tx) => {\n          const records = await lockTask(tx, taskId);\n          if (!(await this.ownership.mayControl(auth, records[0]?.identity as never))) throw new TaskNotFound();\n          return records;\n        },\n',
      },
    ],
    caughtBy: { file: 'test/boot/host-ports.test.ts', tests: 'When every port never answers no transaction waits' },
  },
  {
    name: 'a route of the host that is open unless it is marked',
    changes: [
      {
        file: 'src/auth/authentication.guard.ts',
        from: "    else if (!isNamed(auth)) throw new NotAuthenticated('This route needs a caller who says who it is.');\n",
        to: '',
      },
    ],
    caughtBy: { file: 'test/boot/host-routes.test.ts', tests: 'says nothing of itself answers 401' },
  },
  {
    name: 'a body of the host that is emptied in silence',
    changes: [
      { file: 'src/http/validation.pipe.ts', from: 'if (cut.length > 0) throw', to: 'if (cut.length > 99) throw' },
    ],
    caughtBy: { file: 'test/json/free-json.test.ts', tests: 'is refused where it nests, and never emptied' },
  },
  {
    name: 'a sink of the host that is not guarded',
    changes: [
      {
        file: 'src/boot/host-ports.ts',
        from: '  port(MetricsSink, metrics),\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/boot/host-ports.test.ts', tests: 'A MetricsSink that throws costs a line' },
  },
  {
    name: 'a foreign task that is read before the policy decides',
    changes: [
      {
        file: 'src/tasks/read-task.ts',
        from: 'const head = isTaskId(taskId) ? await readTaskHead(this.database, taskId) : undefined;',
        to: 'const head = isTaskId(taskId) ? await readTaskView(this.database, taskId) : undefined;',
      },
    ],
    caughtBy: { file: 'test/auth/foreign-tasks.test.ts', tests: 'A stranger who names a task .read. costs the same' },
  },
  {
    name: 'free-form JSON that is walked by class-transformer',
    changes: [
      {
        file: 'src/http/validation.pipe.ts',
        from: "import { validate } from 'class-validator';\n",
        to: "import { plainToInstance } from 'class-transformer';\nimport { validate } from 'class-validator';\n",
      },
      {
        file: 'src/http/validation.pipe.ts',
        from: '    const shape = shapeOf(expected);\n',
        to: '    const shape = shapeOf(expected);\n    if (value instanceof JsonBody) plainToInstance(expected, value.toJSON());\n',
      },
    ],
    caughtBy: { file: 'test/http/event-loop-delay.test.ts', tests: 'a create, as its metadata' },
  },
  {
    name: 'a reaper that does not wait for the renewals of a process that stood still',
    changes: [
      {
        file: 'src/execution/reaper.ts',
        from: '    return performance.now() < this.#patientUntil || this.ownLeases.isBehind;\n',
        to: '    return false;\n',
      },
    ],
    caughtBy: { file: 'test/execution/stalls.test.ts', tests: 'costs no task' },
  },
  {
    name: 'a renewal that needs an unexpired lease',
    changes: [
      {
        file: 'src/tasks/store/renew-leases.ts',
        from: 'WHERE t.task_id = $1 AND t.lease_token = $2\n',
        to: 'WHERE t.task_id = $1 AND t.lease_token = $2 AND t.lease_expires_at > clock_timestamp()\n',
      },
    ],
    caughtBy: { file: 'test/execution/execution.test.ts', tests: 'unseen by others is renewed by its holder' },
  },
  {
    name: 'a finished step that does not move what counts',
    changes: [
      {
        file: 'src/tasks/store/append-batch.ts',
        from: 'CASE WHEN r.step_key IS NULL THEN t.attempt_base ELSE t.head_event_id + r.event_count END',
        to: 't.attempt_base',
      },
    ],
    caughtBy: { file: 'test/tasks/append-statement.test.ts', tests: 'leaves the task as decide leaves it' },
  },
  {
    name: 'a step whose result is not stored with its event',
    changes: [
      {
        file: 'src/tasks/store/append-batch.ts',
        from: 'USING (task_id) WHERE r.step_key IS NOT NULL\n',
        to: 'USING (task_id) WHERE false\n',
      },
    ],
    caughtBy: { file: 'test/tasks/append-statement.test.ts', tests: 'stores the result of a step with its event' },
  },
  {
    name: 'a new try of a step that may void what is finished',
    changes: [
      {
        file: 'src/tasks/store/append-batch.ts',
        from: 'r.voids_from >= t.attempt_base',
        to: 'r.voids_from >= 0',
      },
    ],
    caughtBy: { file: 'test/tasks/append-statement.test.ts', tests: 'wherever a new try of a step' },
  },
  {
    name: 'a run again that puts out what is valid',
    changes: [
      {
        file: 'packages/handler/src/steps.ts',
        from: 'this.#isSilent = stored.length > 0;',
        to: 'this.#isSilent = false;',
      },
    ],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'nothing is put out again' },
  },
  {
    name: 'a step that does not wait for what was put out before it',
    changes: [
      {
        file: 'packages/handler/src/event-sender.ts',
        from: '    await this.settled();\n    const finished',
        to: '    const finished',
      },
    ],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'stores its result behind what was put out' },
  },
  {
    name: 'a task with a finished step for a worker that does not know steps',
    changes: [
      {
        file: 'src/tasks/store/lock-tasks.ts',
        from: 'AND ($8 OR NOT EXISTS',
        to: 'AND (true OR $8 OR NOT EXISTS',
      },
    ],
    caughtBy: {
      file: 'test/execution/worker-protocol.test.ts',
      tests: 'is leased to no worker that does not know steps',
    },
  },
  {
    name: 'an answer that voids nothing',
    changes: [
      {
        file: 'src/tasks/domain/decide.ts',
        from: '  if (!isPutOutAgain ||',
        to: '  if (isPutOutAgain || !isPutOutAgain ||',
      },
    ],
    caughtBy: { file: 'test/tasks/domain.test.ts', tests: 'voids what was put out before a question' },
  },
  {
    name: 'a refused event that nobody awaits is swallowed',
    changes: [
      {
        file: 'packages/handler/src/attempt.ts',
        from: '    const { unheard } = this.#outcomes;\n',
        to: '    const unheard: unknown[] = [];\n',
      },
    ],
    caughtBy: {
      file: 'test/execution/handler-contract.test.ts',
      tests: 'is refused fails for good when it does not listen',
    },
  },
];
