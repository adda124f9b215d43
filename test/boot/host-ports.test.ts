import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Answer, Client, type Created, expectError, uniqueId } from '../support/client.js';
import { connected } from '../support/fold.js';
import { followSse, followWebSocket } from '../support/follow.js';
import { field, file, formOf } from '../support/form.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, runToExit, type Service, startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';

const HOST_MODULE = fileURLToPath(new URL('../support/faulty-host.js', import.meta.url));
/** The time limit of requests that do not use the faulty port. It is far below the ten seconds of a port. */
const UNHURT_MS = 5_000;
const PATIENCE_MS = 10_000;

type Problem = 'threw' | 'timeout' | 'nonsense';

let database: TestDatabase;
let directory: string;
let service: Service;
let control: string;
/** What a start says whose host module never answers. It takes half a minute, which passes beside everything else. */
let neverMade: Promise<string>;

beforeAll(async () => {
  [database, directory] = await Promise.all([createTestDatabase(), temporaryDirectory()]);
  const env = { DATABASE_URL: database.appUrl, DATA_DIR: join(directory, 'attachments'), HOST_MODULE, ...WITH_WORKERS };
  service = await startService(env, { lifetime: 'file' });
  const port = /"control":(\d+)/.exec(service.stdout())?.[1];
  control = `http://127.0.0.1:${port}`;
  const source = hosting('OwnershipPolicy', 'useFactory: () => new Promise(() => setInterval(() => {}, 1000))');
  neverMade = refusal('never', source);
  neverMade.catch(() => undefined);
}, 60_000);

afterAll(async () => {
  await service.stop();
  expect(service.stderr()).toBe('');
  await database.drop();
});

async function refusal(name: string, source: string): Promise<string> {
  const path = join(directory, `${name}.mjs`);
  await writeFile(path, source);
  const run = await runToExit({ DATABASE_URL: database.appUrl, DATA_DIR: directory, HOST_MODULE: path }, 60_000);
  expect([run.code, run.listened]).toEqual([1, false]);
  const lines = run.stderr.trim().split('\n');
  expect(lines).toHaveLength(1);
  return lines[0] ?? '';
}

const hosting = (port: string, provider: string) =>
  `import { ${port} } from 'taskbridge';
  export default { module: class Host {}, providers: [{ provide: ${port}, ${provider} }] };`;

async function set(faults: Readonly<Record<string, string>>): Promise<void> {
  await fetch(control, { method: 'POST', body: JSON.stringify(faults) });
}

const as = (name: string) => new Client(service.url, name);
const createBody = (taskType = 'demo.echo') => ({ clientRequestId: uniqueId(), taskType });

async function created(client: Client, taskType?: string): Promise<string> {
  const answer = await client.create(createBody(taskType));
  expect(answer.status).toBe(201);
  return answer.body.taskId;
}

async function upload(client: Client, ...files: readonly string[]): Promise<Answer<Created>> {
  const parts = files.map((text, n) => file(`${n}.txt`, text));
  const form = formOf([field('clientRequestId', uniqueId()), field('taskType', 'demo.echo'), ...parts]);
  return client.request('POST', '/api/v1/tasks', form);
}

/** A task of this client with a file: the address of the file. */
async function uploaded(client: Client): Promise<string> {
  const { body } = await upload(client, 'the bytes');
  const { attachments } = (await client.snapshot(body.taskId)).body as unknown as {
    attachments: { attachmentId: string }[];
  };
  return `/api/v1/tasks/${body.taskId}/attachments/${attachments[0]?.attachmentId}`;
}

async function timed<T>(what: string, work: Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await work;
  expect([what, performance.now() - startedAt < UNHURT_MS]).toEqual([what, true]);
  return result;
}

/** The shortest of the ways: a commit, its events, and a probe. */
async function oneIsUnhurt(): Promise<void> {
  const other = as(uniqueId('other'));
  const taskId = await timed('create', created(other));
  const ended = await timed('follow', followSse(service.url, taskId, null, other.headers).end());
  expect(ended.kind).toBe('end');
  // Now there is something to replay.
  await timed('follow', followSse(service.url, taskId, null, other.headers).end());
  expect((await timed('/health', fetch(`${service.url}/health`))).status).toBe(200);
}

/** What everybody else does meanwhile: all of it works, and at once. */
async function othersAreUnhurt({ readiness = true } = {}): Promise<void> {
  const other = as(uniqueId('other'));
  const taskId = await timed('create', created(other));
  const repeated = createBody();
  expect((await timed('create', other.create(repeated))).status).toBe(201);
  expect((await timed('repeat', other.create(repeated))).status).toBe(200);
  const [sse, socket] = await timed(
    'follow',
    Promise.all([followSse, followWebSocket].map((follow) => follow(service.url, taskId, null, other.headers).end())),
  );
  expect(sse?.kind).toBe('end');
  expect(socket?.code).toBe(1000);
  expect((await timed('read', other.snapshot(taskId))).body.status).toBe('COMPLETED');
  expect((await timed('page', other.events(taskId))).body.terminal).toBe(true);
  expect((await timed('list', other.list())).body.items.length).toBe(2);
  const sleeping = await timed('create', created(other, 'nobody.takes.it'));
  expect((await timed('cancel', other.cancel(sleeping))).status).toBe(202);
  for (const path of ['/health', '/ready', '/metrics']) {
    const { status } = await timed(path, fetch(service.url + path));
    expect([path, status]).toEqual([path, path === '/ready' && !readiness ? 503 : 200]);
  }
}

async function failures(port: string, method: string, problem: Problem): Promise<number> {
  return (await Metrics.scrape(service.url)).find('host_port_failures_total', { port, method, problem }) ?? 0;
}

/** The log names the port and what it did, and the metric counts it. */
async function isReported(port: string, method: string, problem: Problem, before: number): Promise<void> {
  await eventually(`the metric counts ${port}.${method}`, async () => (await failures(port, method, problem)) > before);
  await eventually(`the log names ${port}.${method}, which ${problem}`, () =>
    service
      .stdout()
      .split('\n')
      .filter((text) => text.includes('"msg":"host_port.failed"') && text.endsWith('}'))
      .map((text) => JSON.parse(text) as Readonly<Record<string, unknown>>)
      .some((fields) => fields['port'] === port && fields['method'] === method && fields['problem'] === problem),
  );
}

const THROWS = [
  ...['throws', 'throws nothing', 'throws a trap', 'throws what is revoked', 'refuses oddly'],
  ...['rejects', 'rejects with text'],
];
const LEAVES = ['leaves a rejection', 'leaves a timer'];
const NONSENSE = ['undefined', 'null', 'text', 'a huge text', 'number', 'object', 'array', 'trap', 'odd then'];
const CONTEXTS = [
  'a context without a subject',
  'a context with text for scopes',
  'a context with numbers for scopes',
  'a context with an object for tenant',
  'a context with a getter that throws',
];
const ALLOWANCES = ['half a file', 'no number of bytes', 'text for bytes', 'fewer bytes than none'];
const STREAMS = ['a stream of objects', 'undefined', 'null', 'number', 'object', 'trap'];
const READINESS = ['a word for ready', 'a part that is text', 'a part with a line end in its name'];

interface Question {
  readonly port: string;
  readonly method: string;
  /** What the victim needs first, before anything is at fault. */
  readonly prepare?: () => Promise<string>;
  /** The request that asks the port. */
  readonly use: (prepared: string) => Promise<Answer<unknown>>;
  readonly nonsense: readonly string[];
  /** What the victim is answered to nonsense. Defaults to 503. */
  readonly toNonsense?: readonly [number, string];
}

const victim = (method: string) => as(`victim.${method}`);
const form = (method: string) => upload(victim(method));

const QUESTIONS: readonly Question[] = [
  {
    port: 'AuthContextResolver',
    method: 'resolve',
    use: () => victim('resolve').list(),
    nonsense: [...NONSENSE, ...CONTEXTS],
  },
  {
    port: 'OwnershipPolicy',
    method: 'mayCreate',
    use: () => victim('mayCreate').create(createBody()),
    nonsense: NONSENSE,
    toNonsense: [403, 'TASK_OWNERSHIP_ERROR'],
  },
  {
    port: 'OwnershipPolicy',
    method: 'mayRead',
    prepare: () => created(victim('mayRead')),
    use: (taskId) => victim('mayRead').snapshot(taskId),
    nonsense: NONSENSE,
    toNonsense: [404, 'TASK_NOT_FOUND'],
  },
  {
    port: 'OwnershipPolicy',
    method: 'mayControl',
    prepare: () => created(victim('mayControl'), 'nobody.takes.it'),
    // There are a few more cancels than connections.
    use: async (taskId) => {
      const cancels = Array.from({ length: 24 }, () => victim('mayControl').cancel(taskId));
      const action = { clientActionId: uniqueId(), suspendId: 's', actionType: 'a' };
      const [answer, ...rest] = await Promise.all([...cancels, victim('mayControl').act(taskId, action)]);
      expect(new Set(rest.slice(0, -1).map(({ status }) => status))).toEqual(new Set([answer?.status]));
      return answer as Answer<unknown>;
    },
    nonsense: NONSENSE,
    toNonsense: [404, 'TASK_NOT_FOUND'],
  },
  {
    port: 'ActionValidationPolicy',
    method: 'validate',
    prepare: async () => {
      const taskId = await created(victim('validate'), 'demo.approval');
      await eventually('it asks', async () => (await victim('validate').snapshot(taskId)).body.openSuspension);
      return taskId;
    },
    use: (taskId) =>
      victim('validate').act(taskId, { clientActionId: uniqueId(), suspendId: '1', actionType: 'approve' }),
    // It answers nothing, so that no answer is nonsense.
    nonsense: [],
  },
  { port: 'UploadPolicy', method: 'admit', use: () => form('admit'), nonsense: [...NONSENSE, ...ALLOWANCES] },
  // It answers nothing, so that no answer is nonsense.
  { port: 'UploadPolicy', method: 'check', use: () => form('check'), nonsense: [] },
  {
    port: 'AttachmentStore',
    method: 'put',
    use: () => upload(victim('put'), 'some', 'bytes'),
    nonsense: ['a listener that throws'],
  },
  {
    port: 'AttachmentStore',
    method: 'open',
    prepare: () => uploaded(victim('open')),
    use: (path) => victim('open').request('GET', path),
    nonsense: STREAMS,
  },
];

/** The answer that `use` got, and the port of it in the log. */
async function costsItsOwnRequest(question: Question, fault: string, problem: Problem): Promise<void> {
  const { port, method, prepare, use, toNonsense } = question;
  const prepared = (await prepare?.()) ?? '';
  const before = await failures(port, method, problem);
  await set({ [`${port}.${method}`]: fault });
  const answer = await use(prepared);
  const [status, code] = (problem === 'nonsense' && toNonsense) || ([503, 'SERVICE_UNAVAILABLE'] as const);
  const { message } = expectError(answer, status, code);
  // Only the log names the failed code and its words.
  expect(message).not.toMatch(/host|Policy|Resolver|Store/);
  if (status === 503) expect(answer.headers.get('retry-after')).toBe('5');
  await isReported(port, method, problem, before);
  await set({});
}

describe.each(QUESTIONS.map((question) => [`${question.port}.${question.method}`, question] as const))(
  '%s',
  (name, question) => {
    it.each(THROWS)('that %s costs its own request', async (fault) => {
      await costsItsOwnRequest(question, fault, 'threw');
    });

    if (question.nonsense.length > 0) {
      it.each(question.nonsense)('that answers %s costs its own request', async (fault) => {
        // What looks like a rejection counts as one.
        const isFailure = ['odd then', 'trap', 'a listener that throws'].includes(fault);
        await costsItsOwnRequest(question, fault, isFailure ? 'threw' : 'nonsense');
      });
    }

    it.each(LEAVES)('that %s does not end the process', async (fault) => {
      const { port, method, prepare, use } = question;
      const prepared = (await prepare?.()) ?? '';
      const before = await failures(port, method, 'threw');
      await set({ [name]: fault });
      expect((await use(prepared)).status).toBeLessThan(300);
      await isReported(port, method, 'threw', before);
      await set({});
    });

    it('hurts nobody else while it fails', async () => {
      await set({ [name]: 'throws' });
      await othersAreUnhurt();
      if (question.port !== 'AttachmentStore') expect((await upload(as(uniqueId('other')), 'bytes')).status).toBe(201);
      await set({});
    });
  },
);

describe('A download whose store', () => {
  it.each([
    ['fails before the first byte', 'a stream that fails'],
    ['gives what are no bytes', 'a stream of objects'],
  ])('%s is refused, and the port is named', async (_what, fault) => {
    const path = await uploaded(victim('open'));
    const before =
      (await failures('AttachmentStore', 'open', 'threw')) + (await failures('AttachmentStore', 'open', 'nonsense'));
    await set({ 'AttachmentStore.open': fault });
    expectError(await victim('open').request('GET', path), 503, 'SERVICE_UNAVAILABLE');
    const after =
      (await failures('AttachmentStore', 'open', 'threw')) + (await failures('AttachmentStore', 'open', 'nonsense'));
    expect(after).toBe(before + 1);
    await set({});
  });

  // On a kept connection, surplus bytes would become part of the next answer, and missing ones would be taken from it.
  it.each(['a stream that is too short', 'a stream that is too long'])('gives %s is cut off', async (fault) => {
    const path = await uploaded(victim('open'));
    await set({ 'AttachmentStore.open': fault });
    await expect(victim('open').request('GET', path)).rejects.toThrow();
    await set({});
    expect((await victim('open').request('GET', path)).text).toBe('the bytes');
    await othersAreUnhurt();
  });
});

describe.each([
  ['MetricsSink', ['increment', 'adjust', 'set', 'observe']],
  ['TransportDiagnosticsSink', ['replayStarted', 'delivered', 'disconnected']],
  // Followers hear of what it loses within two seconds.
  ['LiveLog', ['publish']],
] as const)('A %s', (port, methods) => {
  const faultsOf = (fault: string) => Object.fromEntries(methods.map((method) => [`${port}.${method}`, fault]));

  it.each([...THROWS, ...LEAVES, 'odd then', 'trap'])('that %s costs a line and nothing else', async (fault) => {
    const before = await Promise.all(methods.map((method) => failures(port, method, 'threw')));
    await set(faultsOf(fault));
    await oneIsUnhurt();
    // This request sets a gauge.
    await fetch(`${service.url}/ready`);
    await Promise.all(methods.map((method, i) => isReported(port, method, 'threw', before[i] ?? 0)));
    await set({});
  });

  it('that answers nonsense costs nothing', async () => {
    for (const fault of ['null', 'a huge text', 'array']) {
      await set(faultsOf(fault));
      await oneIsUnhurt();
    }
    await set({});
  });

  it('writes one line a minute, however often it fails', async () => {
    const lines = () =>
      service
        .stdout()
        .split('\n')
        .filter((text) => text.includes('"msg":"host_port.failed"') && text.includes(`"${port}"`));
    await set(faultsOf('throws'));
    await othersAreUnhurt();
    await set({});
    expect(lines().length).toBeLessThanOrEqual(methods.length * 2);
  });
});

it('A LiveLog that gives its follower garbage is reported, and harms no stream', async () => {
  const before = await failures('LiveLog', 'follow', 'nonsense');
  await set({ 'LiveLog.publish': 'garbage for the follower' });
  await othersAreUnhurt();
  await isReported('LiveLog', 'follow', 'nonsense', before);
  await set({});
});

describe('A ReadinessProbe', () => {
  it.each([...THROWS, ...NONSENSE, ...READINESS])(
    'with the fault “%s” is not ready, and everything else works',
    async (fault) => {
      const problem = THROWS.includes(fault) || ['trap', 'odd then'].includes(fault) ? 'threw' : 'nonsense';
      const before = await failures('ReadinessProbe', 'checkReadiness', problem);
      await set({ 'ReadinessProbe.checkReadiness': fault });
      const ready = await fetch(`${service.url}/ready`);
      expect([ready.status, await ready.json()]).toEqual([503, { status: 'not_ready', details: {} }]);
      expect((await fetch(`${service.url}/health`)).status).toBe(200);
      await isReported('ReadinessProbe', 'checkReadiness', problem, before);
      await set({});
    },
  );
});

describe('A handler', () => {
  it.each([...THROWS, 'trap', 'odd then'])('that %s fails its own attempt', async (fault) => {
    await set({ 'TASK_HANDLERS.victim.handler': fault });
    const client = as(uniqueId());
    const taskId = await created(client, 'victim.handler');
    await eventually('the attempt is over', async () =>
      (await client.events(taskId)).body.events.some(({ type }) => type === 'TASK_RETRYING'),
    );
    await oneIsUnhurt();
    await set({});
  });

  it.each(LEAVES)('that %s does not end the process', async (fault) => {
    const before = await failures('TASK_HANDLERS', 'victim.handler', 'threw');
    await set({ 'TASK_HANDLERS.victim.handler': fault });
    const client = as(uniqueId());
    const taskId = await created(client, 'victim.handler');
    await eventually('it is completed', async () => (await client.snapshot(taskId)).body.status === 'COMPLETED');
    await isReported('TASK_HANDLERS', 'victim.handler', 'threw', before);
    await set({});
  });
});

describe.each(['takes 10 s', 'never answers'])(
  'When every port %s',
  (fault) => {
    interface Outcome {
      readonly answer: Answer<unknown>;
      readonly ms: number;
    }
    const outcomes = new Map<string, Promise<Outcome>>();
    let socket: ReturnType<typeof followWebSocket>;

    beforeAll(async () => {
      const prepared = await Promise.all(QUESTIONS.map(async ({ prepare }) => (await prepare?.()) ?? ''));
      const taskId = await created(victim('resolve'));
      const sinks = ['increment', 'adjust', 'set', 'observe'].map((method) => `MetricsSink.${method}`);
      const more = ['LiveLog.publish', 'TransportDiagnosticsSink.delivered'];
      const names = [...QUESTIONS.map(({ port, method }) => `${port}.${method}`), ...sinks, ...more];
      await set(Object.fromEntries([...names, 'ReadinessProbe.checkReadiness'].map((name) => [name, fault])));
      for (const [i, { port, method, use }] of QUESTIONS.entries()) {
        const startedAt = performance.now();
        const outcome = use(prepared[i] ?? '').then((answer) => ({ answer, ms: performance.now() - startedAt }));
        outcome.catch(() => undefined);
        outcomes.set(`${port}.${method}`, outcome);
      }
      socket = followWebSocket(service.url, taskId, null, { 'X-Principal-Id': 'victim.resolve' });
    });

    afterAll(() => set({}));

    it('no transaction waits for it', async () => {
      await eventually('the policy is asked', async () => {
        const asked = (await (await fetch(control)).json()) as Record<string, number>;
        return (asked['OwnershipPolicy.mayControl'] ?? 0) > 0;
      });
      const idle = await connected(database.superuserUrl, async (db) => {
        // A transaction that waits for a port would be idle for this second. The patience with a port is ten.
        await delay(1_000);
        const sql = `SELECT query FROM pg_stat_activity WHERE datname = current_database()
          AND state LIKE 'idle in transaction%' AND state_change < now() - interval '500 ms'`;
        return (await db.query(sql)).rows;
      });
      expect(idle).toEqual([]);
    });

    it('everybody else is served meanwhile, and every commit stands', async () => {
      for (let n = 0; n < 2; n += 1) await othersAreUnhurt({ readiness: false });
    });

    it.each(QUESTIONS.map(({ port, method }) => `${port}.${method}`))(
      '%s costs its own request, for its deadline',
      async (name) => {
        await Promise.allSettled(outcomes.values());
        // All have their answers. A scrape would wait a second and a half for a probe that never answers.
        await set({});
        const { answer, ms } = await (outcomes.get(name) as Promise<Outcome>);
        // Ten seconds are as long as a port is given: either may be first.
        if (fault === 'takes 10 s' && answer.status < 300) return expect(ms).toBeGreaterThan(PATIENCE_MS - 100);
        expectError(answer, 503, 'SERVICE_UNAVAILABLE');
        expect(ms).toBeLessThan(PATIENCE_MS + UNHURT_MS);
        const [port = '', method = ''] = name.split('.');
        await isReported(port, method, 'timeout', 0);
      },
    );

    it('a WebSocket whose caller is not known in time is asked to come back', async () => {
      const ended = await socket.end();
      // When the caller is known in the last moment, the stream ends with its task instead.
      if (fault === 'takes 10 s' && ended.code === 1000) return;
      expect(ended).toMatchObject({ kind: 'close', code: 1013, reason: 'SERVICE_UNAVAILABLE' });
    });
  },
  60_000,
);

describe('At the start', () => {
  const PORTS = {
    AuthContextResolver: 'resolve',
    OwnershipPolicy: 'mayCreate mayRead mayControl',
    ActionValidationPolicy: 'validate',
    UploadPolicy: 'admit check',
    AttachmentStore: 'put open remove',
    LiveLog: 'publish follow start stop',
    ReadinessProbe: 'checkReadiness',
    MetricsSink: 'increment adjust set observe',
    TransportDiagnosticsSink: 'replayStarted delivered heartbeatSent disconnected holeHealed slowConsumer',
  };

  const failing = "{ throw new Error('no such\\nthing'); }";
  const extending = (port: keyof typeof PORTS, more: string) => {
    const whole = PORTS[port].split(' ').map((method) => `${method}() {}`);
    return `useClass: class extends ${port} { ${whole.join(' ')} ${more} }`;
  };

  it.concurrent.each(Object.keys(PORTS) as (keyof typeof PORTS)[])(
    'a %s that does not come up is named in one line',
    async (port) => {
      const provider = extending(port, `async onModuleInit() ${failing}`);
      expect(await refusal(`${port}-init`, hosting(port, provider))).toBe(`HOST_MODULE: ${port} cannot start: no such`);
    },
  );

  it.concurrent.each([
    ['throws in its constructor', extending('UploadPolicy', `#a = (() => ${failing})();`), 'cannot be built: no such'],
    ['throws in its factory', `useFactory: async () => ${failing}`, 'cannot be built: no such'],
    [
      'throws in a later hook',
      extending('UploadPolicy', `onApplicationBootstrap() ${failing}`),
      'cannot start: no such',
    ],
    ['is null', 'useValue: null', 'is null'],
    ['lacks a method', 'useValue: { admit() {} }', 'has no method check'],
  ])('a port that %s is named in one line', async (what, provider, line) => {
    const source = hosting('UploadPolicy', provider);
    expect(await refusal(what.replaceAll(' ', '-'), source)).toBe(`HOST_MODULE: UploadPolicy ${line}`);
  });

  it.concurrent('sinks that throw at each call, from the first on, are survived', async () => {
    const throwing = (port: string, methods: string) => {
      const members = methods.split(' ').map((method) => `${method}() { throw new Error('${port}'); }`);
      return `{ provide: ${port}, useValue: { ${members.join(', ')} } }`;
    };
    const sinks = (['MetricsSink', 'TransportDiagnosticsSink'] as const).map((port) => throwing(port, PORTS[port]));
    const path = join(directory, 'sinks.mjs');
    await writeFile(
      path,
      `import { MetricsSink, TransportDiagnosticsSink } from 'taskbridge';
      void Promise.reject(new Error('left behind while it was loaded'));
      export default { module: class Host {}, providers: [${sinks.join(', ')}] };`,
    );
    const other = await startService({ DATABASE_URL: database.appUrl, HOST_MODULE: path });
    const client = new Client(other.url, uniqueId());
    const { status, body } = await client.create(createBody());
    expect(status).toBe(201);
    await followSse(other.url, body.taskId, null, client.headers).end();
    expect((await client.snapshot(body.taskId)).body.status).toBe('COMPLETED');
    for (const call of ['"port":"MetricsSink","method":"set"', '"port":"HOST_MODULE","method":"import"']) {
      expect(other.stdout()).toContain(call);
    }
    await other.stop();
    expect(other.stderr()).toBe('');
  });

  it.concurrent('a LiveLog that cannot start is named', async () => {
    const stubs = 'publish() {} follow() {} async stop() {}';
    const provider = `useClass: class extends LiveLog { ${stubs} async start() { throw new Error('no broker'); } }`;
    expect(await refusal('start', hosting('LiveLog', provider))).toBe('HOST_MODULE: LiveLog.start failed: no broker');
  });

  it.concurrent('a TaskExecutor is refused: it is no port', async () => {
    const internal = pathToFileURL(fileURLToPath(new URL('../../dist/tasks/ports/task-executor.js', import.meta.url)));
    const host = 'export default { module: class Host {}, providers: [{ provide: TaskExecutor, useValue: {} }] };';
    const byItsFile = `import { TaskExecutor } from '${internal.href}'; ${host}`;
    expect(await refusal('executor', byItsFile)).toBe('HOST_MODULE: TaskExecutor is internal and cannot be replaced');
    expect(await refusal('no-executor', `import { TaskExecutor } from 'taskbridge'; ${host}`)).toMatch(
      /^HOST_MODULE: cannot be loaded: .*does not provide an export named 'TaskExecutor'/,
    );
  });

  it.concurrent('a port that is never made is given up', async () => {
    expect(await neverMade).toBe('HOST_MODULE: OwnershipPolicy cannot be built: no answer within 30000 ms');
  }, 60_000);

  it.concurrent.each([
    ['is no object', "'text'", 'TASK_HANDLERS is a value of type string where an object of handlers belongs'],
    ['has what is no handler', "{ 'a.b': 1 }", 'the handler of "a.b" in TASK_HANDLERS is a value of type number'],
  ])('a list of handlers that %s is refused', async (what, value, line) => {
    expect(await refusal(what.replaceAll(' ', '-'), hosting('TASK_HANDLERS', `useValue: ${value}`))).toBe(
      `HOST_MODULE: ${line}`,
    );
  });
});
