import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, newPrincipal, uniqueId } from '../support/client.js';
import { followWebSocket } from '../support/follow.js';
import {
  eventually,
  processesIn,
  runToExit,
  type Service,
  startEmbedded,
  temporaryDirectory,
} from '../support/service.js';

describe('The service without any settings but PORT and DATA_DIR', () => {
  const { principal } = newPrincipal('');
  const clientOf = (service: Service) => new Client(service.url, principal);

  const greeted = async (service: Service): Promise<string> => {
    const body = { clientRequestId: uniqueId(), taskType: 'demo.greet', input: { name: 'Ada', stepMs: 1 } };
    const { taskId } = (await clientOf(service).create(body)).body;
    await followWebSocket(service.url, taskId, null, clientOf(service).headers).end();
    return taskId;
  };

  /** What a refused start says to a person; its log lines are on the standard output. */
  const refusal = async (env: Record<string, string>) => {
    const run = await runToExit(env);
    return { ...run, lines: run.stderr.split('\n').filter((line) => line !== '') };
  };

  describe('on its first start', () => {
    let directory: string;
    let service: Service;

    beforeAll(async () => {
      directory = await temporaryDirectory();
      service = await startEmbedded(directory, {}, { lifetime: 'file' });
    });

    it('is ready within 10 s', () => {
      expect(service.readyAfterMs).toBeLessThan(10_000);
    });

    it('listens on the loopback address and says where', () => {
      expect(service.url).toMatch(/^http:\/\/(127\.0\.0\.1|localhost):\d+$/);
    });

    it('runs a demo task to its completion', async () => {
      const taskId = await greeted(service);
      expect((await clientOf(service).snapshot(taskId)).body).toMatchObject({ status: 'COMPLETED', headEventId: '5' });
    });

    it('says that it is ready', async () => {
      const answer = await clientOf(service).request('GET', '/ready');
      expect([answer.status, answer.body]).toEqual([200, expect.objectContaining({ status: 'ready' })]);
    });

    it('refuses a second start on its directory with one line that names DATA_DIR', async () => {
      const second = await refusal({ DATA_DIR: directory });
      expect(second).toMatchObject({ code: expect.any(Number), listened: false });
      expect(second.code).not.toBe(0);
      expect(second.lines).toEqual([expect.stringContaining('DATA_DIR')]);
    });

    it('goes on serving after that', async () => {
      await greeted(service);
    });

    it('refuses a busy port with one line that names PORT, and leaves no process', async () => {
      const other = await temporaryDirectory();
      const busy = createServer().listen(0, '127.0.0.1');
      await eventually('the port is taken', () => busy.listening);
      const run = await refusal({ DATA_DIR: other, PORT: String((busy.address() as AddressInfo).port) });
      busy.close();
      expect(run.code).not.toBe(0);
      expect(run.lines).toEqual([expect.stringMatching(/^PORT\b/)]);
      await eventually('no process is left', async () => (await processesIn(other)).length === 0);
    });

    it('refuses a directory that it cannot write with one line that names DATA_DIR', async () => {
      const file = join(await temporaryDirectory(), 'file');
      await writeFile(file, '');
      const run = await refusal({ DATA_DIR: join(file, 'data') });
      expect(run.code).not.toBe(0);
      expect(run.lines).toEqual([expect.stringContaining('DATA_DIR')]);
    });
  });

  describe.each(['SIGTERM', 'SIGINT'] as const)('on %s', (signal) => {
    it('exits with 0, leaves no PostgreSQL, and complains of nothing', async () => {
      const directory = await temporaryDirectory();
      const service = await startEmbedded(directory);
      expect((await processesIn(directory)).length).toBeGreaterThan(0);
      // The creates open many connections, which the stop has to close.
      const body = () => ({ clientRequestId: uniqueId(), taskType: 'demo.greet', input: {} });
      await Promise.all(Array.from({ length: 25 }, () => clientOf(service).create(body())));
      service.kill(signal);
      expect(await service.exited).toEqual({ code: 0, signal: null });
      expect(await processesIn(directory)).toEqual([]);
      expect(service.stdout()).not.toContain('database.connection_lost');
    });
  });

  describe('killed with SIGKILL', () => {
    let directory: string;
    let doneId: string;
    let openId: string;
    let goneWithinMs: number;
    let firstReadyAfterMs: number;
    let restarted: Service;

    beforeAll(async () => {
      directory = await temporaryDirectory();
      const service = await startEmbedded(directory);
      firstReadyAfterMs = service.readyAfterMs;
      doneId = await greeted(service);
      const body = { clientRequestId: uniqueId(), taskType: 'demo.sleep', input: { ms: 600_000 } };
      openId = (await clientOf(service).create(body)).body.taskId;
      await eventually('it runs', async () => (await clientOf(service).snapshot(openId)).body.status === 'RUNNING');
      service.kill('SIGKILL');
      const killedAt = Date.now();
      await eventually('PostgreSQL is gone', async () => (await processesIn(directory)).length === 0);
      goneWithinMs = Date.now() - killedAt;
      restarted = await startEmbedded(directory, {}, { lifetime: 'file' });
    }, 60_000);

    afterAll(async () => {
      await restarted.stop();
    });

    it('leaves no PostgreSQL after 3 s', () => {
      expect(goneWithinMs).toBeLessThan(3_000);
    });

    // Compared with a figure of the same machine in the same minute, because an absolute figure depends on its load.
    it('is ready again sooner than it was the first time', () => {
      expect(restarted.readyAfterMs).toBeLessThan(firstReadyAfterMs);
    });

    it('keeps every task', async () => {
      const { body } = await clientOf(restarted).list();
      expect(body.items.map(({ taskId }) => taskId)).toEqual([openId, doneId]);
    });

    it('retries at once the task that was running: nobody else can hold it', async () => {
      const reader = followWebSocket(restarted.url, openId, '1', clientOf(restarted).headers);
      await reader.waitFor(({ events }) => events.length > 0, 5_000);
      reader.close();
      expect(JSON.parse(reader.events[0]?.raw ?? '')).toMatchObject({
        type: 'TASK_RETRYING',
        eventId: '2',
        payload: { attempt: 2, supersedesAfterEventId: '1' },
      });
      await eventually(
        'the second attempt',
        async () => (await clientOf(restarted).snapshot(openId)).body.attempt === 2,
      );
    });

    it('keeps the answer to a repeated create', async () => {
      const { clientRequestId } = (await clientOf(restarted).snapshot(openId)).body;
      const repeat = await clientOf(restarted).create({
        clientRequestId,
        taskType: 'demo.sleep',
        input: { ms: 600_000 },
      });
      expect([repeat.status, repeat.body.taskId]).toEqual([200, openId]);
    });

    it('starts at once again, while the PostgreSQL of the killed one still dies', async () => {
      const other = await temporaryDirectory();
      const first = await startEmbedded(other);
      const taskId = await greeted(first);
      first.kill('SIGKILL');
      await first.exited;
      const second = await startEmbedded(other);
      const { status } = await clientOf(second).snapshot(taskId);
      await second.stop();
      expect(status).toBe(200);
    }, 60_000);
  });
});
