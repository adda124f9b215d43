import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { checkInvariants, connected, storedEnvelopes } from '../support/fold.js';
import { textsOf } from '../support/texts.js';
import { followWebSocket, transports } from '../support/follow.js';
import { Metrics } from '../support/metrics.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { pythonPackage, pythonWithClient } from '../support/python.js';
import { startWorker, watched, WORKER_ENV, WORKER_TOKEN, type WorkerProcess } from '../support/worker.js';

// One runner, two holders of its leases: whatever a handler does, the same is stored. The handlers, and the values that cannot come as
// JSON, are in packages/worker/test/handlers.mjs. The runner for Python keeps to the same: packages/python/tests/contract_worker.py.

const HOST_MODULE = new URL('../../packages/worker/test/host-module.mjs', import.meta.url).pathname;
const SETTINGS = { LEASE_SECONDS: '5', CANCEL_GRACE_SECONDS: '20', UPLOAD_MAX_FILE_BYTES: '200000' };

type Payload = Readonly<Record<string, unknown>>;
type Told = readonly [type: string, payload: Payload];

/** A place where handlers run, with the service behind it. */
abstract class Place {
  protected database!: TestDatabase;
  protected service!: Service;
  protected settings: Record<string, string> = {};

  async open(): Promise<void> {
    this.database = await createTestDatabase();
    this.settings = { DATABASE_URL: this.database.appUrl, DATA_DIR: await temporaryDirectory(), ...SETTINGS };
    await this.start();
  }

  abstract start(): Promise<void>;
  /** Whether the language has no such value. */
  lacks(_name: string): boolean {
    return false;
  }
  /** SIGTERM, and the exit it leads to. */
  abstract drain(): Promise<void>;
  /** What was reported of a task, to the operator alone. */
  abstract reported(taskId: string): readonly string[];

  /** What handlers printed. */
  abstract printed(): string;

  /** These and no others. The line of a report is read a moment after the event that followed it is stored. */
  async expectReports(taskId: string, ...kinds: readonly string[]): Promise<void> {
    await eventually('all of it is reported', () => this.reported(taskId).length >= kinds.length);
    expect(this.reported(taskId)).toEqual(kinds);
  }

  async close(): Promise<void> {
    await this.service.stop();
    await this.database.drop();
  }

  client(): Client {
    return newPrincipal(this.service.url);
  }

  check(): Promise<void> {
    return checkInvariants(this.database.superuserUrl);
  }

  metrics(): Promise<Metrics> {
    return Metrics.scrape(this.service.url);
  }

  async stepResults(taskId: string): Promise<readonly string[]> {
    const sql = 'SELECT result::text AS result FROM taskbridge.entries_steps WHERE task_id = $1 ORDER BY event_id';
    return connected(this.database.superuserUrl, async (client) =>
      (await client.query<{ result: string }>(sql, [taskId])).rows.map(({ result }) => result),
    );
  }

  async stored(taskId: string): Promise<readonly Told[]> {
    const envelopes = await storedEnvelopes(this.database.superuserUrl, taskId);
    return envelopes.map((raw) => {
      const { type, payload } = JSON.parse(raw) as { type: string; payload: Payload };
      const { acceptedAt: _at, clientActionId: _id, ...rest } = payload;
      return [type, rest];
    });
  }
}

class Inline extends Place {
  override async start(): Promise<void> {
    this.service = await startService(
      { ...this.settings, HOST_MODULE, EXPOSE_HANDLER_ERRORS: 'false' },
      { lifetime: 'file' },
    );
  }

  override async drain(): Promise<void> {
    await this.service.stop();
  }

  override printed(): string {
    return this.service.stdout();
  }

  override reported(taskId: string): readonly string[] {
    const lines = this.service
      .stdout()
      .split('\n')
      .filter((line) => line.includes(taskId));
    return lines.flatMap((line) => {
      const { msg } = JSON.parse(line) as { msg: string };
      return msg.startsWith('handler.') ? [msg === 'handler.failed' ? 'handler_failed' : 'call_refused'] : [];
    });
  }
}

class Remote extends Place {
  #worker!: WorkerProcess;

  override printed(): string {
    return this.#worker.stdout();
  }

  override async open(): Promise<void> {
    await super.open();
  }

  override async start(): Promise<void> {
    this.service ??= await startService({ ...this.settings, ...WORKER_ENV }, { lifetime: 'file' });
    this.#worker = await this.startWorker();
  }

  protected async startWorker(): Promise<WorkerProcess> {
    return startWorker({ url: this.service.url, concurrency: 50 });
  }

  override async drain(): Promise<void> {
    this.#worker.kill('SIGTERM');
    await this.#worker.exited;
  }

  override async close(): Promise<void> {
    await this.drain();
    await super.close();
  }

  override reported(taskId: string): readonly string[] {
    const lines = this.#worker.stdout().matchAll(/^problem (\w+) (\S+)/gm);
    return [...lines].flatMap(([, kind = '', about]) => (about === taskId ? [kind] : []));
  }
}

const ONLY_JAVASCRIPT: ReadonlySet<string> = new Set([
  'function',
  'symbol',
  'date',
  'map',
  'members without a word',
  'a toJSON that throws',
  'a getter that throws',
  'a proxy that throws',
  'a question that is none',
  'with an unknown member',
  'no options',
]);

class InPython extends Remote {
  override lacks(name: string): boolean {
    return ONLY_JAVASCRIPT.has(name);
  }

  protected override async startWorker(): Promise<WorkerProcess> {
    const WORKER_OPTIONS = JSON.stringify({ url: this.service.url, token: WORKER_TOKEN, concurrency: 50 });
    const program = join(pythonPackage, 'tests/contract_worker.py');
    const env = { PATH: process.env['PATH'], WORKER_OPTIONS };
    return watched(spawn(await pythonWithClient(), [program], { env, stdio: ['ignore', 'pipe', 'pipe'] }));
  }
}

/** What a task came to. */
interface Outcome {
  readonly taskId: string;
  readonly status: string;
  readonly result: unknown;
  readonly attempt: number;
  readonly events: readonly Told[];
  /** By channel, the text that a client has in the end when it obeys. */
  readonly output: Readonly<Record<string, string>>;
}

const STARTED: Told = ['TASK_STARTED', {}];
const failed = (code: string, message: unknown, retryable = false): Told => [
  'TASK_FAILED',
  { code, message, retryable } as Payload,
];
const refused = (why: string) => failed('EVENT_REFUSED', `A call of the handler was refused. ${why}`);
const invalid = (why: string) => refused(`The event is not valid: ${why}.`);
const outputs = ({ events }: Outcome) => events.filter(([type]) => type === 'TASK_OUTPUT');

const TOO_LARGE = 'An event payload may have at most 65536 bytes.';
/** The calls of `both.careless` and its like that are refused, and what clients read of each. */
const REFUSED: Readonly<Record<string, Told>> = {
  'output that is too large': refused(TOO_LARGE),
  'output with U+0000': invalid('data has U+0000'),
  'output with half a character': invalid('data has half a character'),
  'output that is no text': invalid('data must be a string'),
  'output to a channel that is no text': invalid('channel has half a character'),
  'an unknown op': invalid('op must be append or replace'),
  'progress of 200': invalid('progress must be a number from 0 to 100'),
  'progress of NaN': invalid('progress must be a number from 0 to 100'),
  'a stage with U+0000': invalid('stage has U+0000'),
  'a message that is too large': refused(TOO_LARGE),
  'a message with half a character': invalid('message has half a character'),
  'a message of no known level': invalid('level must be info, warning or debug'),
  'a question without actions': invalid('allowedActions must be 1 to 100 strings of 1 to 255 characters'),
  'a question that is none': invalid('question must be an object'),
};

describe.each<[string, Place]>([
  ['inside the service', new Inline()],
  ['in a worker', new Remote()],
  ['in a worker in Python', new InPython()],
])('A handler %s', (_, place) => {
  const known = <Row extends string | readonly [string, ...unknown[]]>(rows: readonly Row[]): readonly Row[] =>
    rows.filter((row) => !place.lacks(typeof row === 'string' ? row : row[0]));

  beforeAll(() => place.open(), 180_000);
  afterEach(() => place.check());
  afterAll(() => place.close());

  async function created(client: Client, taskType: string, input: object): Promise<string> {
    const { status, body } = await client.create({ clientRequestId: uniqueId(), taskType, input: { ...input } });
    expect(status).toBe(201);
    return body.taskId;
  }

  async function outcomeOf(
    taskType: string,
    input: object = {},
    go: (taskId: string, client: Client) => Promise<unknown> = async () => undefined,
  ): Promise<Outcome> {
    const client = place.client();
    const taskId = await created(client, taskType, input);
    await go(taskId, client);
    await followWebSocket(client.url, taskId, null, client.headers).end(30_000);
    return finished(client, taskId);
  }

  async function finished(client: Client, taskId: string): Promise<Outcome> {
    const events = await place.stored(taskId);
    const { status, result, attempt } = (await client.snapshot(taskId)).body;
    const output = textsOf(events.map(([type, payload]) => ({ type, payload })));
    return { taskId, status, result, attempt: Number(attempt), events, output };
  }

  async function answer(client: Client, taskId: string, suspendId: string, actionType: string, payload = {}) {
    await eventually('the question is open', async () => {
      const action = { clientActionId: uniqueId(), suspendId, actionType, payload };
      return (await client.post(`/api/v1/tasks/${taskId}/actions`, action)).status === 202;
    });
  }

  /** The bodies of steps that ran, in their order. */
  const ran = (taskId: string) =>
    [...place.printed().matchAll(/^ran (\S+) (\d+) \d+$/gm)].flatMap(([, of, index]) =>
      of === taskId ? [Number(index)] : [],
    );

  const seen = (taskId: string, type: string, count = 1) =>
    eventually(`${count} ${type}`, async () => {
      const found = (await place.stored(taskId)).filter(([stored]) => stored === type);
      return found.length >= count;
    });

  it('says what it says, in its order', async () => {
    const { events, output } = await outcomeOf('both.everything', { a: [1, { b: null }] });
    const withoutOutput = events.filter(([type]) => type !== 'TASK_OUTPUT');
    expect(withoutOutput.slice(0, 5)).toEqual([
      STARTED,
      ['TASK_PROGRESS', { progress: 10 }],
      ['TASK_PROGRESS', { progress: 20.5, stage: 'reading', message: 'half way' }],
      ['TASK_MESSAGE', { message: 'plain' }],
      ['TASK_MESSAGE', { message: 'a warning', level: 'warning' }],
    ]);
    expect(withoutOutput.slice(5)).toEqual([
      [
        'TASK_COMPLETED',
        {
          result: {
            input: { a: [1, { b: null }] },
            metadata: {},
            taskType: 'both.everything',
            attempt: 1,
            attachments: [],
            refused: [
              'REQUEST_VALIDATION_ERROR',
              'REQUEST_VALIDATION_ERROR',
              'REQUEST_VALIDATION_ERROR',
              'REQUEST_VALIDATION_ERROR',
              'PAYLOAD_TOO_LARGE',
            ],
            known: true,
          },
        },
      ],
    ]);
    expect(output).toEqual({ text: 'instead', log: 'to stderr' });
    expect(events.slice(5, -1).every(([type, { attempt }]) => type === 'TASK_OUTPUT' && attempt === 1)).toBe(true);
  });

  it.each(
    known<[string, unknown]>([
      ['nothing', null],
      ['function', null],
      ['symbol', null],
      ['null', null],
      ['text', 'ä \u2028 🦊'],
      ['numbers', [0, 1e300, 5e-324, 2 ** 60, 0.1, 10, 2 ** 63]],
      ['date', '1970-01-01T00:00:00.000Z'],
      ['map', {}],
      ['members without a word', { c: [null, null] }],
      ['as deep as may be', JSON.parse(`${'{"a":'.repeat(30)}[]${'}'.repeat(30)}`)],
      ['as large as may be', 'x'.repeat(1_048_309 - 2)],
    ]),
  )('that returns a result %s completes its task with it', async (name, result) => {
    const outcome = await outcomeOf('both.result', { name });
    expect(outcome.events).toEqual([STARTED, ['TASK_COMPLETED', { result }]]);
    await place.expectReports(outcome.taskId);
  });

  it.each(
    known<[string, string]>([
      ['U+0000', 'a string in it has U+0000'],
      ['half a character', 'a string in it has half a character'],
      ['half a character in a name', 'the name of a member has half a character'],
      ['U+0000 in a name', 'the name of a member has U+0000'],
      ['constructor', 'the name of a member is constructor'],
      ['__proto__', 'the name of a member is __proto__'],
      ['too deep', 'it is nested deeper than 31'],
      ['deep enough to overflow', 'it is nested deeper than 31'],
      ['NaN', 'a number in it is not finite'],
      ['Infinity', 'a number in it is not finite'],
      ['cycle', 'it contains itself'],
      ['a BigInt beyond doubles', 'a bigint in it is beyond the range of a double'],
      ['a toJSON that throws', 'JSON.stringify fails on it'],
      ['a getter that throws', 'JSON.stringify fails on it'],
      ['a proxy that throws', 'JSON.stringify fails on it'],
    ]),
  )('that returns a result that cannot be stored (%s) fails its task once, and is reported', async (name, why) => {
    const outcome = await outcomeOf('both.result', { name });
    expect(outcome.events).toEqual([STARTED, failed('RESULT_NOT_STORABLE', `The result cannot be stored: ${why}.`)]);
    expect(outcome.attempt).toBe(1);
    await place.expectReports(outcome.taskId, 'call_refused');
  });

  it.each(['one byte more', 'too large', 'too large in bytes'])(
    'that returns a result that is too large (%s) fails its task once',
    async (name) => {
      const { events, attempt } = await outcomeOf('both.result', { name });
      expect(events).toEqual([STARTED, failed('RESULT_TOO_LARGE', 'A result may have at most 1048309 bytes.')]);
      expect(attempt).toBe(1);
    },
  );

  it('attaches files, which its owner downloads and its later runs find', async () => {
    let owner = place.client();
    const outcome = await outcomeOf('both.files', {}, (taskId, client) => {
      owner = client;
      return answer(client, taskId, '1', 'yes');
    });
    expect(outcome).toMatchObject({ status: 'COMPLETED', attempt: 2 });
    const { made, kept, last, texts } = outcome.result as Record<'made' | 'kept' | 'last', Payload> & {
      texts: readonly unknown[];
    };
    const draft = [1, 2, 3].map((n) => `${n},${'x'.repeat(40_000)}\n`).join('');
    expect(kept).toEqual({
      attachmentId: expect.any(String),
      filename: 'draft.csv',
      contentType: 'text/csv',
      sizeBytes: draft.length,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      source: 'worker',
    });
    // What came before the step is that of the first attempt, whatever the later ones would have attached.
    expect(texts).toEqual([
      ['plan.txt', 'worker', 'plan of attempt 1'],
      ['draft.csv', 'worker', draft],
      ['last', 'worker', '\u0001\u0002\u0003'],
    ]);
    expect([made['contentType'], last['contentType']]).toEqual(['text/plain', 'application/octet-stream']);
    const path = `/api/v1/tasks/${outcome.taskId}/attachments/${String(kept['attachmentId'])}`;
    expect((await owner.request('GET', path)).text).toBe(draft);
  });

  it.each<[string, object, unknown]>([
    [
      'as large as may be',
      { name: 'a', length: 200_000 },
      { sizeBytes: 200_000, contentType: 'application/octet-stream' },
    ],
    ['without a type', { name: 'a.txt', length: 3 }, { sizeBytes: 3, contentType: 'text/plain' }],
    ['of no bytes', { name: 'a', length: 0, type: 'text/csv' }, { sizeBytes: 0, contentType: 'text/csv' }],
  ])('attaches a file %s', async (_what, input, result) => {
    expect(await outcomeOf('both.attach', input)).toMatchObject({ status: 'COMPLETED', result });
  });

  it.each<[string, string, object, string]>([
    ['too large', 'both.attach', { name: 'a', length: 200_001 }, 'A file is larger than 200000 bytes'],
    [
      'too large, and does not listen',
      'both.attach-careless',
      { length: 200_001 },
      'A file is larger than 200000 bytes',
    ],
    ['with a path', 'both.attach', { name: '../a', length: 1 }, 'The name of a file must be a plain base name.'],
    [
      'that is no image',
      'both.attach',
      { name: 'a', length: 9, type: 'image/png' },
      'The bytes of a file are not of its declared type.',
    ],
  ])('that attaches a file %s fails its task once, and is reported', async (_what, taskType, input, why) => {
    const { events, attempt, taskId } = await outcomeOf(taskType, input);
    const message = expect.stringContaining(`A file was refused. ${why}`);
    expect([events, attempt]).toEqual([[STARTED, failed('ATTACHMENT_REFUSED', message)], 1]);
    await place.expectReports(taskId, 'call_refused');
  });

  it('with steps finishes each of them once, in order', async () => {
    const { events, output, result } = await outcomeOf('both.steps', { count: 3 });
    const step = (index: number) => ({ index, attempt: 1, isNamed: true });
    expect(result).toEqual([step(0), step(1), step(2)]);
    expect(output).toEqual({ text: 'begin;0;void;1;void;2;void;' });
    expect(events.filter(([type]) => type === 'TASK_STEP').map(([, payload]) => payload)).toEqual(
      [0, 1, 2].map((index) => ({ key: `part#${index}`, state: 'completed', attempt: 1 })),
    );
  });

  it('whose attempt fails behind a step goes on behind it: no body again, no text twice', async () => {
    const { taskId, events, output, result } = await outcomeOf('both.steps', { count: 4, failAfter: 1 });
    expect(ran(taskId)).toEqual([0, 1, 2, 3]);
    const at = (wanted: number) => (result as { index: number; attempt: number }[])[wanted]?.attempt;
    expect([0, 1, 2, 3].map(at)).toEqual([1, 1, 2, 2]);
    expect(output).toEqual({ text: 'begin;0;void;1;void;2;void;3;void;' });
    const said = events.flatMap(([type, { message }]) => (type === 'TASK_MESSAGE' ? [message] : []));
    expect(said).toEqual(['before 0', 'before 1', 'before 2', 'before 3']);
    const retrying = events.find(([type]) => type === 'TASK_RETRYING');
    const boundary = 1 + events.findIndex(([, { key }]) => key === 'part#1');
    expect(retrying?.[1]).toMatchObject({ supersedesAfterEventId: String(boundary) });
  });

  it('whose step is tried again within its attempt leaves the text of the last try', async () => {
    const { output, result, attempt, events } = await outcomeOf('both.step-retries');
    expect({ output, result, attempt }).toEqual({ output: { text: 'once;try 3;' }, result: 3, attempt: 1 });
    const retries = events.flatMap(([type, payload]) => (type === 'TASK_STEP' ? [payload] : []));
    expect(retries).toEqual([
      { key: 'draft', state: 'retrying', attempt: 1, supersedesAfterEventId: '2' },
      { key: 'draft', state: 'retrying', attempt: 1, supersedesAfterEventId: '4' },
      { key: 'draft', state: 'completed', attempt: 1 },
    ]);
  });

  it('whose steps overlap fails its task with STEP_OVERLAP', async () => {
    const { events } = await outcomeOf('both.steps-overlap');
    expect(events.at(-1)).toEqual(
      failed('STEP_OVERLAP', 'Steps overlap: b began while another step was open that puts something out.'),
    );
  });

  it('has results of steps of at most 64 KiB', async () => {
    expect((await outcomeOf('both.step-result', { length: 65_534 })).result).toBe(65_534);
    const { events } = await outcomeOf('both.step-result', { length: 65_535 });
    expect(events).toEqual([
      STARTED,
      refused('The result of a step may have at most 65536 bytes; that of large has more.'),
    ]);
  });

  it('keeps the digits of the result of a step', async () => {
    const { taskId } = await outcomeOf('both.step-digits');
    expect(await place.stepResults(taskId)).toEqual(['[9007199254740993,"ä \\u2028"]']);
  });

  it.each([true, false])('that puts out 2 000 small pieces (awaited: %s) puts out a few events', async (awaits) => {
    const outcome = await outcomeOf('both.tokens', { count: 2_000, text: 'ab ', awaits });
    expect(outcome.output).toEqual({ text: 'ab '.repeat(2_000) });
    expect(outputs(outcome).length).toBeLessThanOrEqual(12);
  });

  it.each([true, false])(
    'that puts out 100 000 tokens (awaited: %s) loses none of them',
    async (awaits) => {
      const outcome = await outcomeOf('both.tokens', { count: 100_000, text: 'abc ', awaits });
      expect(outcome.status).toBe('COMPLETED');
      expect(outcome.output['text'] === 'abc '.repeat(100_000)).toBe(true);
      expect(outputs(outcome).length).toBeLessThanOrEqual(110);
    },
    30_000,
  );

  it.each<[string, readonly unknown[], Readonly<Record<string, string>>]>([
    ['halves of a character', [['hi ~'], ['_ there']], { text: 'hi 🦊 there' }],
    ['a half alone', [['~'], ['_']], { text: '🦊' }],
    [
      'halves, with another channel between',
      [['a ~'], ['b ~', { channel: 'other' }], ['_ fox'], ['_ vixen', { channel: 'other' }]],
      { text: 'a 🦊 fox', other: 'b 🦊 vixen' },
    ],
    ['a half that is replaced', [['a ~'], ['b', { op: 'replace' }]], { text: 'b' }],
    ['a replacement that ends within a character', [['a'], ['b~', { op: 'replace' }], ['_']], { text: 'b🦊' }],
    ['nothing', [['']], { text: '' }],
    [
      'what is larger than what is joined',
      [['x'.repeat(60_000)], ['y'.repeat(60_000)]],
      {
        text: 'x'.repeat(60_000) + 'y'.repeat(60_000),
      },
    ],
  ])('that puts out %s has it stored whole', async (_what, pieces, output) => {
    const outcome = await outcomeOf('both.pieces', { pieces });
    expect(outcome.output).toEqual(output);
    expect(outcome.events.at(-1)).toEqual(['TASK_COMPLETED', { result: null }]);
  });

  it.each<[string, readonly unknown[], Told, Readonly<Record<string, string>>]>([
    ['that ends within a character', [['hi ~']], invalid('data ends within a character'), { text: 'hi ' }],
    [
      'within a character goes on with another',
      [['hi ~'], ['there']],
      invalid('data has half a character'),
      {
        text: 'hi ',
      },
    ],
    ['with a second half first', [['_ there']], invalid('data has half a character'), {}],
  ])('whose output %s fails its task, and is reported', async (_what, pieces, last, output) => {
    const outcome = await outcomeOf('both.pieces', { pieces });
    expect(outcome.events.at(-1)).toEqual(last);
    expect(outcome.output).toEqual(output);
    await eventually('it is reported', () => place.reported(outcome.taskId).includes('call_refused'));
  });

  it('that sends many large messages has them all stored', async () => {
    const { events } = await outcomeOf('both.large-messages', { count: 30, length: 60_000 });
    const messages = events.flatMap(([type, { message }]) => (type === 'TASK_MESSAGE' ? [String(message)] : []));
    expect(messages).toEqual(Array.from({ length: 30 }, (_unused, n) => String(n % 10).repeat(60_000)));
    expect(events.slice(-2)).toEqual([
      ['TASK_PROGRESS', { progress: 100, stage: 's'.repeat(60_000) }],
      ['TASK_COMPLETED', { result: null }],
    ]);
  });

  describe.each(known(Object.entries(REFUSED)))('to which %s is refused', (name, last) => {
    it('fails for good when it does not listen, and is reported with its task', async () => {
      const { taskId, events, attempt } = await outcomeOf('both.careless', { name });
      expect(events).toEqual([STARTED, ['TASK_PROGRESS', { progress: 50 }], last]);
      expect(attempt).toBe(1);
      await place.expectReports(taskId, 'call_refused');
    });

    it('fails for good when it lets that through', async () => {
      const { taskId, events } = await outcomeOf('both.outspoken', { name });
      expect(events).toEqual([STARTED, last]);
      await place.expectReports(taskId, 'call_refused');
    });

    it('goes on when it deals with it', async () => {
      const { taskId, events } = await outcomeOf('both.careful', { name });
      const code =
        last[1]['message'] === refused(TOO_LARGE)[1]['message'] ? 'PAYLOAD_TOO_LARGE' : 'REQUEST_VALIDATION_ERROR';
      expect(events).toEqual([STARTED, ['TASK_COMPLETED', { result: { code } }]]);
      await place.expectReports(taskId);
    });
  });

  it('that says something after its end is reported, once', async () => {
    const { taskId, events } = await outcomeOf('both.late');
    expect(events).toEqual([STARTED, ['TASK_COMPLETED', { result: 'done' }]]);
    await place.expectReports(taskId, 'call_refused');
  });

  it('that throws what lets nobody look at it fails as any other', async () => {
    const { taskId, events } = await outcomeOf('both.revoked');
    expect(events.at(-1)).toEqual(failed('HANDLER_ERROR', 'The handler failed.', true));
    await place.expectReports(taskId, ...Array<string>(3).fill('handler_failed'));
  });

  it('that leaves thousands of refused calls alone is reported once', async () => {
    const { taskId, events } = await outcomeOf('both.careless-often', { count: 5_000 });
    expect(events).toEqual([STARTED, invalid('progress must be a number from 0 to 100')]);
    await place.expectReports(taskId, 'call_refused');
  });

  it('asks, and goes on with the answers', async () => {
    const outcome = await outcomeOf('both.ask', {}, async (taskId, client) => {
      await answer(client, taskId, '1', 'yes', { n: 1 });
      await answer(client, taskId, 'second', 'name', { name: 'Ada' });
    });
    expect(outcome.events).toEqual([
      STARTED,
      ['TASK_OUTPUT', { channel: 'text', op: 'append', data: 'at first;', attempt: 1 }],
      [
        'TASK_SUSPENDED',
        {
          suspendId: '1',
          kind: 'USER_ACTION_REQUIRED',
          schemaVersion: 1,
          reasonCode: 'FIRST',
          allowedActions: ['yes', 'no'],
        },
      ],
      ['TASK_ACTION_ACCEPTED', { suspendId: '1', actionType: 'yes' }],
      ['TASK_RESUMED', { supersedesAfterEventId: '1' }],
      ['TASK_OUTPUT', { channel: 'text', op: 'append', data: 'after yes;', attempt: 1 }],
      [
        'TASK_SUSPENDED',
        {
          suspendId: 'second',
          kind: 'EXTERNAL_CONFIRMATION_PENDING',
          schemaVersion: 3,
          reasonCode: 'SECOND',
          allowedActions: ['name'],
          interaction: { form: ['a', 'b'] },
          uiHints: { wide: true },
        },
      ],
      ['TASK_ACTION_ACCEPTED', { suspendId: 'second', actionType: 'name' }],
      ['TASK_RESUMED', { supersedesAfterEventId: '1' }],
      ['TASK_OUTPUT', { channel: 'text', op: 'append', data: 'after name;', attempt: 1 }],
      ['TASK_COMPLETED', { result: { first: { n: 1 }, second: { name: 'Ada' }, actors: true } }],
    ]);
    expect(outcome.attempt).toBe(1);
  });

  it('streams, asks and goes on, and no transport shows its text twice, nor after a reconnect in between', async () => {
    const client = place.client();
    const taskId = await created(client, 'both.agent', {});
    await seen(taskId, 'TASK_SUSPENDED');
    const before = await Promise.all(
      Object.values(transports).map(async (follow) => {
        const reader = follow(client.url, taskId, null, client.headers);
        await reader.waitFor(({ events }) => events.some(({ raw }) => raw.includes('TASK_SUSPENDED')));
        reader.close();
        return reader.events;
      }),
    );
    await answer(client, taskId, '1', 'yes');
    for (const [index, [name, follow]] of Object.entries(transports).entries()) {
      const had = before[index] ?? [];
      const reader = follow(client.url, taskId, had.at(-1)?.eventId ?? null, client.headers);
      await reader.end(30_000);
      const events = [...had, ...reader.events].map(({ raw }) => JSON.parse(raw) as { type: string; payload: Payload });
      expect({ name, texts: textsOf(events) }).toEqual({
        name,
        texts: { text: 'plan;draft;approved;', log: 'outside;outside;' },
      });
    }
  });

  it('asks also when it swallows what ends its invocation', async () => {
    const { result } = await outcomeOf('both.ask-and-swallow', {}, (taskId, client) =>
      answer(client, taskId, '1', 'yes'),
    );
    expect(result).toEqual({ answered: true });
  });

  it.each<[string, Payload]>([
    [
      'with everything',
      { suspendId: 'k', kind: 'SYSTEM_PAUSED', schemaVersion: 2, uiHints: { a: 1 }, interaction: { b: [null] } },
    ],
    [
      'that expires',
      { suspendId: '1', kind: 'USER_ACTION_REQUIRED', schemaVersion: 1, expiresAt: '2999-01-01T00:00:00.000Z' },
    ],
  ])('asks a question %s', async (name, question) => {
    const client = place.client();
    const taskId = await created(client, 'both.question', { name });
    await seen(taskId, 'TASK_SUSPENDED');
    expect((await place.stored(taskId)).at(-1)).toEqual([
      'TASK_SUSPENDED',
      { reasonCode: 'ASKED', allowedActions: ['yes'], ...question },
    ]);
    await client.cancel(taskId);
  });

  it.each(
    known([
      ['without a reason', 'reasonCode must be 1 to 255 characters'],
      ['with a long reason', 'reasonCode must be 1 to 255 characters'],
      ['with a hundred and one actions', 'allowedActions must be 1 to 100 strings of 1 to 255 characters'],
      ['with an action that is no text', 'allowedActions must be 1 to 100 strings of 1 to 255 characters'],
      ['of an unknown kind', 'kind must be one of USER_ACTION_REQUIRED, EXTERNAL_CONFIRMATION_PENDING, SYSTEM_PAUSED'],
      ['of version 0', 'schemaVersion must be a whole number from 1'],
      ['with a key that is not ASCII', 'key must be 1 to 255 visible ASCII characters'],
      ['that expires at no time', 'expiresAt must be a time from year 1 to 9999'],
      ['that expires after all times', 'expiresAt must be a time from year 1 to 9999'],
      ['with U+0000', 'interaction cannot be stored: a string in it has U+0000'],
      ['with constructor', 'uiHints cannot be stored: the name of a member is constructor'],
      ['too deep', 'interaction cannot be stored: it is nested deeper than 31'],
      ['whose interaction is a list', 'interaction must be an object'],
      ['with a BigInt beyond doubles', 'interaction cannot be stored: a bigint in it is beyond the range of a double'],
      ['with an unknown member', 'question has an unknown member'],
    ]),
  )('that asks a question %s fails its task once', async (name, why) => {
    const { events } = await outcomeOf('both.question', { name });
    expect(events).toEqual([STARTED, invalid(why)]);
  });

  it('that asks a question that is too large fails its task once', async () => {
    const { events } = await outcomeOf('both.question', { name: 'that is too large' });
    expect(events).toEqual([STARTED, refused(TOO_LARGE)]);
  });

  it.each(
    known<[string, string, string, boolean]>([
      ['a message cut at 8190', 'BAD', `${'m'.repeat(8_189)}🦊`, false],
      ['a message cut at 8191', 'BAD', `${'m'.repeat(8_190)}🦊`, false],
      ['a message cut at 8192', 'BAD', 'm'.repeat(8_191), false],
      ['a message cut at 8193', 'BAD', 'm'.repeat(8_192), false],
      ['a message that is not text', 'BAD', 'a\ufffdb \ufffd', false],
      ['a code that is not text', 'B\ufffd\ufffd', 'm', false],
      ['no code', 'HANDLER_ERROR', 'nameless, and final', false],
      ['a code that is a number', '7', 'm', false],
      ['options that are none', 'BAD', 'm', false],
      ['no options', 'BAD', 'm', false],
      ['a code that throws', 'HANDLER_ERROR', 'm', false],
    ]),
  )('that fails with %s fails its task once, in its own words', async (name, code, message, retryable) => {
    const { events } = await outcomeOf('both.failure', { name });
    expect(events).toEqual([STARTED, failed(code, message, retryable)]);
  });

  it.each([
    ['a code cut at 254', `${'C'.repeat(253)}🦊`],
    ['a code cut at 255', 'C'.repeat(254)],
    ['a code cut at 256', 'C'.repeat(255)],
  ])('that fails for now with %s is run again as often as it may be', async (name, code) => {
    const { events } = await outcomeOf('both.failure', { name });
    const again = (attempt: number, boundary: string): Told => [
      'TASK_RETRYING',
      { attempt, reason: code, supersedesAfterEventId: boundary, notBefore: expect.any(String) },
    ];
    expect(events).toEqual([STARTED, again(2, '1'), again(3, '2'), failed(code, 'm', true)]);
  });

  it('tells clients nothing of an error that it did not mean to throw, and is run again', async () => {
    const { taskId, events } = await outcomeOf('both.throw');
    expect(events.map(([type]) => type)).toEqual(['TASK_STARTED', 'TASK_RETRYING', 'TASK_RETRYING', 'TASK_FAILED']);
    expect(events.at(-1)).toEqual(failed('HANDLER_ERROR', 'The handler failed.', true));
    expect(JSON.stringify(events)).not.toContain('secret');
    await place.expectReports(taskId, ...Array<string>(3).fill('handler_failed'));
  });

  it('is cancelled when it obeys', async () => {
    const { events } = await outcomeOf('both.sleep', {}, async (taskId, client) => {
      await seen(taskId, 'TASK_MESSAGE');
      await client.cancel(taskId, { reason: 'enough' });
    });
    expect(events).toEqual([
      STARTED,
      ['TASK_MESSAGE', { message: 'asleep' }],
      ['TASK_CANCELLED', { reason: 'enough' }],
    ]);
  });

  it('completes its task when it is done although it was cancelled', async () => {
    const { events } = await outcomeOf('both.stubborn', { ms: 800 }, async (taskId, client) => {
      await seen(taskId, 'TASK_MESSAGE');
      await client.cancel(taskId);
    });
    expect(events.slice(1)).toEqual([
      ['TASK_MESSAGE', { message: 'working' }],
      ['TASK_COMPLETED', { result: 'done anyway' }],
    ]);
  });

  it('is cancelled when it goes on, and what it says then is refused while it does not listen', async () => {
    const { events } = await outcomeOf('both.talks-on', {}, async (taskId, client) => {
      await seen(taskId, 'TASK_MESSAGE');
      await client.cancel(taskId);
    });
    expect(events.slice(1)).toEqual([
      ['TASK_MESSAGE', { message: 'before' }],
      ['TASK_CANCELLED', { reason: 'cancelled_by_user' }],
    ]);
  });

  it('is handed back by a drain, and run again at once', async () => {
    const client = place.client();
    const taskId = await created(client, 'both.sleep', { ms: 500 });
    await seen(taskId, 'TASK_MESSAGE');
    await place.drain();
    await place.start();
    await seen(taskId, 'TASK_COMPLETED');
    expect((await place.stored(taskId)).slice(2)).toEqual([
      ['TASK_RETRYING', { attempt: 2, reason: 'released', supersedesAfterEventId: '1', notBefore: expect.any(String) }],
      ['TASK_MESSAGE', { message: 'asleep' }],
      ['TASK_COMPLETED', { result: 'slept' }],
    ]);
  });

  it('is given the files of its task', async () => {
    const client = place.client();
    const form = new FormData();
    form.set('clientRequestId', uniqueId());
    form.set('taskType', 'both.read');
    form.append('attachment', new Blob(['Ada'], { type: 'text/plain' }), 'first.txt');
    form.append('attachment', new Blob(['x'.repeat(100_000)]), 'zweite Ä.txt');
    const { taskId } = (await client.request<{ taskId: string }>('POST', '/api/v1/tasks', { body: form })).body;
    await followWebSocket(client.url, taskId, null, client.headers).end(20_000);
    const files = [
      { filename: 'first.txt', sizeBytes: 3, text: 'Ada' },
      { filename: 'zweite Ä.txt', sizeBytes: 100_000, text: 'x'.repeat(100_000) },
    ];
    const described = files.map((file) => ({ ...file, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) }));
    expect((await client.snapshot(taskId)).body.result).toEqual(described);
  });

  it('goes on with the trace of the request', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const client = place.client();
    const body = { clientRequestId: uniqueId(), taskType: 'both.trace' };
    const { taskId } = (await client.create(body, { traceparent })).body;
    await followWebSocket(client.url, taskId, null, client.headers).end(20_000);
    const { result } = (await client.snapshot(taskId)).body;
    expect(result).toEqual({ traceparent: expect.stringContaining('-0af7651916cd43dd8448eb211c80319c-') });
  });

  it('is counted by its appends', async () => {
    const appends = async () =>
      (await place.metrics()).of('use_case_duration_seconds_count', { use_case: 'append_events', outcome: 'success' });
    const before = await appends();
    await outcomeOf('both.large-messages', { count: 0, length: 1 });
    expect(await appends()).toBe(before + 1);
  });
});
