import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, uniqueId } from '../support/client.js';
import { freePort } from '../support/free-port.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { pythonPackage, pythonWithClient } from '../support/python.js';
import { eventually, type Service, startService, temporaryDirectory } from '../support/service.js';
import { textsOf } from '../support/texts.js';
import { watched, WORKER_TOKEN, type WorkerProcess } from '../support/worker.js';

const example = (name: string) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
const LEASE_SECONDS = 2;

interface Event {
  readonly type: string;
  readonly eventId: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

describe('The examples in Python', () => {
  let database: TestDatabase;
  let service: Service;
  let settings: Record<string, string>;
  const programs: WorkerProcess[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    settings = {
      DATABASE_URL: database.appUrl,
      EXECUTOR: 'inline,worker',
      WORKER_TOKENS: WORKER_TOKEN,
      FOLLOW_TOKEN_KEYS: '0123456789abcdef0123456789abcdef',
      LEASE_SECONDS: String(LEASE_SECONDS),
      PORT: String(await freePort()),
    };
    service = await startService(settings, { lifetime: 'file' });
  });

  afterEach(async () => {
    for (const program of programs) program.kill('SIGKILL');
    await Promise.all(programs.splice(0).map(({ exited }) => exited));
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  function started(python: string, args: readonly string[], cwd: string, more: Record<string, string> = {}) {
    const env = { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1', TASKBRIDGE_URL: service.url, ...more };
    const program = watched(spawn(python, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] }));
    programs.push(program);
    return program;
  }

  const logOf = async (taskId: string): Promise<readonly Event[]> => {
    const path = `/api/v1/tasks/${taskId}/events?waitTimeoutMs=0&maxEvents=500`;
    return (await new Client(service.url).request<{ events: Event[] }>('GET', path)).body.events;
  };

  describe('fastapi', () => {
    let url = '';

    async function open() {
      const folder = example('fastapi');
      const python = await pythonWithClient(join(folder, 'requirements.txt'));
      const port = String(await freePort());
      started(python, ['-m', 'uvicorn', 'app:app', '--port', port], folder);
      url = `http://127.0.0.1:${port}`;
      await eventually('it listens', async () => (await fetch(url).catch(() => undefined))?.ok);
    }

    const create = async (job: object, key = uniqueId()) => {
      const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
      const answer = await fetch(`${url}/jobs`, { method: 'POST', headers, body: JSON.stringify(job) });
      expect(answer.status).toBe(201);
      return (await answer.json()) as { taskId: string; token: string };
    };

    /** The events of a stream, at most `most`. Then the page is gone. */
    async function read(taskId: string, lastEventId?: string, most = Infinity): Promise<readonly Event[]> {
      const headers = { Accept: 'text/event-stream', ...(lastEventId && { 'Last-Event-ID': lastEventId }) };
      const answer = await fetch(`${url}/jobs/${taskId}/events`, { headers });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
      const events: Event[] = [];
      let text = '';
      for await (const piece of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        text += piece;
        const blocks = text.split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) {
          const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(block) ?? [];
          if (data === undefined) continue;
          events.push(JSON.parse(data) as Event);
          expect(events.at(-1)?.eventId).toBe(id);
          if (events.length >= most) return events;
        }
      }
      return events;
    }

    it('creates once, and passes a stream on from the Last-Event-ID of the page', async () => {
      await open();
      const key = uniqueId();
      const { taskId, token } = await create({ steps: 6, stepMs: 150 }, key);
      expect((await create({ steps: 6, stepMs: 150 }, key)).taskId).toBe(taskId);
      const first = await read(taskId, undefined, 3);
      const rest = await read(taskId, first.at(-1)?.eventId);
      const stored = await logOf(taskId);
      expect([...first, ...rest]).toEqual(stored);
      expect(stored.at(-1)?.type).toBe('TASK_COMPLETED');
      const end = { headers: { 'Last-Event-ID': String(stored.length) } };
      expect((await fetch(`${url}/jobs/${taskId}/events`, end)).status).toBe(204);
      const follow = `${service.url}/api/v1/tasks/${taskId}/events/stream?token=${token}`;
      expect(await (await fetch(follow)).text()).toContain('TASK_COMPLETED');
    }, 200_000);

    it('refuses as the service does, before the stream begins', async () => {
      await open();
      const { taskId } = await create({ steps: 1, stepMs: 1 });
      const answers = [
        await fetch(`${url}/jobs/${uniqueId()}/events`),
        await fetch(`${url}/jobs/${taskId}/events`, { headers: { 'Last-Event-ID': '99' } }),
        await fetch(`${url}/jobs/${taskId}/events`, { headers: { 'Last-Event-ID': 'x' } }),
      ];
      expect(answers.map(({ status }) => status)).toEqual([404, 409, 400]);
      const codes = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { code: string }).code));
      expect(codes).toEqual(['TASK_NOT_FOUND', 'CURSOR_AHEAD', 'INVALID_CURSOR']);
    });

    it('shows the page nothing of a service that is killed and started again', async () => {
      await open();
      const { taskId } = await create({ steps: 10, stepMs: 200 });
      const reading = read(taskId);
      await eventually('it has begun', async () => (await logOf(taskId)).length > 3);
      service.kill('SIGKILL');
      await service.exited;
      service = await startService(settings, { lifetime: 'file' });
      expect(await reading).toEqual(await logOf(taskId));
    }, 60_000);

    it('ends its stream at the service soon after the page is gone', async () => {
      await open();
      const { taskId } = await create({ steps: 40, stepMs: 100 });
      const streams = async () => {
        const text = await (await fetch(`${service.url}/metrics`)).text();
        return Number(/^taskbridge_streams_active\{transport="sse"\} (\d+)/m.exec(text)?.[1] ?? Number.NaN);
      };
      const before = await streams();
      const gone = new AbortController();
      const answer = await fetch(`${url}/jobs/${taskId}/events`, { signal: gone.signal });
      await answer.body?.getReader().read();
      await eventually('it is open', async () => (await streams()) > before);
      gone.abort();
      await eventually('it is closed', async () => (await streams()) === before);
    }, 60_000);
  });

  describe('langgraph-worker', () => {
    const folder = example('langgraph-worker');
    const start = async (more: Record<string, string> = {}) =>
      started(await pythonWithClient(join(folder, 'requirements.txt')), ['worker.py'], folder, {
        WORKER_TOKEN,
        ...more,
      });

    const answerYes = (taskId: string, actionType: string) =>
      eventually('the question is open', async () => {
        const { openSuspension } = (await client().snapshot(taskId)).body as unknown as {
          openSuspension?: { suspendId: string };
        };
        if (!openSuspension) return false;
        const action = { clientActionId: uniqueId(), suspendId: openSuspension.suspendId, actionType };
        return (await client().post(`/api/v1/tasks/${taskId}/actions`, action)).status === 202;
      });
    const client = () => new Client(service.url);
    const created = async () => {
      const body = { clientRequestId: uniqueId(), taskType: 'graph.report', input: { topic: 'tea' } };
      return (await client().create(body)).body.taskId;
    };
    const over = (taskId: string) =>
      eventually('it is over', async () => {
        const { body } = await client().snapshot(taskId);
        return body.status === 'COMPLETED' && (body as unknown as { result: unknown }).result;
      });
    const DRAFT = 'A draft about tea, by this outline: 1. What tea is. 2. Why it matters.';

    it('asks where the graph is interrupted, and goes on with the answer in another process', async () => {
      const first = await start();
      const taskId = await created();
      await eventually('it asks', async () => (await logOf(taskId)).some(({ type }) => type === 'TASK_SUSPENDED'));
      first.kill('SIGTERM');
      expect(await first.exited).toEqual({ code: 0, signal: null });
      const second = await start();
      await answerYes(taskId, 'approve');
      expect(await over(taskId)).toEqual({ approved: true, draft: DRAFT });
      expect([first.stdout(), second.stdout()]).toEqual(['ran outline\nran draft\n', 'ran publish\n']);
      const events = await logOf(taskId);
      expect(textsOf(events)['text']).toBe(DRAFT);
      expect(events.find(({ type }) => type === 'TASK_SUSPENDED')?.payload['interaction']).toEqual({
        question: 'Publish it?',
        draft: DRAFT,
      });
    }, 240_000);

    it('goes on at its last checkpoint after kill -9, and puts its text out once', async () => {
      const first = await start({ TOKEN_SECONDS: '0.3' });
      const taskId = await created();
      await eventually(
        'it writes',
        async () => (await logOf(taskId)).filter(({ type }) => type === 'TASK_OUTPUT').length > 2,
      );
      first.kill('SIGKILL');
      await first.exited;
      const second = await start();
      await answerYes(taskId, 'reject');
      expect(await over(taskId)).toEqual({ approved: false, draft: DRAFT });
      expect([first.stdout(), second.stdout()]).toEqual(['ran outline\nran draft\n', 'ran draft\nran publish\n']);
      expect(textsOf(await logOf(taskId))['text']).toBe(DRAFT);
    }, 90_000);
  });

  describe('python-notebook', () => {
    it('shows the progress, and finds its task when it is started again in the middle', async () => {
      const folder = example('python-notebook');
      const python = await pythonWithClient(join(folder, 'requirements.txt'));
      const STORE = await temporaryDirectory();
      const env = { STORE, STEP_MS: '150', PYTHONUNBUFFERED: '1', PYTHONIOENCODING: 'utf-8' };
      const first = started(python, ['progress.py'], folder, env);
      await eventually('it shows something', () => first.stdout().includes(' 25 %'));
      first.kill('SIGKILL');
      await first.exited;
      const second = started(python, ['progress.py'], folder, env);
      expect(await second.exited).toEqual({ code: 0, signal: null });
      expect(second.stdout().split('\n')[0]).toBe(first.stdout().split('\n')[0]);
      expect(second.stdout()).toContain(`${'█'.repeat(20)} 100 %`);
      expect(second.stdout().trim().split('\n').at(-1)).toMatch(/^\{/);
    }, 120_000);
  });

  it('and the README of the package work as they are written', async () => {
    const text = await readFile(join(pythonPackage, 'README.md'), 'utf8');
    const python = await pythonWithClient();
    const blocks = [...text.matchAll(/```python\n(.*?)```/gs)].map(([, code = '']) => code);
    expect(blocks.length).toBeGreaterThan(3);
    for (const block of blocks) {
      const code = block
        .replaceAll('http://127.0.0.1:3000', service.url)
        .replaceAll('a-token-for-workers-32-or-longer', WORKER_TOKEN);
      const isWorker = code.includes('worker.run()');
      const program = started(python, ['-c', code], await temporaryDirectory());
      if (isWorker) {
        const taskType = /@worker\.task\("([^"]+)"/.exec(code)?.[1] ?? '';
        const body = { clientRequestId: uniqueId(), taskType, input: { month: '2026-10' } };
        const { taskId } = (await new Client(service.url).create(body)).body;
        await eventually('it is done', async () =>
          (await logOf(taskId)).some(({ type }) => /COMPLETED|SUSPENDED/.test(type)),
        );
        program.kill('SIGTERM');
      }
      const { code: exit } = await program.exited;
      expect({ block, stderr: program.stderr(), exit }).toEqual({ block, stderr: '', exit: 0 });
    }
  }, 120_000);
});
