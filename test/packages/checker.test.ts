import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { newPrincipal, uniqueId } from '../support/client.js';
import { type Reader, transports } from '../support/follow.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { startService, temporaryDirectory } from '../support/service.js';

const CHECK = fileURLToPath(new URL('../../packages/checker/bin/check.mjs', import.meta.url));

type Line = Readonly<Record<string, unknown>>;

async function check(lines: readonly (Line | string)[], ...args: string[]) {
  const child = spawn(process.execPath, [CHECK, ...args], { stdio: 'pipe' });
  child.stdin.end(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number, stdout, stderr };
}

/** The counts that are not 0, and the exit code. */
async function verdict(lines: readonly Line[]) {
  const { code, stdout, stderr } = await check(lines, '--json');
  if (code === 2) throw new Error(stderr);
  const counts = Object.entries(JSON.parse(stdout) as Record<string, number>);
  const { acknowledged, stored, delivered, changes, ...broken } = Object.fromEntries(
    counts.filter(([, count]) => count > 0),
  );
  return { code, broken };
}

const raw = (id: number, type = 'TASK_PROGRESS', more = {}) =>
  JSON.stringify({ type, taskId: 't', eventId: String(id), createdAt: '2026-11-21T12:00:10.123Z', payload: more });

const step = (id: number, key: string) => raw(id, 'TASK_STEP', { key, state: 'completed', attempt: 1 });

/** A task of four events that is over. */
const LOG = [raw(1, 'TASK_STARTED'), raw(2), raw(3), raw(4, 'TASK_COMPLETED', { result: 1 })];
const row = (overrides: Line = {}): Line => ({
  kind: 'task',
  taskId: 't',
  tenant: '',
  owner: 'o',
  taskType: 'report',
  status: 'COMPLETED',
  headEventId: '4',
  attempt: 1,
  suspendId: null,
  cancellationRequested: false,
  waiting: false,
  leased: false,
  suspended: false,
  ...overrides,
});
const stored = (log: readonly string[] = LOG, task = row()): Line[] => [
  task,
  ...log.map((envelope) => ({ kind: 'stored', raw: envelope })),
];
const created: Line = { kind: 'created', taskId: 't' };
const connected = (cursor: string | null = null, subscriber = 's'): Line => ({
  kind: 'connected',
  subscriber,
  taskId: 't',
  cursor,
});
const events = (...envelopes: (string | undefined)[]): Line[] =>
  envelopes.map((envelope) => ({ kind: 'event', subscriber: 's', raw: envelope }));
const ended: Line = { kind: 'ended', subscriber: 's' };
const left: Line = { kind: 'left', subscriber: 's' };
const [e1, e2, e3, e4] = LOG;

describe('packages/checker', () => {
  it('finds nothing in a history in which every promise was kept', async () => {
    const lines = [created, connected(), ...events(e1, e2), connected('1'), ...events(e2, e3, e4), ended, ...stored()];
    const { code, stdout } = await check(lines);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('every promise was kept') });
    const counts = JSON.parse((await check(lines, '--json')).stdout) as object;
    expect(counts).toEqual({
      acknowledged: 1,
      stored: 4,
      delivered: 5,
      changes: 0,
      lost: 0,
      duplicates: 0,
      holes: 0,
      reordered: 0,
      mismatches: 0,
      'terminal violations': 0,
      steps: 0,
      limbo: 0,
      stale: 0,
      foreign: 0,
      snapshots: 0,
      unfinished: 0,
    });
  });

  it.each<[string, Line[]]>([
    [
      'begins in the middle and resumes further back',
      [connected('2'), ...events(e3), connected('0'), ...events(e1, e2, e3, e4), ended],
    ],
    ['leaves of its own will', [connected(), ...events(e1, e2), left]],
    ['begins at the end', [connected('4'), ended]],
    [
      'has connections without an event',
      [connected(), connected(), { kind: 'disconnected', subscriber: 's' }, connected(''), ...events(...LOG), ended],
    ],
  ])('lets a subscriber pass that %s', async (_what, lines) => {
    expect(await verdict([created, ...lines, ...stored()])).toEqual({ code: 0, broken: {} });
  });

  it.each<[string, object, Line[]]>([
    [
      'a create that was acknowledged and is not stored',
      { lost: 1 },
      [created, { kind: 'created', taskId: 'u' }, ...stored()],
    ],
    [
      'an event that was acknowledged and is not stored',
      { lost: 1 },
      [{ kind: 'appended', taskId: 't', eventIds: ['4', '5'] }, ...stored()],
    ],
    [
      'an event that came twice over one connection',
      { duplicates: 1 },
      [connected(), ...events(e1, e2, e2, e3, e4), ended, ...stored()],
    ],
    ['an event at the cursor', { duplicates: 1 }, [connected('2'), ...events(e2, e3, e4), ended, ...stored()]],
    ['an event that is stored twice', { duplicates: 1 }, stored([...LOG, e4 ?? ''])],
    ['an event that did not come', { holes: 1 }, [connected(), ...events(e1, e3, e4), ended, ...stored()]],
    [
      'events that did not come right after the cursor',
      { holes: 2 },
      [connected('0'), ...events(e3, e4), ended, ...stored()],
    ],
    ['an end before the last event', { holes: 1 }, [connected(), ...events(e1, e2, e3), ended, ...stored()]],
    [
      'a subscriber that resumed beyond what it had',
      { holes: 1 },
      [connected(), ...events(e1, e2), connected('3'), ...events(e4), ended, ...stored()],
    ],
    ['a log with a hole', { holes: 1 }, stored([e1, e2, e4].map(String))],
    [
      'a log that ends before the head of its task',
      { holes: 1, 'terminal violations': 1 },
      stored([e1, e2, e3].map(String)),
    ],
    ['an event that came late', { reordered: 1 }, [connected(), ...events(e1, e3, e2, e4), ended, ...stored()]],
    [
      'an event with other bytes than stored',
      { mismatches: 1 },
      [connected(), ...events(e1, e2, raw(3, 'TASK_PROGRESS', { progress: 1 }), e4), ended, ...stored()],
    ],
    [
      'an event that is written otherwise though it means the same',
      { mismatches: 1 },
      [connected(), ...events(e1, e2, e3?.replace('{}', '{ }'), e4), ended, ...stored()],
    ],
    ['an event that is not stored', { mismatches: 1 }, [connected('3'), ...events(e4, raw(5)), left, ...stored()]],
    [
      'an event of another task',
      { mismatches: 1, holes: 1 },
      [connected(), ...events(e1, e2?.replace('"t"', '"u"'), e3, e4), ended, ...stored()],
    ],
    ['something that is no event', { mismatches: 1 }, [connected(), ...events(...LOG, 'event'), ended, ...stored()]],
    [
      'an id that is stored with two contents',
      { mismatches: 1 },
      stored([...LOG, raw(4, 'TASK_COMPLETED', { result: 2 })]),
    ],
    ['events without a task', { mismatches: 1 }, stored().slice(1)],
    [
      'two ends',
      { 'terminal violations': 1 },
      stored([...LOG, raw(5, 'TASK_FAILED')], row({ headEventId: '5', status: 'FAILED' })),
    ],
    ['an event after the end', { 'terminal violations': 2 }, stored([...LOG, raw(5)], row({ headEventId: '5' }))],
    [
      'a status that is not that of the last event',
      { 'terminal violations': 1 },
      stored(LOG, row({ status: 'FAILED' })),
    ],
    [
      'a stream that ended though its task goes on',
      { 'terminal violations': 1 },
      [
        connected(),
        ...events(e1, e2),
        ended,
        ...stored([e1, e2].map(String), row({ status: 'RUNNING', headEventId: '2', leased: true })),
      ],
    ],
    [
      'an event that came after the end of the stream',
      { 'terminal violations': 1, duplicates: 1 },
      [connected(), ...events(...LOG), ended, ...events(e4), ...stored()],
    ],
    [
      'a step that is finished twice',
      { steps: 1 },
      stored([raw(1, 'TASK_STARTED'), step(2, 'a'), step(3, 'a'), raw(4, 'TASK_COMPLETED')]),
    ],
    [
      'a retry that voids what a step had made valid',
      { steps: 1 },
      stored([
        raw(1, 'TASK_STARTED'),
        step(2, 'a'),
        raw(3, 'TASK_RETRYING', { supersedesAfterEventId: '1' }),
        raw(4, 'TASK_COMPLETED'),
      ]),
    ],
    [
      'a task that nothing will go on with',
      { limbo: 1 },
      stored([e1].map(String), row({ status: 'RUNNING', headEventId: '1' })),
    ],
    [
      'a task that is held by a policy, and can be claimed all the same',
      { mismatches: 1 },
      stored([], row({ status: 'ACCEPTED', headEventId: '0', held: 'type:report', waiting: true })),
    ],
    [
      'a task whose engine is silent',
      { limbo: 1 },
      stored([e1].map(String), row({ status: 'RUNNING', headEventId: '1', delegated: false, held: null })),
    ],
    ['a subscriber that did not learn of the end', { unfinished: 1 }, [connected(), ...events(...LOG), ...stored()]],
    [
      'a subscriber that learned of the end once and resumed',
      { unfinished: 1 },
      [connected(), ...events(...LOG), ended, connected('4'), ...stored()],
    ],
  ])('catches %s', async (_what, broken, lines) => {
    expect(await verdict(lines)).toEqual({ code: 1, broken });
  });

  describe('reads feeds', () => {
    const feed = (more: Line = { owner: 'o' }): Line => ({ kind: 'feed', subscriber: 'f', ...more });
    const state = { taskId: 't', status: 'COMPLETED', headEventId: '4', attempt: 1, cancellationRequested: false };
    const told = (members: object = {}): Line => change({ task: { ...state, ...members } });
    const change = (members: object): Line => ({
      kind: 'change',
      subscriber: 'f',
      raw: JSON.stringify({ cursor: 'c', ...members }),
    });
    const listed = (members: object = {}): Line => ({
      kind: 'listed',
      subscriber: 'f',
      raw: JSON.stringify({ ...state, ...members }),
    });
    const running = { status: 'RUNNING', headEventId: '2' };
    const hasLeft: Line = { kind: 'left', subscriber: 'f' };
    const ofAnother = row({ owner: 'p' });

    it.each<[string, Line[]]>([
      ['got the end', [feed(), told()]],
      ['got the end twice, over two connections', [feed(), told(running), told(), feed(), told()]],
      ['has it from its list', [feed(), listed()]],
      ['left before the end', [feed(), told(running), hasLeft]],
      ['left before the task was there', [feed(), hasLeft]],
      ['has another owner', [feed({ owner: 'p' })]],
      ['has another tenant', [feed({ owner: 'o', tenant: 'acme' })]],
      ['has the tenant', [feed({ tenant: '' }), told()]],
      ['has all', [feed({ all: true }), told()]],
      ['has another type', [feed({ owner: 'o', taskType: 'other' })]],
      [
        'learned that the task left its filter',
        [feed({ owner: 'o', status: 'RUNNING' }), told(running), change({ taskId: 't', left: true })],
      ],
      ['never had what does not match', [feed({ owner: 'o', suspended: true })]],
      ['got a removal', [feed(), told(), change({ taskId: 'gone', removed: true })]],
    ])('and lets one pass that %s', async (_what, lines) => {
      expect(await verdict([...lines, ...stored()])).toEqual({ code: 0, broken: {} });
    });

    it.each<[string, object, Line[]]>([
      ['a task that never came', { lost: 1 }, [feed(), ...stored()]],
      ['a task that never came to the feed of a tenant', { lost: 1 }, [feed({ tenant: '' }), ...stored()]],
      ['a task that never came to the feed of all', { lost: 1 }, [feed({ all: true }), ...stored()]],
      ['an end that did not come', { stale: 1 }, [feed(), told(running), ...stored()]],
      ['an end that did not come behind the list', { stale: 1 }, [feed(), listed(running), ...stored()]],
      ['another attempt that did not come', { stale: 1 }, [feed(), told(), ...stored(LOG, row({ attempt: 2 }))]],
      [
        'a request to cancel that did not come',
        { stale: 1 },
        [feed(), told(), ...stored(LOG, row({ cancellationRequested: true }))],
      ],
      [
        'a question that was answered',
        { stale: 1 },
        [feed(), told({ openSuspension: { suspendId: 'q' } }), ...stored()],
      ],
      ['an earlier state behind a later one', { stale: 2 }, [feed(), told(), told(running), ...stored()]],
      ['a removal that did not come', { stale: 1 }, [feed(), told(), told({ taskId: 'gone' }), ...stored()]],
      ['a removal of what is there', { stale: 1 }, [feed(), change({ taskId: 't', removed: true }), ...stored()]],
      [
        'a task behind its removal',
        { stale: 1 },
        [feed(), change({ taskId: 't', removed: true }), told(), ...stored()],
      ],
      [
        'a task that left the filter in silence',
        { stale: 1 },
        [feed({ owner: 'o', status: 'RUNNING' }), told(running), ...stored()],
      ],
      ['`left` for what matches', { stale: 1 }, [feed(), change({ taskId: 't', left: true }), ...stored()]],
      ['a task of another owner', { foreign: 1 }, [feed(), told(), ...stored(LOG, ofAnother)]],
      [
        'a task of another owner, also to one that left',
        { foreign: 1 },
        [feed(), told(), hasLeft, ...stored(LOG, ofAnother)],
      ],
      ['a task of another tenant', { foreign: 1 }, [feed({ tenant: 'acme' }), told(), ...stored()]],
      ['a task of another type', { foreign: 1 }, [feed({ owner: 'o', taskType: 'other' }), told(), ...stored()]],
      [
        '`left` for a task of another owner',
        { foreign: 1 },
        [feed(), change({ taskId: 't', left: true }), ...stored(LOG, ofAnother)],
      ],
      [
        'a state that came before its commit',
        { mismatches: 1 },
        [
          feed(),
          told(),
          hasLeft,
          ...stored([e1, e2].map(String), row({ status: 'RUNNING', headEventId: '2', leased: true })),
        ],
      ],
      ['an end that is not in the log', { mismatches: 1 }, [feed(), told({ headEventId: '3' }), hasLeft, ...stored()]],
      ['what is no change', { mismatches: 1 }, [feed(), told(), change({}), ...stored()]],
    ])('and catches %s', async (_what, broken, lines) => {
      expect(await verdict(lines)).toEqual({ code: 1, broken });
    });

    it.each([
      ['a change without a feed', [told()], 'has not begun'],
      ['a list without a feed', [listed()], 'has not begun'],
      ['a feed of nobody', [feed({})], 'has no owner, tenant or all'],
      ['a feed of two scopes', [feed(), feed({ owner: 'p' })], 'follows two scopes'],
    ])('and judges nothing on %s', async (_what, lines, message) => {
      expect(await check([...lines, ...stored()])).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
    });
  });

  describe('reads snapshots with output', () => {
    const put = (id: number, data: string, op = 'append') =>
      raw(id, 'TASK_OUTPUT', { channel: 'text', op, data, attempt: 1 });
    const log = [
      raw(1, 'TASK_STARTED'),
      put(2, 'one '),
      step(3, 'a'),
      put(4, 'void '),
      raw(5, 'TASK_RETRYING', { attempt: 2, reason: 'released', supersedesAfterEventId: '3' }),
      put(6, 'two '),
      put(7, 'three'),
      raw(8, 'TASK_COMPLETED', { result: 1 }),
    ];
    const ended8 = row({ headEventId: '8' });
    const snapshot = (
      headEventId: string,
      data: string,
      settled: string,
      more: object = {},
      status = 'RUNNING',
    ): Line => {
      const output = { text: { data, settled, truncated: false, ...more } };
      const members = { taskId: 't', status, headEventId, settledEventId: '3', outputAfterEventId: '0', output };
      return { kind: 'snapshot', subscriber: 's', raw: JSON.stringify(members) };
    };
    const tail = (from: number) => [connected(String(from)), ...events(...log.slice(from)), ended];

    it.each<[string, Line[]]>([
      ['in the middle', [snapshot('4', 'one void ', 'one '), ...tail(4)]],
      ['behind a retry', [snapshot('6', 'one two ', 'one '), ...tail(6)]],
      ['at the end', [snapshot('8', 'one two three', 'one ', {}, 'COMPLETED'), connected('8'), ended]],
      ['with the end of a text', [snapshot('7', 'three', 'e ', { truncated: true }), ...tail(7)]],
      [
        'again, beyond what it had',
        [connected(), ...events(...log.slice(0, 2)), snapshot('6', 'one two ', 'one '), ...tail(6)],
      ],
    ])('and lets one pass that is right %s', async (_what, lines) => {
      expect(await verdict([...lines, ...stored(log, ended8)])).toEqual({ code: 0, broken: {} });
    });

    it.each<[string, object, Line[]]>([
      ['a text that lacks output', { snapshots: 1 }, [snapshot('7', 'one three', 'one '), ...tail(7)]],
      ['a text that has what is void', { snapshots: 1 }, [snapshot('6', 'one void two ', 'one '), ...tail(6)]],
      ['a text of a later head', { snapshots: 1 }, [snapshot('6', 'one two three', 'one '), ...tail(6)]],
      ['another settled text', { snapshots: 1 }, [snapshot('6', 'one two ', ''), ...tail(6)]],
      ['a text that is not the end', { snapshots: 1 }, [snapshot('7', 'two', '', { truncated: true }), ...tail(7)]],
      [
        'an end that came too early',
        { snapshots: 1 },
        [snapshot('7', 'one two three', 'one ', {}, 'COMPLETED'), ...tail(7)],
      ],
      ['a head that is not stored', { snapshots: 1 }, [snapshot('9', 'one two three', 'one '), connected('9'), left]],
      ['an event between the snapshot and its tail', { holes: 1 }, [snapshot('5', 'one ', 'one '), ...tail(6)]],
      [
        'an event that the snapshot had',
        { duplicates: 1 },
        [snapshot('7', 'one two three', 'one '), connected('7'), ...events(log[6], log[7]), ended],
      ],
    ])('and catches %s', async (_what, broken, lines) => {
      expect(await verdict([...lines, ...stored(log, ended8)])).toEqual({ code: 1, broken });
    });

    it('and catches a boundary below which a later event voids', async () => {
      const settled = snapshot('4', 'one void ', 'one void ');
      const wrong = { ...settled, raw: String(settled['raw']).replace('"settledEventId":"3"', '"settledEventId":"4"') };
      expect(await verdict([wrong, ...tail(4), ...stored(log, ended8)])).toEqual({ code: 1, broken: { snapshots: 1 } });
    });

    it('and judges nothing on one without output', async () => {
      const lines = [{ kind: 'snapshot', subscriber: 's', raw: '{"taskId":"t","headEventId":"4"}' }, ...stored()];
      expect(await check(lines)).toMatchObject({ code: 2, stderr: expect.stringContaining('no snapshot with output') });
    });
  });

  it.each([
    ['that waits to be claimed', { status: 'ACCEPTED', waiting: true }],
    ['that is leased to somebody alive', { status: 'RUNNING', leased: true }],
    ['that is suspended', { status: 'RUNNING', suspended: true }],
    ['that an engine says it runs', { status: 'RUNNING', delegated: true }],
    ['that a policy holds', { status: 'ACCEPTED', held: 'type:report' }],
  ])('finds no limbo in a task %s', async (_what, task) => {
    expect(await verdict(stored([], row({ headEventId: '0', ...task })))).toEqual({ code: 0, broken: {} });
  });

  it('says where it is, ten times at the most', async () => {
    const again = Array.from({ length: 40 }, () => events(e2)).flat();
    const { code, stdout } = await check([connected(), ...events(...LOG), ...again, ended, ...stored()]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^! duplicates +40 /m);
    expect(stdout.match(/subscriber s of task t: event 2 again/g)).toHaveLength(10);
    expect(stdout).toContain('PROMISES WERE BROKEN');
  });

  it.each([
    ['a line that is no JSON', ['nonsense'], 'line 1: no JSON object'],
    ['an unknown kind', [created, { kind: 'receive' }], 'line 2: unknown kind "receive"'],
    ['an event without a connection', [...events(e1)], 'has not connected'],
    ['an event after the client had left', [connected(), left, ...events(e1)], 'an event without a connection'],
    ['a cursor that is no event id', [connected('x')], 'no event id'],
    ['a subscriber of two tasks', [connected(), { ...connected(), taskId: 'u' }], 'follows two tasks'],
    ['no line of what is stored', [created, connected(), ...events(e1)], 'nothing says what is stored'],
  ])('judges nothing and exits with 2 on %s', async (_what, lines, message) => {
    expect(await check(lines)).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(message) });
  });

  it('ends a line at a line feed alone: a text may have the line ends of Unicode', async () => {
    const line = JSON.stringify({ kind: 'created', taskId: 'a', note: 'one\u2028two\u0085three\u2029' });
    const { code, stderr } = await check([line, 'nonsense']);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('line 2: no JSON object: nonsense') });
  });

  it('says with --help how it is called', async () => {
    const { stdout } = await check([], '--help');
    expect(stdout).toMatch(/^Usage: check\.mjs \[history\.jsonl \.\.\.\]/);
    for (const option of ['--database-url', '--json', '--help']) expect(stdout).toContain(option);
  });

  it('exits with 2 on a file that is not there, and on an option that it does not know', async () => {
    expect(await check([], '/nowhere.jsonl')).toMatchObject({ code: 2, stderr: expect.stringContaining('ENOENT') });
    expect(await check([], '--database')).toMatchObject({ code: 2 });
  });

  it('judges what clients of a real service saw, with what is in its database', async () => {
    const [database, directory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
    const service = await startService({ DATABASE_URL: database.appUrl });
    const client = newPrincipal(service.url);
    const lines: Line[] = [];
    const create = async (taskType: string, input: object = {}) => {
      const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType, input: { ...input } })).body;
      lines.push({ kind: 'created', taskId });
      return taskId;
    };
    const write = (subscriber: string, taskId: string, cursor: string | null, seen: readonly string[], end: string) => {
      lines.push({ kind: 'connected', subscriber, taskId, cursor });
      lines.push(...seen.map((envelope) => ({ kind: 'event', subscriber, raw: envelope })), { kind: end, subscriber });
    };
    const tasks = await Promise.all([create('demo.burst', { events: 120 }), create('demo.stream', { intervalMs: 60 })]);
    await create('demo.approval');
    const rawOf = ({ events: seen }: Reader) => seen.map((event) => event.raw);
    for (const taskId of tasks) {
      for (const [name, follow] of Object.entries(transports)) {
        const first = follow(service.url, taskId, null, client.headers);
        await first.waitFor(({ events: seen }) => seen.length >= 7);
        first.close();
        write(name + taskId, taskId, null, rawOf(first), 'disconnected');
        const cursor = first.events.at(-1)?.eventId ?? '';
        const rest = follow(service.url, taskId, cursor, client.headers);
        await rest.end();
        write(name + taskId, taskId, cursor, rawOf(rest), 'ended');
      }
    }
    const connection = await MultiplexClient.open(service.url, client.headers);
    for (const taskId of tasks) connection.subscribe(taskId);
    await connection.until(() => tasks.every((taskId) => connection.ended(taskId)));
    for (const taskId of tasks) write(`many-${taskId}`, taskId, null, connection.envelopes(taskId), 'ended');
    connection.leave();

    const file = join(directory, 'history.jsonl');
    await writeFile(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const good = await check([], file, '--database-url', database.appUrl);
    expect(good).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^ {2}acknowledged +3 /m) });
    const forged = lines.map((line) => JSON.stringify(line).replace('lazy', 'busy'));
    const { code, stdout } = await check(forged, '--database-url', database.appUrl);
    expect({ code, stdout }).toMatchObject({ code: 1, stdout: expect.stringMatching(/^! mismatches +\d+ /m) });
    await service.stop();
    await database.drop();
  }, 60_000);

  it('reads from a database who holds a task, and whether its engine has lately said that it runs', async () => {
    const database = await createTestDatabase();
    const superuser = new pg.Client(database.superuserUrl);
    await superuser.connect();
    await superuser.query(`
      INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, correlation_id,
          executor, engine_token, hold_key)
        VALUES (gen_random_uuid(), '', 'o', 'held', 'f', 't', gen_random_uuid(), 'lease', NULL, 'type:t'),
          (gen_random_uuid(), '', 'o', 'delegated', 'f', 't', gen_random_uuid(), 'temporal', 'token', NULL);
      INSERT INTO taskbridge.proj_engine_runs (task_id, executor, seen_at)
        SELECT task_id, executor, now() - interval '110 seconds' FROM taskbridge.proj_tasks WHERE executor = 'temporal'`);
    expect(await check([], '--database-url', database.appUrl)).toMatchObject({ code: 0 });
    await superuser.query(`UPDATE taskbridge.proj_engine_runs SET seen_at = now() - interval '3 minutes'`);
    const { code, stdout } = await check([], '--database-url', database.appUrl);
    expect({ code, stdout }).toEqual({ code: 1, stdout: expect.stringMatching(/^! limbo +1 /m) });
    await superuser.end();
    await database.drop();
  });
});
