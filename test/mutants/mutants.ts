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
    name: 'a limit that lets one task more run',
    changes: [
      {
        file: 'migrations/0009_policies.sql',
        from: 'coalesce((used ->> key_of.key)::float8, 0) >= key_of.most)',
        to: 'coalesce((used ->> key_of.key)::float8, 0) > key_of.most)',
      },
    ],
    caughtBy: { file: 'test/policies/policies.test.ts', tests: 'say of a task that waits why it waits' },
  },
  {
    name: 'a worker that widens what the operator set',
    changes: [
      {
        file: 'src/tasks/domain/merge-policies.ts',
        from: '(value as number) < present',
        to: '(value as number) > present',
      },
    ],
    caughtBy: { file: 'test/policies/policies.test.ts', tests: 'only narrow what the file sets' },
  },
  {
    name: 'a claim that does not look for a pause',
    changes: [{ file: 'src/tasks/store/type-policies.ts', from: 'AND p.paused_at IS NOT NULL)`;', to: 'AND false)`;' }],
    caughtBy: { file: 'test/policies/policies.test.ts', tests: 'pause a type at once' },
  },
  {
    name: 'a check of a schema without an end',
    changes: [{ file: 'src/json/schema/value-schema.ts', from: '  stepsLeft -= steps;\n', to: '' }],
    caughtBy: { file: 'test/json/value-schema.test.ts', tests: 'costs its own request below 50 ms' },
  },
  {
    name: 'a text of late joiners that has what is void',
    changes: [
      {
        file: 'packages/protocol/src/output-fold.ts',
        from: '    if (since !== undefined) this.void(Number(since));\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/tasks/output-so-far.test.ts', tests: 'is at its head, and at its boundary' },
  },
  {
    name: 'a read that skips one event more than is void',
    changes: [
      {
        file: 'src/tasks/read-output.ts',
        from: 'since >= 0 ? since + 1 : eventId',
        to: 'since >= 0 ? since : eventId',
      },
    ],
    caughtBy: { file: 'test/database/output-reads.test.ts', tests: 'does not read what a new attempt made void' },
  },
  {
    name: 'a stream that begins behind a later head than that of its snapshot',
    changes: [
      {
        file: 'src/following/open-subscription.ts',
        from: 'const task = snapshot?.view ?? (await readTaskHead(this.database, taskId));',
        to: 'const task = await readTaskHead(this.database, taskId);',
      },
    ],
    caughtBy: { file: 'test/live-log/attach-first.test.ts', tests: 'is in the snapshot or follows it' },
  },
  {
    name: 'a rate that takes nothing from its bucket',
    changes: [
      {
        file: 'migrations/0009_policies.sql',
        from: 'coalesce((used ->> key_of.key)::float8, key_of.most) - 1)',
        to: 'coalesce((used ->> key_of.key)::float8, key_of.most) - 0)',
      },
    ],
    caughtBy: { file: 'test/policies/rates.test.ts', tests: 'keep attempts within the rate' },
  },
  {
    name: 'held tasks that nobody lets go but a claim',
    changes: [
      {
        file: 'src/execution/waiting-claims.ts',
        from: 'const found = await this.held.letGo().catch(() => []);',
        to: 'const found = new Set<string>();',
      },
    ],
    caughtBy: { file: 'test/policies/limits.test.ts', tests: 'leave no free slot idle' },
  },
  {
    name: 'a task from SQL that limits do not count',
    changes: [
      {
        file: 'src/tasks/store/unplanned-tasks.ts',
        from: "concurrency_key = plan ->> 'concurrencyKey'",
        to: 'concurrency_key = NULL',
      },
    ],
    caughtBy: { file: 'test/database/create-task.test.ts', tests: 'limits how many run' },
  },
  {
    name: 'a replica that knows only what workers claim',
    changes: [
      {
        file: 'src/tasks/store/find-waits.ts',
        from: "FROM taskbridge.proj_replicas r\n      WHERE ${isLive('r')}",
        to: 'FROM taskbridge.proj_replicas r\n      WHERE false',
      },
    ],
    caughtBy: { file: 'test/tasks/waiting-for.test.ts', tests: 'is the same on a replica without handlers' },
  },
  {
    name: 'a repeated bulk that is another one',
    changes: [
      {
        file: 'src/bulk/start-bulk.ts',
        from: 'uuidv5(principalKey(auth, clientRequestId), NAMESPACE)',
        to: 'uuidv5(principalKey(auth, uuidv4()), NAMESPACE)',
      },
    ],
    caughtBy: { file: 'test/tasks/bulk.test.ts', tests: 'that is repeated is the same one' },
  },
  {
    name: 'a tick whose input nobody checks',
    changes: [
      {
        file: 'src/schedules/run-schedules.ts',
        from: 'if (errors.length > 0) return this.move',
        to: 'if (errors.length > 1_000) return this.move',
      },
    ],
    caughtBy: { file: 'test/tasks/schedules.test.ts', tests: 'says when its input fits no more' },
  },
  {
    name: 'a schedule that makes up the ticks of its pause',
    changes: [
      {
        file: 'src/schedules/schedule-rows.ts',
        from: '(s.cron, s.time_zone, s.paused_at IS NULL) = (excluded.cron, excluded.time_zone, NOT $14)',
        to: '(s.cron, s.time_zone) = (excluded.cron, excluded.time_zone)',
      },
    ],
    caughtBy: { file: 'test/tasks/schedules.test.ts', tests: 'has no ticks while it is paused' },
  },
  {
    name: 'a bulk that does only what is done',
    changes: [
      {
        file: 'src/bulk/bulk-rows.ts',
        from: 'WHERE t.bulk_id = taken.bulk_id AND t.outcome IS NULL ORDER BY task_id LIMIT $1',
        to: 'WHERE t.bulk_id = taken.bulk_id AND t.outcome IS NOT NULL ORDER BY task_id LIMIT $1',
      },
    ],
    caughtBy: { file: 'test/tasks/bulk.test.ts', tests: 'runs what it showed' },
  },
  {
    name: 'an owner who erases what runs',
    changes: [
      {
        file: 'src/tasks/erase-tasks.ts',
        from: '        if (!controlsAll(auth)) throw new TaskNotTerminal();\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/tasks/erase.test.ts', tests: 'has to be over for its owner' },
  },
  {
    name: 'missed ticks that are all made up',
    changes: [
      {
        file: 'src/schedules/run-schedules.ts',
        from: 'lastBefore(schedule, since, tick, catchUp)',
        to: 'lastBefore(schedule, since, tick, catchUp + 100)',
      },
    ],
    caughtBy: { file: 'test/tasks/schedules.test.ts', tests: 'of missed ticks the newest 1 are made up' },
  },
  {
    name: 'a tick for which nobody is asked',
    changes: [
      {
        file: 'src/schedules/run-schedules.ts',
        from: 'if (!(await this.ownership.mayCreate(callerOf(schedule.principal), { taskType })))',
        to: 'if (callerOf(schedule.principal).subject === taskType)',
      },
    ],
    caughtBy: { file: 'test/tasks/schedules.test.ts', tests: 'is asked at each tick' },
  },
  {
    name: 'a task that is run again while it runs',
    changes: [
      {
        file: 'src/tasks/domain/judge-rerun.ts',
        from: '  if (!isOver(status)) throw new TaskNotTerminal();\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/tasks/run-again.test.ts', tests: 'has to be over' },
  },
  {
    name: 'shared bytes that go with the first task',
    changes: [
      {
        file: 'src/tasks/store/attachments.ts',
        from: 'gen_random_uuid(), coalesce(blob_id, attachment_id), filename',
        to: 'gen_random_uuid(), NULL, filename',
      },
    ],
    caughtBy: { file: 'test/tasks/run-again.test.ts', tests: 'are the same bytes' },
  },
  {
    name: 'a kept step whose file has another id',
    changes: [
      {
        file: 'src/tasks/store/attachments.ts',
        from: "const FILE_ID = 'coalesce(a.blob_id, a.attachment_id)';",
        to: "const FILE_ID = 'a.attachment_id';",
      },
    ],
    caughtBy: { file: 'test/tasks/run-again.test.ts', tests: 'find their files' },
  },
  {
    name: 'schedules that come at once and do not count each other',
    changes: [
      { file: 'src/schedules/keep-schedules.ts', from: '        await lockOwners(tx, [ownerOf(auth)]);\n', to: '' },
    ],
    caughtBy: { file: 'test/tasks/schedules.test.ts', tests: 'is one of a hundred at most' },
  },
  {
    name: 'an open transaction that holds up the creates of others',
    changes: [
      {
        file: 'src/tasks/create-queue.ts',
        from: "return tasks.map(() => ({ outcome: 'held_up' }));",
        to: 'throw error;',
      },
    ],
    caughtBy: { file: 'test/database/create-task.test.ts', tests: 'holds up its own request alone' },
  },
  {
    name: 'lists that are compared at no charge',
    changes: [
      {
        file: 'src/json/schema/list-comparisons.ts',
        from: '(parts.length * weight)',
        to: '(0 * parts.length * weight)',
      },
    ],
    caughtBy: { file: 'test/json/value-schema.test.ts', tests: 'unique objects that differ at their end' },
  },
  {
    name: 'publish before commit',
    changes: [
      {
        file: 'src/tasks/task-writer.ts',
        from: '      await beside?.(tx, result);\n',
        to: '      await beside?.(tx, result);\n      this.liveLog.publish(result.flatMap(({ events }) => events));\n',
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
    name: 'a feed of a tenant and of all without hints',
    changes: [
      {
        file: 'src/tasks/ports/live-log.ts',
        from: '[owner, { tenantId }, {}]',
        to: '[owner, { tenantId }].slice(0, 1)',
      },
    ],
    caughtBy: { file: 'test/changes/lost-nothing.test.ts', tests: 'changed among the tasks of' },
  },
  {
    name: 'a feed of a tenant and of all that trusts its hints',
    changes: [{ file: 'src/following/changes/changes-hub.ts', from: 'before.snapshot === snapshot', to: 'before' }],
    caughtBy: { file: 'test/changes/lost-nothing.test.ts', tests: 'finds the changes of all followers' },
  },
  {
    name: 'a change in a feed that is larger than a frame',
    changes: [
      {
        file: 'src/tasks/http/dto/task-snapshot.ts',
        from: 'MAX_SENT_FRAME_BYTES - AROUND_TASK_BYTES',
        to: '8 * MAX_SENT_FRAME_BYTES - AROUND_TASK_BYTES',
      },
    ],
    caughtBy: { file: 'test/changes/changes.test.ts', tests: 'keeps the limit of a frame' },
  },
  {
    name: 'a snapshot in a frame that is larger than a frame',
    changes: [{ file: 'src/tasks/http/dto/task-snapshot.ts', from: 'if (bytes > room) return {};', to: '' }],
    caughtBy: { file: 'test/streaming/beginnings.test.ts', tests: 'keeps the limit of a frame' },
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
        from: 'snapshot?.view ?? (await readTaskHead(this.database, taskId));\n',
        to: 'snapshot?.view ?? early;\n',
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
        from: '      const identity = await demandControl(this.database, this.ownership, auth, taskId);\n',
        to: '      const identity = { taskId } as never;\n',
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
        from: "      await demandTask(this.database, this.ownership, 'mayRead', auth, taskId);\n",
        to: "      await readTaskView(this.database, taskId, 1).catch(() => undefined);\n      await demandTask(this.database, this.ownership, 'mayRead', auth, taskId);\n",
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
    name: 'an event that its key stores again',
    changes: [
      {
        file: 'src/tasks/store/append-batch.ts',
        from: 'WHERE e.task_id = t.task_id AND k.attempt = t.attempt)',
        to: 'WHERE false)',
      },
    ],
    caughtBy: { file: 'test/tasks/append-statement.test.ts', tests: 'stores what decide stores' },
  },
  {
    name: 'a key that goes on naming what is void',
    changes: [
      {
        file: 'src/tasks/store/event-keys.ts',
        from: 'v.since < n.event_id AND n.event_id < v.event_id',
        to: 'false',
      },
    ],
    caughtBy: { file: 'test/execution/worker-additions.test.ts', tests: 'stores anew what an answer made void' },
  },
  {
    name: 'a lease that is renewed by the setting alone',
    changes: [
      {
        file: 'src/tasks/store/renew-leases.ts',
        from: 'held.map((h) => leaseSecondsOf(h.leaseToken) ?? leaseSeconds)',
        to: 'held.map(() => leaseSeconds)',
      },
    ],
    caughtBy: { file: 'test/execution/worker-additions.test.ts', tests: 'gets leases of that length' },
  },
  {
    name: 'heartbeats for tasks that the token does not cover',
    changes: [
      {
        file: 'src/tasks/store/renew-leases.ts',
        from: '($4::text[] IS NULL OR t.task_type = ANY ($4)) AND',
        to: '$4::text[] IS NOT DISTINCT FROM $4 AND',
      },
    ],
    caughtBy: { file: 'test/execution/named-tokens.test.ts', tests: 'extends leases within its reach alone' },
  },
  {
    name: 'a cancellation that the worker hears of by the query alone',
    changes: [
      {
        file: 'src/execution/worker-signals.ts',
        from: "    this.liveLog.hint('worker', workerId);\n",
        to: '    void workerId;\n',
      },
    ],
    caughtBy: { file: 'test/execution/worker-signals.test.ts', tests: 'learns at once of a cancellation' },
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
        from: 'if (stored.length > 0) this.#held = new HeldEvents();',
        to: '',
      },
    ],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'nothing is put out again' },
  },
  {
    name: 'a run that goes another way, and whose output is dropped',
    changes: [{ file: 'packages/handler/src/attempt.ts', from: '    steps.release();\n', to: '' }],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'takes nothing from what a run says' },
  },
  {
    name: 'a body whose time was up, and that is heard all the same',
    changes: [
      { file: 'packages/handler/src/steps.ts', from: 'if (here?.hasFailed) throw', to: 'if (false as boolean) throw' },
    ],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'whose time was up puts nothing out' },
  },
  {
    name: 'output beside an open step, which no later run can place',
    changes: [
      {
        file: 'packages/handler/src/steps.ts',
        from: 'if (only && here !== undefined &&',
        to: 'if (only && (false as boolean) &&',
      },
    ],
    caughtBy: {
      file: 'test/execution/runner.test.ts',
      tests: 'is the only one that puts anything out while it is open',
    },
  },
  {
    name: 'a question that is answered by another one',
    changes: [{ file: 'packages/handler/src/attempt.ts', from: '    this.#questions.add(suspendId);\n', to: '' }],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'never has the answer to another one' },
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
        file: 'src/tasks/store/claim-batch.ts',
        from: 'AND ($3 OR (SELECT true',
        to: 'AND (true OR $3 OR (SELECT true',
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
  {
    name: 'an owner’s new tasks in one place',
    changes: [
      {
        file: 'src/tasks/store/places.ts',
        from: 'ELSE next - 1 + row_number() OVER (',
        to: 'ELSE next + 0 * row_number() OVER (',
      },
    ],
    caughtBy: { file: 'test/tasks/queue.test.ts', tests: 'get equal shares' },
  },
  {
    name: 'a new task in front of its owner’s others',
    changes: [
      {
        file: 'src/tasks/store/insert-task.ts',
        from: '`greatest(${earliest} + ${OFFSET}, ${lastPlaceOf(owner, PRIORITY)} + 1)`',
        to: '`greatest(${earliest} + ${OFFSET}, 0 * ${lastPlaceOf(owner, PRIORITY)})`',
      },
    ],
    caughtBy: { file: 'test/tasks/queue.test.ts', tests: 'differ by two tasks' },
  },
  {
    name: 'a new task that begins before what waits of its type',
    changes: [
      {
        file: 'src/tasks/store/first-attempts.ts',
        from: 'w.claimable_at <= clock_timestamp() LIMIT 1) IS NULL',
        to: 'w.claimable_at <= clock_timestamp() LIMIT 0) IS NULL',
      },
    ],
    caughtBy: { file: 'test/execution/begun-at-create.test.ts', tests: 'begins exactly what has a place' },
  },
  {
    name: 'a new task that begins while another session judges its limit',
    changes: [
      {
        file: 'src/tasks/store/first-attempts.ts',
        from: 'ORDER BY l.key FOR UPDATE SKIP LOCKED) AS l',
        to: 'ORDER BY l.key) AS l',
      },
    ],
    caughtBy: { file: 'test/execution/begun-at-create.test.ts', tests: 'are never more than the limit' },
  },
  {
    name: 'a new task whose place somebody else may take',
    changes: [{ file: 'src/execution/inline/inline-worker.ts', from: '    this.#kept += count;\n', to: '' }],
    caughtBy: { file: 'test/execution/begun-at-create.test.ts', tests: 'takes no place of another one' },
  },
  {
    name: 'a new task that begins behind the back of a worker that stops',
    changes: [{ file: 'src/execution/inline/inline-worker.ts', from: ', ...this.#rooms]', to: ']' }],
    caughtBy: { file: 'test/execution/begun-at-create.test.ts', tests: 'goes back when it is stored while' },
  },
  {
    name: 'a claim of a row that is held in another way, too',
    changes: [
      {
        file: 'src/tasks/store/claim-batch.ts',
        from: 'AND t.lease_token IS NULL AND t.suspend_id',
        to: 'AND t.suspend_id',
      },
    ],
    caughtBy: { file: 'test/tasks/claim-statement.test.ts', tests: 'exactly the tasks that wait' },
  },
  {
    name: 'an end under the token of the row',
    changes: [
      {
        file: 'src/tasks/end-attempt.ts',
        from: '      ({ earlier, request }) => {\n',
        to: "      ({ earlier, request: { ...request }, task: { run } }) => {\n        if (run.state === 'leased') request.ending = { ...request.ending, token: run.token };\n",
      },
    ],
    caughtBy: { file: 'test/tasks/queue.test.ts', tests: 'judged each by itself' },
  },
  {
    name: 'a file of a worker that is attached after its lease',
    changes: [
      {
        file: 'src/tasks/store/renew-leases.ts',
        from: `    WHERE \${HELD}
    RETURNING`,
        to: `    WHERE t.task_id = $1 AND $2::text IS NOT NULL
    RETURNING`,
      },
    ],
    caughtBy: { file: 'test/uploads/worker-files.test.ts', tests: 'is not attached when the lease is lost' },
  },
  {
    name: 'bytes of a worker that nobody discards',
    changes: [
      { file: 'src/tasks/attach-file.ts', from: '        await this.discard.execute([attachmentId]);\n', to: '' },
    ],
    caughtBy: { file: 'test/uploads/worker-files.test.ts', tests: 'is the same file when the same bytes come again' },
  },
  {
    name: 'a run again that attaches before its last finished step',
    changes: [{ file: 'packages/handler/src/attempt.ts', from: 'if (isRepeating && stored) return stored;', to: '' }],
    caughtBy: { file: 'test/execution/runner.test.ts', tests: 'is the stored one in a later run' },
  },
  {
    name: 'a follow token whose signature does not matter',
    changes: [
      {
        file: 'src/auth/follow-token-text.ts',
        from: '  if (!matches.includes(true)) return undefined;\n',
        to: '  if (matches.length === 0) return undefined;\n',
      },
    ],
    caughtBy: { file: 'test/auth/follow-tokens.test.ts', tests: 'with any character changed' },
  },
  {
    name: 'a follow token of one task that opens all of its owner',
    changes: [
      {
        file: 'src/ownership/owner-policy.ts',
        from: 'return taskId === undefined ? owns(auth, task) : taskId === task.taskId;',
        to: 'return owns(auth, task) || taskId === task.taskId;',
      },
    ],
    caughtBy: { file: 'test/auth/authorisation.test.ts', tests: 'what the matrix says from' },
  },
  {
    name: 'a route that takes follow tokens and does not say so',
    changes: [
      {
        file: 'src/auth/authentication.guard.ts',
        from: "  if (!demand) throw new AccessDenied('A follow token does not open this.');\n",
        to: '  if (!demand) return;\n',
      },
    ],
    caughtBy: { file: 'test/auth/authorisation.test.ts', tests: 'what the matrix says from' },
  },
  {
    name: 'a follow token beside the session of another principal',
    changes: [
      {
        file: 'src/auth/callers.ts',
        from: 'if (other && isNamed(other) && !isSamePrincipal(other, auth))',
        to: 'if (other && isReserved(other.subject))',
      },
    ],
    caughtBy: { file: 'test/auth/follow-tokens.test.ts', tests: 'beside the proof of another principal' },
  },
  {
    name: 'a revocation that only its own replica honours',
    changes: [
      {
        file: 'src/follow-tokens/revocation-watch.ts',
        from: '      this.followTokens.learn(marks);\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/auth/follow-tokens.test.ts', tests: 'is honoured by every replica' },
  },
  {
    name: 'credentials that end a quarter of a second late',
    changes: [{ file: 'src/streaming/feed.ts', from: '        writer.judgeCredential();\n', to: '' }],
    caughtBy: { file: 'test/streaming/credentials-that-end.test.ts', tests: 'nothing is read after that moment' },
  },
  {
    name: 'a client for Python that passes over what was lost on the way',
    changes: [
      {
        file: 'packages/python/src/taskbridge_client/places.py',
        from: 'return int(frame["eventId"]) > self.head + 1',
        to: 'return False',
      },
    ],
    caughtBy: { file: 'test/python/package.test.ts', tests: 'keeps to pytest' },
  },
  {
    name: 'a client for Python that shows void text',
    changes: [
      {
        file: 'packages/python/src/taskbridge_client/output_fold.py',
        from: '        if since is not None:\n',
        to: '        if False:\n',
      },
    ],
    caughtBy: { file: 'test/python/client.test.ts', tests: 'sees each event once in a bad network' },
  },
  {
    name: 'a client for Python that sends a request before it keeps the id',
    changes: [
      {
        file: 'packages/python/src/taskbridge_client/store.py',
        from: '            self._store[key] = request_id\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/python/package.test.ts', tests: 'keeps to pytest' },
  },
  {
    name: 'a worker for Python that renews no lease by itself',
    changes: [
      {
        file: 'packages/python/src/taskbridge_client/worker/worker.py',
        from: 'asyncio.create_task(self._heartbeats.run())',
        to: 'asyncio.create_task(asyncio.sleep(0))',
      },
    ],
    caughtBy: { file: 'test/python/worker.test.ts', tests: 'keeps the lease of a handler' },
  },
  {
    name: 'a worker for Python that runs a finished step again',
    changes: [
      {
        file: 'packages/python/src/taskbridge_client/worker/steps.py',
        from: 'is_stored = step_key in self._results',
        to: 'is_stored = False',
      },
    ],
    caughtBy: { file: 'test/python/worker.test.ts', tests: 'goes on at its last step' },
  },
  {
    name: 'a client that passes over what was lost on the way',
    changes: [
      { file: 'packages/client/src/log.ts', from: '    if (id > this.#head + 1) return this.catchUp(id);\n', to: '' },
    ],
    caughtBy: { file: 'test/client/client.test.ts', tests: 'has no hole where a frame is lost on the way' },
  },
  {
    name: 'a client that sends a request before it keeps the id',
    changes: [{ file: 'packages/client/src/store.ts', from: '    await store.setItem(key, requestId);\n', to: '' }],
    caughtBy: { file: 'test/client/client.test.ts', tests: 'its id is kept before the network has it' },
  },
  {
    name: 'a client that asks for credentials once',
    changes: [
      { file: 'packages/client/src/http.ts', from: '(isUnknown ? !wasUnknown : error.mayPass)', to: 'error.mayPass' },
    ],
    caughtBy: { file: 'test/client/client.test.ts', tests: 'are asked before every connect, and refused ones twice' },
  },
  {
    name: 'a tab that was frozen, and still leads',
    changes: [
      {
        file: 'packages/client/src/tabs.ts',
        from: '    if (this.#isLeader && Date.now() - this.#beatAt > TAKE_OVER_MS) this.#ask();\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/client/browser.test.ts', tests: 'a leader that was frozen asks before it sends' },
  },
  {
    name: 'a client whose linked signals are forgotten',
    changes: [
      {
        file: 'packages/client/src/waiting.ts',
        from: 'Object.assign(AbortSignal.any([own.signal, ...all]), { all })',
        to: 'AbortSignal.any([own.signal, ...all])',
      },
    ],
    caughtBy: { file: 'test/client/runtimes.test.ts', tests: 'ends what it has begun on Node' },
  },
  {
    name: 'a chat that keeps what is void',
    changes: [
      {
        file: 'packages/ai/src/turn.ts',
        from: "    return [{ type: 'reset-step' }, ...this.#all()];\n",
        to: '    return [];\n',
      },
    ],
    caughtBy: { file: 'test/client/ai.test.ts', tests: 'takes what a retried attempt voids off the screen' },
  },
  {
    name: 'a chat that begins its message anew behind a question',
    changes: [
      {
        file: 'packages/ai/src/transport.ts',
        from: 'chunksOf(task, taskId, eventId, true, signal)',
        to: 'chunksOf(task, taskId, eventId, false, signal)',
      },
    ],
    caughtBy: { file: 'test/client/ai.test.ts', tests: 'asks twice in one turn' },
  },
  {
    name: 'a fold that shows a part of what is void, after it has joined it',
    changes: [
      {
        file: 'packages/protocol/src/output-fold.ts',
        from: '        if (last.after < since) this.#isExact = false;\n',
        to: '',
      },
    ],
    caughtBy: { file: 'test/client/joined-pieces.test.ts', tests: 'or says that it does not know it' },
  },
  {
    name: 'a list over owners for everybody',
    changes: [{ file: 'src/tasks/scope-for.ts', from: "  demandScope(auth, 'tasks:admin');\n", to: '' }],
    caughtBy: { file: 'test/system/operators.test.ts', tests: 'is refused with' },
  },
  {
    name: 'an operator that leaves no trace',
    changes: [{ file: 'src/tasks/audit-control.ts', from: '  if (owns(auth, task)) return;\n', to: '  return;\n' }],
    caughtBy: { file: 'test/system/operators.test.ts', tests: 'is in the audit, once' },
  },
  {
    name: 'a short page that says it is the last',
    changes: [
      {
        file: 'src/tasks/store/read-task-page.ts',
        from: 'stoppedAt: last ? { createdAt: last.created_at, taskId: last.task_id } : null',
        to: 'stoppedAt: last && limit < 0 ? { createdAt: last.created_at, taskId: last.task_id } : null',
      },
    ],
    caughtBy: { file: 'test/system/operators.test.ts', tests: 'ends a page before it is full' },
  },
  {
    name: 'a setting that shows its secret',
    changes: [{ file: 'src/boot/config.ts', from: '!setting.kind.isHidden && { value:', to: '{ value:' }],
    caughtBy: { file: 'test/system/system.test.ts', tests: 'no secret is' },
  },
  {
    name: 'a console that shows what turns a line around',
    changes: [
      { file: 'packages/console/src/parts/text.tsx', from: 'text.replace(HIDDEN,', to: 'text.replace(/(?!)/g,' },
    ],
    caughtBy: { file: 'test/console/console.test.ts', tests: 'are never markup, a link or a layout break, at 1280' },
  },
  {
    name: 'a console that allows inline styles',
    changes: [
      {
        file: 'src/http/security-headers.ts',
        from: "style-src 'self'; img-src 'self'; connect-src",
        to: "style-src 'self' 'unsafe-inline'; img-src 'self'; connect-src",
      },
    ],
    caughtBy: { file: 'test/console/routes.test.ts', tests: 'allows no script or style but its own files' },
  },
];
