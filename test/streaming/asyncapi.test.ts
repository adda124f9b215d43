import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Ajv, type ValidateFunction } from 'ajv';
import { type Client, newPrincipal, uniqueId } from '../support/client.js';
import { followSse, followSseAt, followWebSocket, type Reader } from '../support/follow.js';
import { MultiplexClient } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { RemoteTask } from '../support/remote-task.js';
import { eventually, type Service, startService } from '../support/service.js';
import { message, output, progress, question, WITH_WORKERS } from '../support/worker-client.js';

interface Reference {
  readonly $ref: string;
}

interface AsyncApi {
  readonly asyncapi: string;
  readonly channels: Record<
    string,
    { readonly address: string; readonly servers: readonly Reference[]; readonly messages: Record<string, Reference> }
  >;
  readonly operations: Record<string, { readonly channel: Reference; readonly messages: readonly Reference[] }>;
  readonly servers: Record<string, { readonly protocol: string; readonly security: readonly Reference[] }>;
  readonly components: {
    readonly messages: Record<string, { readonly payload: Reference }>;
    readonly securitySchemes: { readonly principal: { readonly description: string } };
  };
}

const CHANNELS = ['task', 'tasks', 'stream', 'changes'] as const;
type ChannelName = (typeof CHANNELS)[number];

/** What went over the wire on each channel, in both directions. */
const recorded: Record<ChannelName, unknown[]> = { task: [], tasks: [], stream: [], changes: [] };

describe('/asyncapi.json', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let document: AsyncApi;
  let ajv: Ajv;

  beforeAll(async () => {
    database = await createTestDatabase();
    const keys = { FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef' };
    const env = { DATABASE_URL: database.appUrl, HEARTBEAT_SECONDS: '1', ...keys, ...WITH_WORKERS };
    const service = await startService(env);
    document = (await (await fetch(`${service.url}/asyncapi.json`)).json()) as AsyncApi;
    await record(service);
    ajv = new Ajv({ strict: false, formats: { 'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/ } });
    ajv.addSchema(document, 'asyncapi');
  }, 90_000);

  afterAll(() => database.drop());

  const compiled = new Map<string, ValidateFunction>();
  const validator = (schema: string): ValidateFunction => {
    const found = compiled.get(schema) ?? ajv.compile({ $ref: `asyncapi${schema}` });
    compiled.set(schema, found);
    return found;
  };

  const validators = (channel: ChannelName): [string, ValidateFunction][] =>
    Object.entries(document.channels[channel]?.messages ?? {}).map(([name, { $ref }]) => {
      const message = document.components.messages[$ref.split('/').at(-1) ?? ''];
      return [name, validator(message?.payload.$ref ?? '')];
    });

  it('is an AsyncAPI 3.0 document, served to anybody as JSON, and no part of OpenAPI', async () => {
    const strict = { ...WITH_WORKERS, DATABASE_URL: database.appUrl, REQUIRE_AUTHENTICATED_PRINCIPAL: 'true' };
    const service = await startService(strict);
    const response = await fetch(`${service.url}/asyncapi.json`);
    const openApi = (await (await fetch(`${service.url}/openapi.json`)).json()) as { paths: object };
    await service.stop();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    const strictDocument = (await response.json()) as AsyncApi;
    expect(strictDocument).toEqual({
      ...document,
      components: { ...document.components, securitySchemes: expect.anything() },
    });
    const [anybody, proved] = [document, strictDocument].map(({ components }) => components.securitySchemes.principal);
    expect(proved).toMatchObject({ type: 'httpApiKey', in: 'header', name: 'X-Principal-Id' });
    expect(anybody?.description).toBe(`${proved?.description} A caller without it is the principal of the system.`);
    expect(document.asyncapi).toBe('3.0.0');
    expect(Object.keys(openApi.paths)).not.toContain('/asyncapi.json');
  }, 60_000);

  it('says where each channel is, and what proves the caller there', () => {
    const protocols = CHANNELS.map((name) =>
      document.channels[name]?.servers.map(({ $ref }) => document.servers[$ref.split('/').at(-1) ?? '']),
    );
    const security = [{ $ref: '#/components/securitySchemes/principal' }];
    expect(protocols).toMatchObject(['ws', 'ws', 'http', 'http'].map((protocol) => [{ protocol, security }]));
  });

  it('has no reference that leads nowhere', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path = '']) => path);
    const target = (path: string) =>
      path.split('/').reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], document);
    expect(references.filter((path) => target(path) === undefined)).toEqual([]);
    expect(references.length).toBeGreaterThan(50);
  });

  it('says of each message of a channel which operation it belongs to', () => {
    for (const name of CHANNELS) {
      const operations = Object.values(document.operations).filter(({ channel }) => channel.$ref.endsWith(`/${name}`));
      const used = operations.flatMap(({ messages }) => messages.map(({ $ref }) => $ref.split('/').at(-1)));
      expect(used.sort()).toEqual(Object.keys(document.channels[name]?.messages ?? {}).sort());
    }
  });

  describe.each(CHANNELS)('describes channel %s', (channel) => {
    it('so that every frame on the wire is exactly one of its messages', () => {
      const wrong = recorded[channel]
        .map((frame) => ({
          frame,
          fits: validators(channel).flatMap(([name, validate]) => (validate(frame) ? [name] : [])),
        }))
        .filter(({ fits }) => fits.length !== 1);
      expect(wrong).toEqual([]);
    });

    it('without a message that never comes', () => {
      const unseen = validators(channel).filter(([, validate]) => !recorded[channel].some((frame) => validate(frame)));
      expect(unseen.map(([name]) => name)).toEqual([]);
    });

    it('and refuses a frame with a member too many, a member too few and one of another type', () => {
      for (const frame of recorded[channel] as Record<string, unknown>[]) {
        const [first = '', ...others] = Object.keys(frame);
        const { [first]: _, ...less } = frame;
        for (const broken of [{ ...frame, surplus: 1 }, less, { ...frame, [first]: 7 }]) {
          const fits = validators(channel).filter(([, validate]) => validate(broken));
          expect({ broken, others, fits: fits.map(([name]) => name) }).toEqual({ broken, others, fits: [] });
        }
      }
    });
  });
});

/** Three tasks that have every type of event between them, followed live on every channel, until the service drains. */
async function record(service: Service): Promise<void> {
  const client = newPrincipal(service.url);
  const busy = await RemoteTask.begin(client);
  const { taskId } = busy;
  const multiplexed = await MultiplexClient.open(service.url, client.headers);
  const send = (frame: object) => {
    recorded.tasks.push(frame);
    multiplexed.send(frame);
  };
  const readers: Readonly<Record<'task' | 'stream', Reader[]>> = { task: [], stream: [] };
  const follow = (task: string, cursor: string | null): readonly Reader[] => {
    send({ action: 'subscribe', taskId: task, lastEventId: cursor, ref: task });
    recorded.task.push({ action: 'subscribe', taskId: task, lastEventId: cursor });
    const pair = [followWebSocket, followSse].map((by) => by(service.url, task, cursor, client.headers));
    const [socket, stream] = pair as [Reader, Reader];
    readers.task.push(socket);
    readers.stream.push(stream);
    return pair;
  };
  await busy.append({ type: 'TASK_STARTED', payload: {} }, progress(1));
  follow(taskId, '1');
  send({ action: 'subscribe', taskId });
  await multiplexed.frame(({ code }) => code === 'ALREADY_SUBSCRIBED');
  await allEvents(client, busy);

  const feed = followSseAt(`${service.url}/api/v1/tasks/changes/stream`, client.headers);
  send({ action: 'subscribe_changes' });
  await multiplexed.frame(({ type }) => type === 'CHANGES_CAUGHT_UP');
  await feed.waitFor(({ frames }) => frames.length > 0);
  const late = followSseAt(`${service.url}/api/v1/tasks/${taskId}/events/stream?from=snapshot`, client.headers);
  readers.stream.push(late);

  const failed = await RemoteTask.begin(client);
  const cancelled = await waiting(client);
  for (const task of [failed.taskId, cancelled]) follow(task, null);
  await failed.fail({ retryable: false });
  await client.cancel(cancelled, { reason: 'no longer wanted' });
  await Promise.all([...readers.task, ...readers.stream].map((reader) => reader.end()));
  await multiplexed.until(() => [taskId, failed.taskId, cancelled].every((task) => multiplexed.ended(task)));

  const quiet = follow((await RemoteTask.begin(client)).taskId, null);
  const hasHeartbeat = ({ frames }: Reader) => frames.some((frame) => frame.includes('HEARTBEAT'));
  await Promise.all(quiet.map((reader) => reader.waitFor(hasHeartbeat)));
  await multiplexed.frame(({ type }) => type === 'HEARTBEAT');
  const mint = async (seconds: number) =>
    (await client.post<{ token: string }>('/api/v1/follow-tokens', { owner: true, may: ['read'], seconds })).body.token;
  const byToken = await MultiplexClient.open(service.url, { Authorization: `Bearer ${await mint(4)}` });
  await byToken.frame(({ type }) => type === 'AUTH_EXPIRING');
  const renewal = { action: 'authenticate', token: await mint(900) };
  byToken.send(renewal);
  await byToken.frame(({ type }) => type === 'AUTHENTICATED');
  recorded.tasks.push(renewal, ...byToken.frames.map(({ raw }) => JSON.parse(raw) as unknown));
  byToken.leave();
  const left = await RemoteTask.begin(client);
  send({ action: 'subscribe', taskId: left.taskId, from: 'snapshot' });
  await multiplexed.frame(({ type }) => type === 'TASK_SNAPSHOT');
  send({ action: 'unsubscribe', taskId: left.taskId });
  await multiplexed.frame(({ type }) => type === 'CHANGE');
  await feed.waitFor(({ frames }) => frames.some((frame) => frame.includes('"task"')));
  send({ action: 'unsubscribe_changes' });
  await multiplexed.frame(({ type }) => type === 'CHANGES_ENDED');
  await multiplexed.until(() => multiplexed.ended(left.taskId));
  await service.stop();
  await multiplexed.close();

  const parsed = (texts: readonly string[]) => texts.map((text) => JSON.parse(text) as unknown);
  recorded.tasks.push(...parsed(multiplexed.frames.map(({ raw }) => raw)));
  recorded.task.push(...parsed(readers.task.flatMap(({ frames }) => frames)));
  recorded.changes.push(...parsed(feed.frames.flatMap(dataOf)));
  recorded.stream.push(...parsed(readers.stream.flatMap(({ frames }) => frames.flatMap(dataOf))));
}

async function allEvents(client: Client, task: RemoteTask): Promise<void> {
  await task.append(
    { type: 'TASK_PROGRESS', payload: { progress: 12.5, stage: 'reading', message: 'page 1' } },
    message('Hello.'),
    { type: 'TASK_MESSAGE', payload: { message: 'Careful.', level: 'warning' } },
    output('some '),
    { type: 'TASK_OUTPUT', payload: { channel: 'text', op: 'replace', data: 'other' } },
  );
  await task.fail({ retryable: true, retryAfterMs: 0 });
  await task.resume();
  const expiresAt = new Date(Date.now() + 60_000).toISOString();
  const asked = { expiresAt, interaction: { question: 'Go on?' }, uiHints: { style: 'modal' } };
  await task.append(output('void'));
  const suspendId = await task.suspend(question(asked));
  const action = { clientActionId: uniqueId(), suspendId, actionType: 'approve' };
  await client.post(`/api/v1/tasks/${task.taskId}/actions`, action);
  await task.resume();
  await task.finishStep('last', { rows: 3 });
  await task.complete({ any: ['thing'] });
}

/** A task that nobody executes. */
async function waiting(client: Client): Promise<string> {
  const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType: uniqueId('waits') })).body;
  await eventually('it is there', async () => (await client.snapshot(taskId)).status === 200);
  return taskId;
}

function dataOf(block: string): string[] {
  return block.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice('data: '.length)] : []));
}
