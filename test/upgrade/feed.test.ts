import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client, uniqueId } from '../support/client.js';
import { PollingReader, SseReader } from '../support/follow-changes.js';
import { eventually, type Service } from '../support/service.js';
import { BUILD_MS } from './release-0.1.0.js';
import { Stage } from './stage.js';

/** While a replica of 0.1.0 lives, PostgreSQL is asked each second. */
const LATEST_MS = 20_000;

describe('A feed beside a replica of 0.1.0', () => {
  let stage: Stage;
  let old: Service;
  let service: Service;

  beforeAll(async () => {
    stage = await Stage.start();
    await stage.migrate('new');
    [old, service] = await Promise.all([stage.replica('old'), stage.replica('new')]);
  }, BUILD_MS);
  afterAll(async () => {
    await Promise.all([old.stop(), service.stop()]);
    await stage.stop();
  });

  it('has what the older replica creates, runs and cancels, and is no feature of both', async () => {
    const client = new Client(service.url, uniqueId('owner'));
    const older = new Client(old.url, client.principal);
    const readers = [new SseReader(service.url, client.headers), new PollingReader(service.url, client.headers)];
    for (const reader of readers) await reader.connect();
    const create = (taskType: string) => older.create({ clientRequestId: uniqueId(), taskType });
    const { taskId } = (await create('nobody.claims')).body;
    for (const reader of readers) {
      await reader.until('the create comes', () => reader.states[taskId] === 'ACCEPTED', LATEST_MS);
    }
    await older.cancel(taskId);
    const ran = (await create('demo.echo')).body.taskId;
    for (const reader of readers) {
      await reader.until('the end comes', () => reader.states[taskId] === 'CANCELLED', LATEST_MS);
      await reader.until('the other comes', () => reader.states[ran] === 'COMPLETED', LATEST_MS);
      reader.drop();
    }
    expect((await client.request<{ features: string[] }>('GET', '/api/v1')).body.features).toEqual([]);
    expect((await older.request('GET', '/api/v1/tasks/changes')).status).toBeGreaterThanOrEqual(400);
  }, 60_000);

  it('goes on when that replica is gone', async () => {
    const client = new Client(service.url, uniqueId('owner'));
    await old.stop();
    await eventually('the feed is a feature', async () =>
      (await client.request<{ features: string[] }>('GET', '/api/v1')).body.features.includes('feed'),
    );
    const reader = new SseReader(service.url, client.headers);
    await reader.connect();
    const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType: 'nobody.claims' })).body;
    await reader.until('the create comes', () => reader.states[taskId] === 'ACCEPTED', LATEST_MS);
    reader.drop();
  }, 60_000);
});
