// A host module that brings every port. Each does its work until a fault is ordered over HTTP, as
// {"<port>.<method>": "<fault>"}. What is asked about a principal or a task type fails only for those named
// victim.<method>….
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ActionValidationPolicy,
  AttachmentStore,
  AuthContextResolver,
  LiveLog,
  MetricsSink,
  OwnershipPolicy,
  ReadinessProbe,
  TASK_HANDLERS,
  TaskBridgeError,
  TransportDiagnosticsSink,
  UploadPolicy,
} from 'taskbridge';

const { DATA_DIR } = process.env;
let faults = {};
/** How often a fault was met, by `<port>.<method>`. */
const asked = {};

const control = createServer(async (request, response) => {
  if (request.method === 'POST') faults = await json(request);
  response.end(JSON.stringify(asked));
});
await once(control.listen(0, '127.0.0.1'), 'listening');
process.stdout.write(`${JSON.stringify({ control: control.address().port })}\n`);

class OddRefusal extends TaskBridgeError {
  code = 'not a code';
  kind = 'constructor';
}

const trap = () => {
  throw new Error('a getter of the host');
};
const trapped = () => new Proxy({}, { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap });
const context = (members) => ({ subject: 'victim', scopes: new Set(['tasks:read']), attributes: {}, ...members });
const allowance = (members) => ({ maxFiles: 1, maxFileBytes: 10, maxTotalBytes: 10, ...members });
const endless = () => new Readable({ read() {} });

/** The effect of each fault, instead of the honest work. */
const FAULT = {
  throws: () => {
    throw new Error('the host failed');
  },
  'throws nothing': () => {
    throw undefined;
  },
  'throws a trap': () => {
    throw Object.defineProperty(new Error(), 'message', { get: trap });
  },
  'throws what is revoked': () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    throw proxy;
  },
  'refuses oddly': () => {
    throw new OddRefusal('odd');
  },
  rejects: () => Promise.reject(new Error('the host failed')),
  'rejects with text': () => Promise.reject('the host failed'),
  'leaves a rejection': (honest) => {
    void Promise.reject(new Error('left behind'));
    return honest();
  },
  'leaves a timer': (honest) => {
    setTimeout(() => {
      throw new Error('left behind');
    }, 1);
    return honest();
  },
  'takes 10 s': async (honest) => {
    await delay(10_000);
    return honest();
  },
  'never answers': () => new Promise(() => undefined),
  undefined: () => undefined,
  null: () => null,
  text: () => 'text',
  'a huge text': () => 'x'.repeat(5_000_000),
  number: () => 1,
  object: () => ({}),
  array: () => [{}],
  trap: trapped,
  'odd then': () => ({
    get then() {
      return trap();
    },
  }),
  'a context without a subject': () => context({ subject: undefined }),
  'a context with text for scopes': () => context({ scopes: 'tasks:read tasks:write' }),
  'a context with numbers for scopes': () => context({ scopes: new Set([1]) }),
  'a context with an object for tenant': () => context({ tenantId: {} }),
  'a context with a getter that throws': () => Object.defineProperty(context({}), 'scopes', { get: trap }),
  'a context with control characters': () => context({ subject: 'victim\u001b[2J' }),
  'a context with half a character': () => context({ subject: 'victim\ud800' }),
  'a context with a huge subject': () => context({ subject: 'v'.repeat(5_000_000) }),
  'half a file': () => allowance({ maxFiles: 0.5 }),
  'no number of bytes': () => allowance({ maxFileBytes: Number.NaN }),
  'text for bytes': () => allowance({ maxTotalBytes: '10' }),
  'fewer bytes than none': () => allowance({ maxOwnedBytes: -1 }),
  'a word for ready': () => ({ ready: 'yes', details: {} }),
  'a part that is text': () => ({ ready: true, details: { part: 'ready' } }),
  'a part with a line end in its name': () => ({ ready: true, details: { 'a\nb': { status: 'ready' } } }),
  'a stream that stalls': endless,
  'a stream that fails': () =>
    new Readable({
      read() {
        this.destroy(new Error('the host failed'));
      },
    }),
  'a stream of objects': () => Readable.from([{}]),
  'a stream that is too short': () => Readable.from([Buffer.from('a')]),
  'a stream that is too long': () => Readable.from([Buffer.alloc(1000, 'HTTP/1.1 200 OK\r\n')]),
  'reads nothing and says that it is done': () => Promise.resolve(),
  'a listener that throws': (_, [, bytes]) => {
    bytes.on('data', trap);
    return new Promise(() => undefined);
  },
  'garbage for the follower': (honest) => {
    const taskId = '00000000-0000-7000-8000-000000000000';
    const event = {
      taskId,
      eventId: 1,
      type: 'TASK_PROGRESS',
      createdAt: '2026-01-01T00:00:00.000Z',
      payloadJson: '{}',
    };
    const garbage = [
      undefined,
      null,
      'text',
      [null, 1, {}, trapped(), { ...event, eventId: 0.5 }, { ...event, payloadJson: '{' }],
    ];
    for (const given of garbage) for (const follower of followers) follower.receive(given);
    for (const follower of followers) follower.follows({});
    return honest();
  },
};

const isVictim = (method, parameters) =>
  parameters.some((one) => {
    const names = [one, one?.subject, one?.headers?.['x-principal-id'], one?.taskType];
    return names.some((name) => typeof name === 'string' && name.startsWith(`victim.${method}`));
  });

/** The honest method of a port, unless a fault is set. */
function able(port, method, honest, { always = false } = {}) {
  return (...parameters) => {
    const fault = faults[`${port}.${method}`];
    const work = () => honest(...parameters);
    if (fault === undefined || !(always || isVictim(method, parameters))) return work();
    asked[`${port}.${method}`] = (asked[`${port}.${method}`] ?? 0) + 1;
    return FAULT[fault](work, parameters);
  };
}

function ported(token, methods, options) {
  const { name } = token;
  const entries = Object.entries(methods).map(([method, honest]) => [method, able(name, method, honest, options)]);
  return { provide: token, useValue: Object.fromEntries(entries) };
}

const nothing = () => undefined;
const sink = (token, ...methods) =>
  ported(token, Object.fromEntries(methods.map((method) => [method, nothing])), { always: true });

const pathOf = (id) => join(DATA_DIR, id);
const followers = [];

const handler = able('TASK_HANDLERS', 'victim.handler', () => ({ done: true }), { always: true });

export default {
  module: class FaultyHost {},
  providers: [
    ported(AuthContextResolver, {
      resolve: ({ headers }) => ({
        subject: headers['x-principal-id'] ?? 'bystander',
        scopes: new Set(['tasks:read', 'tasks:write', 'tasks:upload']),
        attributes: {},
      }),
    }),
    ported(OwnershipPolicy, {
      mayCreate: () => true,
      mayRead: ({ subject }, { ownerId }) => subject === ownerId,
      mayControl: ({ subject }, { ownerId }) => subject === ownerId,
    }),
    ported(ActionValidationPolicy, { validate: nothing }),
    ported(UploadPolicy, {
      admit: () => ({ maxFiles: 3, maxFileBytes: 1000, maxTotalBytes: 1000 }),
      check: nothing,
    }),
    ported(
      AttachmentStore,
      {
        put: async (id, bytes) => {
          await mkdir(DATA_DIR, { recursive: true });
          await writeFile(pathOf(id), await buffer(bytes));
        },
        open: async (id) => createReadStream(pathOf(id)),
        remove: (id) => rm(pathOf(id), { force: true }),
      },
      { always: true },
    ),
    ported(
      LiveLog,
      {
        publish: (events) => followers.some((follower) => follower.receive(events)),
        follow: (follower) => followers.push(follower),
        start: async () => undefined,
        stop: async () => undefined,
      },
      { always: true },
    ),
    ported(
      ReadinessProbe,
      { checkReadiness: async () => ({ ready: true, details: { part: { status: 'ready' } } }) },
      { always: true },
    ),
    sink(MetricsSink, 'increment', 'adjust', 'set', 'observe'),
    sink(
      TransportDiagnosticsSink,
      ...['replayStarted', 'delivered', 'heartbeatSent', 'disconnected', 'holeHealed', 'slowConsumer'],
    ),
    { provide: TASK_HANDLERS, useValue: { 'victim.handler': handler } },
  ],
};
