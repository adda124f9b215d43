import { type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { LEASE_SECONDS } from '#protocol/limits.js';
import { uniqueId } from '../support/client.js';
import { field, file, formOf } from '../support/form.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import {
  hasDescribedId,
  anyText,
  isDateTime,
  type Known,
  mutated,
  type Schema,
  valid,
} from '../support/schema-arbitraries.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';
import { type Lease, WITH_WORKERS, WORKER_TOKEN, WorkerClient } from '../support/worker-client.js';

const REQUESTS = 2_000;
/** Set it to the one that a failure names, to see it again. */
const SEED: number | undefined = undefined;
const AT_A_TIME = 20;
const ANSWER_WITHIN_MS = 20_000;
/** Those who wait for what does not come are left waiting. */
const MAY_WAIT = [
  'POST /worker/v1/leases',
  'POST /worker/v1/signals',
  'GET /api/v1/tasks/{taskId}/events',
  'GET /api/v1/tasks/changes',
];
const WAIT_MS = 500;
const LEASES = 120;
/** Tasks that are over. Some requests erase them. */
const OVER = 40;
/** Accepted requests for each operation of the document, about objects that no other request touches. */
const PLAIN = 3;
const OPERATIONS_AT_MOST = 80;

interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly required?: boolean;
  readonly schema: Schema;
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> }>
  >;
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface Generated {
  readonly operation: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

describe('Requests made from the description of the API', () => {
  let database: TestDatabase;
  let service: Service;
  let document: OpenApi;
  let there: Existing;
  const validators = new Map<Schema, ValidateFunction>();
  const ajv = new Ajv2020({ strict: false, validateFormats: true });
  ajv.addFormat('date-time', isDateTime);
  ajv.addFormat('uuid', /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  ajv.addFormat('binary', true);

  beforeAll(async () => {
    database = await createTestDatabase();
    const keys = { FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef' };
    // What the schema allows.
    const most = { MAX_LEASE_SECONDS: String(LEASE_SECONDS.maximum) };
    const env = { DATABASE_URL: database.appUrl, DATA_DIR: await temporaryDirectory(), ...keys, ...most };
    service = await startService({ ...env, ...WITH_WORKERS, STREAMS_PER_PRINCIPAL: '0' }, { lifetime: 'file' });
    document = (await (await fetch(`${service.url}/openapi.json`)).json()) as OpenApi;
    ajv.addSchema({ $id: 'api', components: document.components });
    there = await existing(service.url);
  }, 60_000);

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  it('are never answered by what it does not describe', async () => {
    const seed = SEED ?? Math.floor(Math.random() * 2 ** 31);
    const spoilt = fc.oneof(...operations(document).map((operation) => ofOperation(operation, document, there)));
    // Taken from the end: the plain ones first.
    const requests = [...fc.sample(spoilt, { numRuns: REQUESTS, seed }), ...plain(document, there, seed)];
    const statuses = new Map<string, Set<number>>();
    const wrong = new Map<string, string>();
    const lane = async () => {
      for (let one = requests.pop(); one !== undefined; one = requests.pop()) {
        const answer = await send(service.url, one);
        if (answer === undefined) continue;
        statuses.set(one.operation, (statuses.get(one.operation) ?? new Set()).add(answer.status));
        const why = wrongWith(one, answer);
        if (why !== undefined) {
          wrong.set(`${one.operation}: ${why}`, `${described(one)}\n${answer.status} ${answer.text.slice(0, 800)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, lane));

    expect({ seed, wrong: Object.fromEntries(wrong) }).toEqual({ seed, wrong: {} });
    // A generator whose requests are all refused, or none, would show nothing.
    for (const [operation, seen] of statuses) {
      const some = (test: (status: number) => boolean) => [...seen].some(test);
      expect({ seed, operation, accepted: some((status) => status < 300) }).toEqual({
        seed,
        operation,
        accepted: true,
      });
      if (/GET \/(health|ready)$/.test(operation)) continue;
      expect({ seed, operation, refused: some((status) => status >= 400) }).toEqual({ seed, operation, refused: true });
    }
    expect(statuses.size).toBe(Object.values(document.paths).flatMap((item) => Object.keys(item)).length);
  }, 120_000);

  function wrongWith(request: Generated, { status, headers, text }: Answered): string | undefined {
    const { operation, method } = request;
    const [, path = ''] = operation.split(' ');
    const { requestBody, responses } = document.paths[path]?.[method.toLowerCase()] as Operation;
    if (status >= 500) return `answered ${status}`;
    const json = requestBody?.content['application/json'];
    const judged = json && judgedOtherwise(request, json.schema, status);
    if (judged !== undefined) return judged;
    const response = responses[status];
    if (response === undefined) return `answered ${status}, which is not described`;
    if (headers['x-correlation-id'] === undefined) return 'answered without a correlation id';
    if (headers['x-powered-by'] !== undefined) return 'answered with what it is made of';
    if (response.content === undefined) return text === '' ? undefined : 'answered with a body that is not described';
    const type = headers['content-type']?.split(';')[0] ?? '';
    const media = response.content[type] ?? response.content['*/*'];
    if (media === undefined) return `answered with ${type}, which is not described`;
    if (type !== 'application/json' || media.schema === undefined) return undefined;
    const validate = validatorOf(media.schema);
    return validate(JSON.parse(text))
      ? undefined
      : `answered what its schema does not allow: ${ajv.errorsText(validate.errors)}`;
  }

  /** Whether the service and the description agree about the body. */
  function judgedOtherwise(
    { operation, headers, body }: Generated,
    schema: Schema,
    status: number,
  ): string | undefined {
    if (!body || headers['Content-Type'] !== 'application/json') return undefined;
    if (status >= 300 && status !== 422) return undefined;
    const value = JSON.parse(body) as object;
    if (!hasDescribedId(value)) return undefined;
    const fits = validatorOf(schema)(value);
    if (status < 300) return fits ? undefined : 'accepted a body that its schema does not allow';
    // No schema of a body can say that a header stands in for a member.
    const lacksKey = operation === 'POST /api/v1/tasks' && !('clientRequestId' in value);
    const ofOne = 'taskId' in value !== 'owner' in value;
    const isUnclear =
      (operation === 'POST /api/v1/follow-tokens' && !ofOne) || (operation.endsWith('/events') && !isClear(value));
    // Nor that one member excludes another, or that a member has a language of its own.
    const hasTwoStarts = 'startAfter' in value && 'delaySeconds' in value;
    const excludes = hasTwoStarts || operation.includes('/tasks/bulk/');
    const speaks = ['policies', 'actionSchemas', 'cron'].some((name) => name in value);
    const isExcused = lacksKey || isUnclear || excludes || speaks;
    return fits && !isExcused ? 'refused a body that its schema allows' : undefined;
  }

  function validatorOf(schema: Schema): ValidateFunction {
    const known = validators.get(schema);
    if (known) return known;
    const compiled = ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/')) as object);
    validators.set(schema, compiled);
    return compiled;
  }
});

interface Batch {
  readonly batchSeq?: unknown;
  readonly events?: readonly { readonly eventKey?: unknown; readonly payload?: { readonly state?: unknown } }[];
}

/** Whether the schema says enough: not that a number or a key on each event is needed, nor which events a new try of a step may void. */
function isClear({ batchSeq, events = [] }: Batch): boolean {
  if (!Array.isArray(events)) return true;
  const keyed = events.filter(({ eventKey }) => eventKey !== undefined).length;
  const isOrdered = keyed === (batchSeq === undefined ? events.length : 0);
  return isOrdered && !events.some(({ payload }) => payload?.state === 'retrying');
}

interface Existing {
  readonly leases: readonly Lease[];
  readonly tasks: readonly string[];
  readonly asked: readonly { readonly taskId: string; readonly suspendId: string }[];
  readonly files: readonly { readonly taskId: string; readonly attachmentId: string }[];
  readonly bulkId: string;
  /** A feed of changes that is open, as long as its answer is kept. */
  readonly streamId: string;
  readonly feed: Response;
  /** Tasks for the plain requests. Each request has its own. */
  readonly own: readonly Pick<Existing, 'leases' | 'asked'>[];
}

/**
 * Objects for the requests: leases of a worker, open questions, files, tasks that are over. They belong to the system principal.
 */
async function existing(url: string): Promise<Existing> {
  const worker = new WorkerClient(url);
  const taskType = uniqueId('generated');
  const create = (type: string) =>
    fetch(`${url}/api/v1/tasks`, {
      method: 'POST',
      ...formOf([field('clientRequestId', uniqueId()), field('taskType', type), file('a.txt', 'some bytes')]),
    });
  const own = OPERATIONS_AT_MOST * PLAIN;
  const made = await Promise.all(Array.from({ length: LEASES + 20 + 2 * own }, () => create(taskType)));
  expect(made.map(({ status }) => status)).toEqual(made.map(() => 201));
  const leases: Lease[] = [];
  while (leases.length < made.length) {
    const { body } = await worker.claim({ taskTypes: [taskType], maxTasks: 50, waitTimeoutMs: 5_000 });
    leases.push(...body.leases);
  }
  const asking = leases.splice(0, 20 + own);
  const suspended = await Promise.all(asking.map((lease) => worker.suspend(lease)));
  const asked = asking.map(({ taskId }, i) => ({ taskId, suspendId: suspended[i]?.body.suspendId ?? '' }));
  const ownAsked = asked.splice(20);
  const ownLeases = leases.splice(LEASES);
  const over = await Promise.all(Array.from({ length: OVER }, () => create('demo.echo')));
  const tasks = await Promise.all(over.map(async (answer) => ((await answer.json()) as { taskId: string }).taskId));
  const preview = await fetch(`${url}/api/v1/tasks/bulk/retry`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ filter: {}, dryRun: true }),
  });
  const { bulkId } = (await preview.json()) as { bulkId: string };
  // Nobody reads it, and it stays open until a request ends it.
  const feed = await fetch(`${url}/api/v1/tasks/changes/stream`);
  const streams = (await (await fetch(`${url}/api/v1/system/streams`)).json()) as { items: { streamId: string }[] };
  return {
    leases,
    tasks,
    bulkId,
    streamId: streams.items[0]?.streamId ?? '',
    feed,
    asked,
    files: leases.slice(0, 20).map(({ taskId, attachments }) => ({
      taskId,
      attachmentId: (attachments[0] as { attachmentId: string }).attachmentId,
    })),
    own: ownLeases.map((lease, i) => ({ leases: [lease], asked: ownAsked.slice(i, i + 1) })),
  };
}

const FEW_TIMES = fc.constantFrom('0', '1', '2', '3', '999', '');

interface Described extends Operation {
  readonly method: string;
  readonly path: string;
}

function operations({ paths }: OpenApi): Described[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
  );
}

/** Requests that fit. Without them only luck would decide whether an operation is ever accepted. */
function plain(document: OpenApi, there: Existing, seed: number): Generated[] {
  const own = [...there.own];
  return operations(document).flatMap((operation) =>
    Array.from({ length: PLAIN }, (_, i) => {
      const about = { ...there, ...own.pop() };
      return fc.sample(ofOperation(operation, document, about, true), { numRuns: 1, seed: seed + i })[0] as Generated;
    }),
  );
}

function ofOperation(
  { method, path, parameters = [], requestBody }: Described,
  { components }: OpenApi,
  there: Existing,
  asDescribed = false,
): fc.Arbitrary<Generated> {
  // What belongs together: a lease and its task, a question, a file.
  const about = path.startsWith('/worker')
    ? fc.constantFrom(...there.leases)
    : path.endsWith('/actions')
      ? fc.constantFrom(...there.asked)
      : path.includes('/bulks/')
        ? fc.constant({ bulkId: there.bulkId })
        : path.includes('/streams/')
          ? fc.constant({ streamId: there.streamId })
          : path.includes('/attachments/')
            ? fc.constantFrom(...there.files)
            : fc.constantFrom(
                ...there.tasks.map((taskId) => ({ taskId })),
                ...(path.endsWith('/retry') ? [] : there.leases.slice(0, 10)),
              );
  return about.chain((one) => {
    const facts = one as unknown as Readonly<Record<string, string>>;
    const known: Known = {
      ...Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, fc.constant(value)])),
      taskType: fc.constantFrom('demo.echo', 'demo.greet', 'nobody.takes.it'),
      clientRequestId: fc.stringMatching(/^[!-~]{1,40}$/),
      clientActionId: fc.stringMatching(/^[!-~]{1,40}$/),
      actionType: fc.constantFrom('approve', 'reject'),
      workerId: fc.constant('generated'),
      taskTypes: fc.constant(['nobody.takes.that']),
      waitTimeoutMs: fc.constantFrom(0, 1, 10),
      batchSeq: asDescribed ? fc.constant(1) : fc.constantFrom(1, 2, 3),
      schemaVersion: fc.constant(1),
      cron: fc.constantFrom('30 2 * * *', '0 0 1 1 *'),
      timeZone: fc.constantFrom('UTC', 'Europe/Berlin'),
      allowedActions: fc.constant(['approve', 'reject']),
      actionSchemas: fc.constantFrom({}, { approve: { type: 'object' } }),
      events: fc.constantFrom(
        [{ type: 'TASK_PROGRESS', payload: { progress: 50 } }],
        [{ type: 'TASK_OUTPUT', payload: { channel: 'c', op: 'append', data: 'd' } }],
      ),
      suspendId: fc.constantFrom(facts['suspendId'] ?? 'question', ...(asDescribed ? [] : ['another'])),
      filename: fc.constantFrom('a.txt', 'b.csv'),
      afterEventId: asDescribed ? fc.constant('0') : FEW_TIMES,
      lastEventId: asDescribed ? fc.constant('0') : FEW_TIMES,
      cursor: anyText,
    };
    const schemaOf = (content: Readonly<Record<string, { readonly schema: Schema }>>) =>
      content['application/json']?.schema ?? {};
    // Of the members of these only some go together.
    const aBulk = { clientRequestId: `generated ${path}`, ids: there.tasks.slice(0, 5) };
    const alone = path.includes('/tasks/bulk/') ? aBulk : { owner: true, may: ['read'] };
    const excludes = path.includes('/tasks/bulk/') || (method === 'POST' && path.endsWith('/follow-tokens'));
    const bodyValue =
      asDescribed && excludes
        ? fc.constant(alone)
        : requestBody && valid(schemaOf(requestBody.content), components.schemas, known, asDescribed);
    const query = parameters.filter((parameter) => parameter.in === 'query');
    return fc
      .record({
        path: fc
          .tuple(...parameters.filter((p) => p.in === 'path').map(({ name }) => pathSegment(name, facts, asDescribed)))
          .map((values) => values.reduce((filled, [name, value]) => filled.replace(`{${name}}`, value), path)),
        query: queryOf(query, components.schemas, known, asDescribed),
        body: bodyValue === undefined ? fc.constant(undefined) : bodyText(bodyValue, asDescribed),
        headers: headersOf(path, bodyValue !== undefined, asDescribed, facts['leaseToken']),
      })
      .map(({ path: filled, query: text, body, headers }) => ({
        operation: `${method} ${path}`,
        method,
        path: filled + (text === '' ? '' : `?${text}`),
        headers,
        ...(body !== undefined && { body }),
      }));
  });
}

function pathSegment(
  name: string,
  facts: Readonly<Record<string, string>>,
  asDescribed: boolean,
): fc.Arbitrary<readonly [string, string]> {
  const usual = fc.constant(facts[name] ?? 'x');
  if (asDescribed) return usual.map((value) => [name, value] as const);
  const garbage = anyText
    .map((text) => encodeURIComponent(text.toWellFormed()).slice(0, 300))
    .filter((text) => text !== '' && !/^\.+$/.test(text));
  const missing = fc.constantFrom('01890000-0000-7000-8000-000000000000', 'no-uuid', '%00', '%ff', '%2e%2e%2f');
  return fc
    .oneof({ weight: 8, arbitrary: usual }, { weight: 1, arbitrary: missing }, { weight: 1, arbitrary: garbage })
    .map((value) => [name, value] as const);
}

function queryOf(
  parameters: readonly Parameter[],
  schemas: OpenApi['components']['schemas'],
  known: Known,
  asDescribed: boolean,
): fc.Arbitrary<string> {
  const pairs = parameters.map(({ name, required = false, schema }) => {
    const usual = known[name] ?? valid(schema, schemas, known);
    const value = fc.oneof(
      { weight: 12, arbitrary: usual.map(String) },
      { weight: asDescribed ? 0 : 1, arbitrary: anyText },
    );
    // A request without this member would wait for the default time.
    const always = name === 'waitTimeoutMs' || (asDescribed && required);
    const presence = always || asDescribed ? fc.constant(always) : fc.boolean();
    return fc
      .tuple(presence, value)
      .map(([present, text]) => (present ? [`${name}=${encodeURIComponent(text.toWellFormed())}`] : []));
  });
  const spoilt = fc.oneof(
    { weight: 8, arbitrary: fc.constant('') },
    {
      weight: asDescribed ? 0 : 5,
      arbitrary: fc.constantFrom('limit=1&limit=2', 'surprise=1', '__proto__=1', '%=%', 'a[b]=c'),
    },
  );
  return fc
    .tuple(fc.tuple(...pairs), spoilt)
    .map(([texts, more]) => [...texts.flat(), ...(more === '' ? [] : [more])].join('&'));
}

/** Mostly JSON, sometimes not quite. */
function bodyText(body: fc.Arbitrary<unknown>, asDescribed: boolean): fc.Arbitrary<string> {
  const text = (value: unknown) => JSON.stringify(value) ?? '';
  if (asDescribed) return body.map(text);
  return fc.oneof(
    { weight: 10, arbitrary: body.map(text) },
    { weight: 8, arbitrary: mutated(body).map(text) },
    { weight: 1, arbitrary: fc.tuple(body, fc.nat(40)).map(([value, cut]) => text(value).slice(0, -cut - 1)) },
    { weight: 1, arbitrary: anyText },
  );
}

function headersOf(
  path: string,
  hasBody: boolean,
  asDescribed: boolean,
  leaseToken = '',
): fc.Arbitrary<Record<string, string>> {
  const often = (usual: Record<string, string>, ...others: Record<string, string>[]) =>
    fc.oneof(
      { weight: 8, arbitrary: fc.constant(usual) },
      { weight: asDescribed ? 0 : 2, arbitrary: fc.constantFrom(...others) },
    );
  const who = path.startsWith('/worker')
    ? often(
        { Authorization: `Bearer ${WORKER_TOKEN}` },
        {},
        { Authorization: 'Basic YTpi' },
        { Authorization: `Bearer ${WORKER_TOKEN}x` },
      )
    : often(
        {},
        { 'X-Principal-Id': 'somebody' },
        { 'X-Principal-Id': 'system' },
        { 'X-Principal-Id': '' },
        { 'X-Principal-Scopes': 'tasks:read' },
      );
  const type = hasBody
    ? often(
        { 'Content-Type': 'application/json' },
        {},
        { 'Content-Type': 'text/plain' },
        { 'Content-Type': 'application/json; charset=utf-16' },
        { 'Content-Type': 'multipart/form-data' },
      )
    : fc.constant({});
  const more = often(
    {},
    { Accept: 'text/plain' },
    { Accept: '*/*;q=0' },
    { 'Last-Event-ID': '1' },
    { 'Last-Event-ID': 'x' },
    { 'If-None-Match': '*' },
    { Range: 'bytes=0-1' },
    { Range: 'bytes=99-' },
    { Range: 'bytes=x' },
    { 'X-Lease-Token': 'x' },
    { 'Idempotency-Key': 'k' },
    { 'Idempotency-Key': '' },
    { Traceparent: '00-0-0-0' },
    { Origin: 'https://elsewhere.example' },
    { 'Content-Encoding': 'gzip' },
    { Expect: 'surprise' },
  );
  // A file has its lease in a header, since its body is the bytes.
  const lease = path.endsWith('}/attachments') ? often({ 'X-Lease-Token': leaseToken }, {}) : fc.constant({});
  return fc.tuple(who, type, lease, more).map((parts) => Object.assign({}, ...parts) as Record<string, string>);
}

/** A stream is read to its head only: it may have no end. */
function send(url: string, { operation, method, path, headers, body }: Generated): Promise<Answered | undefined> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) };
    const sent = request(url + path, { method, headers: { ...headers, ...length } }, (response) => {
      const answer = (text: string) => resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      if (response.headers['content-type']?.startsWith('text/event-stream')) {
        answer('');
        return void sent.destroy();
      }
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.on('end', () => answer(text));
    });
    const ended = MAY_WAIT.includes(operation)
      ? setTimeout(() => {
          resolve(undefined);
          sent.destroy();
        }, WAIT_MS)
      : setTimeout(() => {
          reject(new Error(`${method} ${path}: no end of the answer within ${ANSWER_WITHIN_MS} ms`));
          sent.destroy();
        }, ANSWER_WITHIN_MS);
    sent.on('close', () => clearTimeout(ended));
    sent.on('error', reject);
    sent.end(body);
  });
}

function described({ method, path, headers, body }: Generated): string {
  return `${method} ${path}\n${JSON.stringify(headers)}\n${body?.slice(0, 800) ?? ''}`;
}
