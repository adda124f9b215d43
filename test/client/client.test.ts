import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type Client,
  type ClientOptions,
  createClient,
  type Store,
  TaskBridgeError,
  TaskCancelled,
  TaskFailed,
} from '../../packages/client/src/client-api.js';
import { eventually } from '../support/service.js';
import { type Stage, startStage } from './stage.js';

let stage: Stage;
const clients: Client[] = [];

beforeAll(async () => {
  stage = await startStage();
}, 300_000);

afterEach(() => clients.splice(0).forEach((client) => client.close()));

afterAll(() => stage.end());

function made(options: ClientOptions = {}): Client {
  const client = createClient({ url: stage.nginx.url, headers: () => stage.headersOf('alice'), ...options });
  clients.push(client);
  return client;
}

const id = () => `request-${Math.random()}`;

async function all<V>(values: AsyncIterable<V>): Promise<V[]> {
  const found: V[] = [];
  for await (const value of values) found.push(value);
  return found;
}

/** Resolves when the state of the task has the status. */
function reached(task: ReturnType<Client['task']>, status: string): Promise<void> {
  return new Promise((resolve) => {
    const leave = task.state.subscribe(() => {
      if (task.state.get().status !== status) return;
      leave();
      resolve();
    });
  });
}

class MemoryStore implements Store {
  readonly items = new Map<string, string>();
  getItem = async (key: string) => this.items.get(key) ?? null;
  setItem = async (key: string, value: string) => void this.items.set(key, value);
  removeItem = async (key: string) => void this.items.delete(key);
}

describe('A create', () => {
  it('is a task at once, and its id is kept before the network has it', async () => {
    const store = new MemoryStore();
    const keptAtFetch: number[] = [];
    const client = made({
      store,
      fetch: (...given) => {
        keptAtFetch.push(store.items.size);
        return fetch(...given);
      },
    });
    const task = client.create('demo.echo', { a: 1 });
    expect([task.id, task.state.get().status]).toEqual([undefined, 'creating']);
    expect(await task.result()).toEqual({ a: 1 });
    expect(keptAtFetch[0]).toBe(1);
    expect(store.items.size).toBe(0);
  });

  it('does not need its store: one that throws refuses nothing', async () => {
    const denied = () => {
      throw new Error('denied');
    };
    const client = made({ store: { getItem: denied, setItem: denied, removeItem: denied } });
    expect(await client.create('demo.echo', { a: 1 }).result()).toEqual({ a: 1 });
  });

  it('of an earlier load is found again by its content, and two of one load are two', async () => {
    const store = new MemoryStore();
    const input = { ms: 2_000, name: id() };
    const [first, second] = [1, 2].map(() => made({ store }));
    const [one, two] = [first?.create('demo.sleep', input), first?.create('demo.sleep', input)];
    expect(await one?.created()).not.toBe(await two?.created());
    first?.close();
    expect(await second?.create('demo.sleep', input).created()).toBe(await one?.created());
    expect(await second?.create('demo.sleep', input).created()).toBe(await two?.created());
  });

  it('that is refused is unreachable, with the error', async () => {
    const task = made().create('no.such.type', {});
    await expect(task.created()).rejects.toMatchObject({ code: 'REQUEST_VALIDATION_ERROR', status: 422 });
    expect(task.state.get()).toMatchObject({ status: 'unreachable', error: { code: 'REQUEST_VALIDATION_ERROR' } });
    await expect(task.result()).rejects.toBeInstanceOf(TaskBridgeError);
  });

  it('sends files', async () => {
    const file = new File(['a text'], 'a.txt', { type: 'text/plain' });
    const task = made().create('demo.attachments', { x: 1 }, { files: [file] });
    expect(await task.result()).toMatchObject({ attachments: [{ filename: 'a.txt', sizeBytes: 6 }] });
  });

  it.each([
    ['JSON', {}],
    ['a form', { files: [new File(['a text'], 'a.txt', { type: 'text/plain' })] }],
  ])('begins no earlier than it says, sent as %s', async (_name, options) => {
    const startAfter = new Date(Date.now() + 1_500).toISOString();
    const task = made().create('demo.attachments', {}, { ...options, startAfter });
    await task.created();
    expect(task.state.get().status).toBe('waiting');
    await task.result();
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(startAfter));
    const refused = made().create('demo.echo', {}, { startAfter: 'tomorrow' });
    await expect(refused.created()).rejects.toMatchObject({ code: 'REQUEST_VALIDATION_ERROR', status: 422 });
  });

  it('that its signal ends rejects, and sends nothing more', async () => {
    const ending = new AbortController();
    const task = made({ url: 'http://127.0.0.1:9' }).create('demo.echo', {}, { signal: ending.signal });
    setTimeout(() => ending.abort(new Error('enough')), 200);
    await expect(task.created()).rejects.toThrow('enough');
  });
});

describe('A task', () => {
  it('that fails rejects with TaskFailed, and one that is cancelled with TaskCancelled, also where somebody comes late', async () => {
    const client = made();
    const failing = client.create('demo.fail', { message: 'no' });
    await expect(failing.result()).rejects.toMatchObject({
      name: 'TaskFailed',
      code: 'DEMO_FAILURE',
      retryable: false,
    });
    const sleeping = client.create('demo.sleep', { ms: 60_000 });
    await reached(sleeping, 'running');
    expect(await sleeping.cancel('not needed')).toBe('requested');
    await expect(sleeping.result()).rejects.toBeInstanceOf(TaskCancelled);
    expect(await sleeping.cancel()).toBe('over');
    const late = made();
    await expect(late.task(failing.id as string).result()).rejects.toBeInstanceOf(TaskFailed);
    await expect(late.task(sleeping.id as string).result()).rejects.toMatchObject({ reason: 'not needed' });
  });

  it('is answered once: accepted, by another, expired', async () => {
    const [mine, other] = [made(), made()];
    const task = mine.create('demo.approval', {});
    await expect(other.create('demo.sleep', { ms: 1 }).answer('approve')).rejects.toMatchObject({
      code: 'NO_QUESTION',
    });
    await reached(task, 'asking');
    const same = other.task(task.id as string);
    await expect(same.answer('dance')).rejects.toMatchObject({ code: 'ACTION_NOT_ALLOWED' });
    expect(await same.answer('approve', { by: 'other' })).toBe('accepted');
    expect(await same.answer('approve', { by: 'other' }, { suspendId: '1' })).toBe('accepted');
    expect(await task.answer('reject', {}, { suspendId: '1' })).toBe('answered-by-another');
    expect(await task.result()).toEqual({ decision: 'approve', payload: { by: 'other' } });
    const expiring = mine.create('demo.approval', { expiresInMs: 300 });
    await reached(expiring, 'failed');
    expect(await expiring.answer('approve', {}, { suspendId: '1' })).toBe('expired');
  });

  it('of another owner is unreachable, and the others go on', async () => {
    const [hers, his] = [made(), made({ headers: () => stage.headersOf('bob') })];
    const task = hers.create('demo.greet', { steps: 3 });
    const foreign = his.task(await task.created());
    const own = his.create('demo.greet', { steps: 5 });
    await expect(foreign.result()).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' });
    await expect(all(foreign.events())).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' });
    expect(await own.result()).toHaveProperty('greeting');
  });

  it('that cannot be, or a cursor that cannot be, is refused, and the others go on', async () => {
    const client = made();
    const good = client.create('demo.greet', { steps: 5 });
    await reached(good, 'running');
    await expect(client.task('no id/..').result()).rejects.toMatchObject({ code: 'TASK_NOT_FOUND' });
    await expect(all(good.events({ after: 'soon' }))).rejects.toMatchObject({ code: 'INVALID_CURSOR' });
    await expect(all(client.create('demo.sleep', { ms: 500 }).events({ after: '99' }))).rejects.toMatchObject({
      code: 'CURSOR_AHEAD',
    });
    expect(await good.result()).toHaveProperty('greeting');
  });

  it('yields events after a cursor, also those that are kept no more, to several readers', async () => {
    const client = made({ maxEventsKept: 10 });
    const task = client.create('burst', { events: 900 });
    const whole = await all(task.events());
    expect(whole.map(({ eventId }) => Number(eventId))).toEqual(whole.map((_, n) => n + 1));
    const [late, last] = await Promise.all([all(task.events({ after: '3' })), all(task.events({ after: '890' }))]);
    expect([late, last]).toEqual([whole.slice(3), whole.slice(890)]);
  });

  it('stops looking when a loop is left, and closes its connection', async () => {
    const client = made();
    const task = client.create('demo.greet', { steps: 20 });
    for await (const { type } of task.events()) if (type === 'TASK_PROGRESS') break;
    await eventually('the connection is idle', () => client.connection.get().status === 'idle', 5_000);
    expect((await all(client.list({ status: 'RUNNING' }))).map(({ taskId }) => taskId)).toContain(task.id);
  });

  it.each([
    ['WebSocket', {}, 'websocket'],
    ['fetch alone', { WebSocket: undefined, transports: ['sse', 'poll'] }, 'sse'],
    ['a WebSocket that is refused', { WebSocket: refusing() }, 'sse'],
    ['streams that are refused', { WebSocket: refusing(), fetch: withoutStreams() }, 'poll'],
    ['a WebSocket and streams that keep every byte back', { WebSocket: silent(), fetch: withSilentStreams() }, 'poll'],
  ] as const)(
    'is followed with %s',
    async (_name, options, transport) => {
      const client = made(options as ClientOptions);
      const used = new Set<string | undefined>();
      client.connection.subscribe(() => {
        const { status, transport: name } = client.connection.get();
        if (status === 'open') used.add(name);
      });
      const task = client.create('demo.greet', { steps: 20, stepMs: 100 });
      expect(await task.result()).toHaveProperty('greeting');
      expect([...used]).toEqual([transport]);
    },
    60_000,
  );

  it('has no hole where a frame is lost on the way', async () => {
    const client = made({ WebSocket: losing('"eventId":"3"') });
    const events = await all(client.create('demo.greet', { steps: 6, stepMs: 50 }).events());
    expect(events.map(({ eventId }) => eventId)).toEqual(events.map((_, n) => String(n + 1)));
  });

  it('shows what is not void at any moment, through a question and a retry', async () => {
    const client = made();
    const task = client.create('story', {});
    const outputs = all(task.output());
    await reached(task, 'asking');
    expect(task.state.get()).toMatchObject({
      question: { reasonCode: 'GO' },
      attempt: 2,
      progress: 60,
      stage: 'asking',
    });
    await task.answer('go');
    await task.result();
    const { text } = task.state.get();
    expect(text).not.toContain('draft 1');
    expect(text.match(/end 2\.0/g)).toHaveLength(1);
    expect((await outputs).reduce((before, { delta, replaced }) => (replaced ? delta : before + delta), '')).toBe(text);
    expect(
      made()
        .task(task.id as string)
        .state.get().text,
    ).toBe('');
    const late = made().task(task.id as string);
    await reached(late, 'completed');
    expect(late.state.get()).toMatchObject({ text, progress: 100 });
  });
});

describe('Credentials', () => {
  it('are asked before every connect, and refused ones twice', async () => {
    let asked = 0;
    const client = made({
      headers: () => {
        asked += 1;
        return { Authorization: 'Basic bm9ib2R5Om5v' };
      },
    });
    await expect(client.create('demo.echo', {}).created()).rejects.toMatchObject({ status: 401 });
    expect(asked).toBe(2);
  });
});

describe('All tasks', () => {
  it('are listed, and change', async () => {
    const client = made();
    const leaving = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const { taskId, task } of client.changes({ signal: leaving.signal }))
        seen.push(`${taskId} ${task?.status}`);
    })();
    await eventually('the feed is followed', () => client.connection.get().status === 'open');
    const task = client.create('demo.greet', { steps: 2 });
    await task.result();
    await eventually('its end is seen', () => seen.includes(`${task.id} COMPLETED`));
    leaving.abort(new Error('enough'));
    await expect(following).rejects.toThrow('enough');
    expect((await all(client.list({ taskType: 'demo.greet' })))[0]).toMatchObject({ taskId: task.id });
  });

  it('ask, until they are answered', async () => {
    const client = made();
    const before = made().create('demo.approval', {});
    await reached(before, 'asking');
    const leave = client.questions.subscribe(() => {});
    const asks = (task: typeof before) => client.questions.get().find(({ taskId }) => taskId === task.id);
    await eventually('the question is there', () => asks(before) !== undefined);
    const later = made().create('demo.approval', {});
    await later.created();
    const question = await eventually('the next one, too', () => asks(later));
    expect(await question.answer('approve')).toBe('accepted');
    await eventually('it is gone', () => asks(later) === undefined);
    expect(asks(before)).toBeDefined();
    await before.answer('reject');
    leave();
  });
});

it('A client that is closed ends what waits', async () => {
  const client = made();
  const task = client.create('demo.sleep', { ms: 5_000 });
  await reached(task, 'running');
  const waiting = [task.result(), all(task.events({ after: '1' })), all(task.output()), all(client.changes())];
  client.close();
  for (const promise of waiting) await expect(promise).rejects.toMatchObject({ code: 'CLOSED' });
  expect(client.connection.get()).toEqual({ status: 'closed' });
});

/** A WebSocket that a proxy refuses. */
function refusing(): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL) {
      super(String(url).replace('/ws', '/nothing'));
    }
  };
}

/** A fetch behind a proxy that keeps streams back. */
function withoutStreams(): typeof fetch {
  return async (url, init) => {
    if ((url as string).includes('/events/stream')) return new Response(null, { status: 502 });
    return fetch(url, init);
  };
}

/** A WebSocket behind a proxy that accepts it, and passes nothing on. */
function silent(): typeof WebSocket {
  return class extends WebSocket {
    override set onmessage(_handler: ((event: MessageEvent) => void) | null) {}
  } as typeof WebSocket;
}

/** A fetch behind a proxy that collects streams: not even their status comes. */
function withSilentStreams(): typeof fetch {
  return (url, init) => {
    if (!(url as string).includes('/events/stream')) return fetch(url, init);
    return new Promise((_, reject) => {
      init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error));
    });
  };
}

/** A WebSocket that loses the first frame with this text. */
function losing(text: string): typeof WebSocket {
  let isLost = false;
  return class extends WebSocket {
    override set onmessage(handler: ((event: MessageEvent) => void) | null) {
      super.onmessage =
        handler &&
        ((event: MessageEvent<string>) => {
          if (isLost || !event.data.includes(text)) return handler(event);
          isLost = true;
        });
    }
  } as typeof WebSocket;
}
