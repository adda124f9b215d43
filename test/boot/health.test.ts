import type { AddressInfo } from 'node:net';
import { type INestApplication, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Database } from '../../src/database/database.js';
import { TaskExecutor } from '../../src/tasks/ports/task-executor.js';
import {
  AlwaysReadyProbe,
  ExecutorReadinessProbe,
  PostgresReadinessProbe,
  RedisReadinessProbe,
} from '../../src/health/probes.js';
import { CompositeReadinessProbe } from '../../src/health/composite-readiness-probe.js';
import { HealthModule, type HealthOptions } from '../../src/health/health.module.js';
import { type Readiness, ReadinessProbe, readinessOf } from '../../src/health/readiness-probe.js';
import { DrainState } from '../../src/drain-state.js';
import { Log } from '../../src/observability/log.js';
import { MetricsSink, NoOpMetricsSink } from '../../src/observability/metrics-sink.js';
import { OpsGate } from '../../src/observability/ops-gate.js';
import { AttachmentStore } from '../../src/uploads/attachment-store.js';
import { Lines } from '../support/lines.js';
import { startRedis, type TestRedis } from '../support/redis.js';
import { eventually } from '../support/service.js';

/** Answers as its test says, and counts how often it is asked. */
class ScriptedProbe extends ReadinessProbe {
  asked = 0;

  constructor(public answer: () => Promise<unknown> = async () => {}) {
    super();
  }

  override checkReadiness(): Promise<Readiness> {
    this.asked += 1;
    return readinessOf('scripted', this.answer);
  }
}

const ready = () => new ScriptedProbe();
const notReady = () => new ScriptedProbe(() => Promise.reject(new Error('password of postgres is wrong')));
const hanging = () => new ScriptedProbe(() => new Promise(() => {}));

describe('The composite probe', () => {
  test('is ready when all are, and shows each by its name', async () => {
    const probe = new CompositeReadinessProbe({ postgres: ready(), redis: ready() });
    expect(await probe.checkReadiness()).toEqual({
      ready: true,
      details: { postgres: { status: 'ready' }, redis: { status: 'ready' } },
    });
  });

  test('is not ready when one is not, and says nothing but that', async () => {
    const probe = new CompositeReadinessProbe({ postgres: notReady(), redis: ready() });
    expect(await probe.checkReadiness()).toEqual({
      ready: false,
      details: { postgres: { status: 'not_ready' }, redis: { status: 'ready' } },
    });
  });

  test('does not wait for one that hangs, and does not ask it again meanwhile', async () => {
    const stuck = hanging();
    const probe = new CompositeReadinessProbe({ stuck }, { deadlineMilliseconds: 5, cacheMilliseconds: 0 });
    expect(await probe.checkReadiness()).toMatchObject({ ready: false, details: { stuck: { status: 'not_ready' } } });
    expect(await probe.checkReadiness()).toMatchObject({ ready: false });
    expect(stuck.asked).toBe(1);
  });

  test('survives one that throws', async () => {
    const broken = new (class extends ReadinessProbe {
      override checkReadiness(): Promise<Readiness> {
        throw new Error('broken');
      }
    })();
    const probe = new CompositeReadinessProbe({ broken }, { cacheMilliseconds: 0 });
    expect(await probe.checkReadiness()).toMatchObject({ ready: false });
    expect(await probe.checkReadiness()).toMatchObject({ ready: false });
  });

  test('asks once a second, however many ask it, and then notices a change', async () => {
    let time = 0;
    const postgres = ready();
    const probe = new CompositeReadinessProbe({ postgres }, { now: () => time });
    await Promise.all([probe.checkReadiness(), probe.checkReadiness()]);
    time = 999;
    await probe.checkReadiness();
    expect(postgres.asked).toBe(1);
    postgres.answer = notReady().answer;
    time = 1000;
    expect(await probe.checkReadiness()).toMatchObject({ ready: false });
    postgres.answer = async () => {};
    time = 2000;
    expect(await probe.checkReadiness()).toMatchObject({ ready: true });
    expect(postgres.asked).toBe(3);
  });

  test('shows a degraded part and stays ready', async () => {
    const probe = new CompositeReadinessProbe({ postgres: ready(), redis: notReady() }, { degraded: ['redis'] });
    expect(await probe.checkReadiness()).toEqual({
      ready: true,
      details: { postgres: { status: 'ready' }, redis: { status: 'not_ready' } },
    });
  });

  test('logs when a part is lost and regained, not each time', async () => {
    const log = new Lines();
    const postgres = notReady();
    const probe = new CompositeReadinessProbe({ postgres }, { cacheMilliseconds: 0, log });
    await probe.checkReadiness();
    await probe.checkReadiness();
    postgres.answer = async () => {};
    await probe.checkReadiness();
    await probe.checkReadiness();
    expect(log.events).toEqual(['readiness.lost', 'readiness.regained']);
  });
});

describe('A probe', () => {
  test('of PostgreSQL is ready when a statement is answered', async () => {
    const answers = new PostgresReadinessProbe({ query: async () => [] });
    const refuses = new PostgresReadinessProbe({ query: () => Promise.reject(new Error('gone')) });
    expect(await answers.checkReadiness()).toEqual({ ready: true, details: { postgres: { status: 'ready' } } });
    expect(await refuses.checkReadiness()).toMatchObject({
      ready: false,
      details: { postgres: { status: 'not_ready' } },
    });
  });

  test('of the executor is ready when work can be handed out', async () => {
    const answers = new ExecutorReadinessProbe({ checkHealth: async () => {} });
    const refuses = new ExecutorReadinessProbe({ checkHealth: () => Promise.reject(new Error('gone')) });
    expect(await answers.checkReadiness()).toEqual({ ready: true, details: { executor: { status: 'ready' } } });
    expect(await refuses.checkReadiness()).toMatchObject({
      ready: false,
      details: { executor: { status: 'not_ready' } },
    });
  });

  test('that is always ready is', async () => {
    expect(await new AlwaysReadyProbe().checkReadiness()).toEqual({ ready: true, details: {} });
  });
});

describe('The probe of Redis', () => {
  let redis: TestRedis;
  const probes = new Set<RedisReadinessProbe>();
  beforeEach(async () => {
    redis = await startRedis();
  });
  afterEach(async () => {
    for (const probe of probes) probe.onModuleDestroy();
    probes.clear();
    await redis.stop();
  });

  function probeOf(url: string): RedisReadinessProbe {
    const probe = new RedisReadinessProbe(url);
    probes.add(probe);
    return probe;
  }

  test('follows it as it goes and comes back', async () => {
    const probe = probeOf(redis.url);
    expect(await probe.checkReadiness()).toEqual({ ready: true, details: { redis: { status: 'ready' } } });
    await redis.kill();
    await eventually('it is not ready', async () => !(await probe.checkReadiness()).ready);
    expect(await probe.checkReadiness()).toMatchObject({ ready: false, details: { redis: { status: 'not_ready' } } });
    // The connection that broke says first that it broke.
    await eventually('it says why', async () => {
      const { cause } = await probe.checkReadiness();
      return (cause as { code?: string } | undefined)?.code === 'ECONNREFUSED';
    });
    await redis.restart({ keepData: false });
    expect(await probe.checkReadiness()).toMatchObject({ ready: true });
  });

  test('gives up a connection that does not answer, and makes another', async () => {
    const probe = probeOf(redis.url);
    expect(await probe.checkReadiness()).toMatchObject({ ready: true });
    redis.pause();
    expect(await probe.checkReadiness()).toMatchObject({ ready: false });
    redis.resume();
    await eventually('it is ready again', async () => (await probe.checkReadiness()).ready);
  });
});

describe('An application', () => {
  const open: INestApplication[] = [];
  afterEach(async () => {
    for (const app of open.splice(0)) await app.close();
  });

  /** What the service has around the module, as little as it needs. */
  async function start(
    options: Partial<HealthOptions> & {
      probe?: ReadinessProbe;
      postgres?: () => Promise<[]>;
      attachments?: () => Promise<void>;
    } = {},
  ) {
    const { probe, postgres = async () => [], attachments = async () => {}, ...health } = options;
    const providers = [
      DrainState,
      { provide: Log, useValue: new Lines() },
      { provide: OpsGate, useValue: new OpsGate(false) },
      { provide: MetricsSink, useClass: NoOpMetricsSink },
      { provide: Database, useValue: { query: postgres } },
      { provide: TaskExecutor, useValue: { checkHealth: async () => {} } },
      { provide: AttachmentStore, useValue: { checkHealth: attachments } },
      ...(probe ? [{ provide: ReadinessProbe, useValue: probe }] : []),
    ];
    @Module({})
    class AroundModule {}
    const around = { module: AroundModule, global: true, providers, exports: providers };
    const hosted = new Set(probe ? [ReadinessProbe] : []);
    @Module({ imports: [around, HealthModule.register({ readinessRedis: 'required', hosted, ...health })] })
    class TestModule {}
    const app = await NestFactory.create(TestModule, { logger: false });
    await app.listen(0, '127.0.0.1');
    open.push(app);
    const url = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
    return {
      app,
      get: async (path: string) => {
        const response = await fetch(url + path);
        return [response.status, await response.text()] as const;
      },
    };
  }

  test('is alive and ready', async () => {
    const { get } = await start();
    expect(await get('/health')).toEqual([200, '{"status":"ok"}']);
    expect(await get('/ready')).toEqual([
      200,
      '{"status":"ready","details":{"postgres":{"status":"ready"},"executor":{"status":"ready"}}}',
    ]);
  });

  test('is alive and not ready while PostgreSQL is gone, and tells nobody why', async () => {
    const { get } = await start({ postgres: () => Promise.reject(new Error('no route to db-7.internal')) });
    expect(await get('/health')).toEqual([200, '{"status":"ok"}']);
    expect(await get('/ready')).toEqual([
      503,
      '{"status":"not_ready","details":{"postgres":{"status":"not_ready"},"executor":{"status":"ready"}}}',
    ]);
  });

  test.each([
    ['required', 503, 'not_ready'],
    ['degraded', 200, 'ready'],
  ] as const)('without its Redis, when that is %s, answers %i', async (readinessRedis, status, word) => {
    // Port 1 is nobody's.
    const { get } = await start({ redisUrl: 'redis://127.0.0.1:1', readinessRedis });
    expect(await get('/ready')).toEqual([
      status,
      `{"status":"${word}","details":{"postgres":{"status":"ready"},"redis":{"status":"not_ready"},"executor":{"status":"ready"}}}`,
    ]);
  });

  test('shows that its attachments cannot be reached, and is not ready when they are elsewhere', async () => {
    const gone = { attachments: () => Promise.reject(new Error('bucket secret-bucket')) };
    const rest = '"postgres":{"status":"ready"},"executor":{"status":"ready"}';
    expect(await (await start({ ...gone, readinessAttachments: 'required' })).get('/ready')).toEqual([
      503,
      `{"status":"not_ready","details":{${rest},"attachments":{"status":"not_ready"}}}`,
    ]);
    expect(await (await start({ ...gone, readinessAttachments: 'shown' })).get('/ready')).toEqual([
      200,
      `{"status":"ready","details":{${rest},"attachments":{"status":"not_ready"}}}`,
    ]);
    expect(await (await start(gone)).get('/ready')).toEqual([200, `{"status":"ready","details":{${rest}}}`]);
  });

  test('is not ready from the moment it drains, and alive', async () => {
    const { app, get } = await start();
    app.get(DrainState).reach('announced');
    expect(await get('/health')).toEqual([200, '{"status":"ok"}']);
    const [status, body] = await get('/ready');
    expect([status, JSON.parse(body)]).toMatchObject([
      503,
      { status: 'not_ready', details: { service: { status: 'draining' } } },
    ]);
  });

  test("asks a host's probe instead, which may be ready, not ready, or broken", async () => {
    expect(await (await start({ probe: new AlwaysReadyProbe() })).get('/ready')).toEqual([
      200,
      '{"status":"ready","details":{}}',
    ]);
    const refusing = { checkReadiness: async () => ({ ready: false, details: { engine: { status: 'not_ready' } } }) };
    expect(await (await start({ probe: refusing })).get('/ready')).toEqual([
      503,
      '{"status":"not_ready","details":{"engine":{"status":"not_ready"}}}',
    ]);
    const broken = { checkReadiness: () => Promise.reject(new Error('secret')) };
    expect(await (await start({ probe: broken })).get('/ready')).toEqual([503, '{"status":"not_ready","details":{}}']);
  });
});
