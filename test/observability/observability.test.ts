import { execFile } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  Body,
  Controller,
  Get,
  type INestApplication,
  Module,
  NotFoundException,
  Param,
  Post,
  Res,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { Response } from 'express';
import { Registry } from 'prom-client';
import { correlation, storyOfRequest } from '../../src/http/request-story.js';
import { ErrorFilter } from '../../src/http/error.filter.js';
import { MethodNotAllowed, ServiceUnavailable, TooManyRequests } from '../../src/errors.js';
import { jsonEdge } from '../../src/http/json-edge.js';
import { AccessLog } from '../../src/observability/access-log.js';
import { boundedText } from '../../src/observability/bounded-text.js';
import {
  currentCorrelationId,
  currentStory,
  resumedStory,
  runInStory,
  storyFrom,
} from '../../src/observability/correlation.js';
import { createLogger, Log } from '../../src/observability/log.js';
import { MetricsSink, NoOpMetricsSink } from '../../src/observability/metrics-sink.js';
import { nestLogger } from '../../src/observability/nest-logger.js';
import { ObservabilityModule } from '../../src/observability/observability.module.js';
import { RecentLines } from '../../src/observability/recent-lines.js';
import { Observer } from '../../src/observability/observer.js';
import { PrometheusMetricsSink } from '../../src/observability/prometheus-metrics-sink.js';
import { BeforeScrape } from '../../src/observability/before-scrape.js';
import { PrometheusTransportDiagnosticsSink } from '../../src/observability/prometheus-transport-diagnostics-sink.js';
import {
  NoOpTransportDiagnosticsSink,
  TransportDiagnosticsSink,
} from '../../src/observability/transport-diagnostics-sink.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const TRACE_AS_UUID = '4bf92f35-77b3-4da6-a3ce-929d0e0e4736';
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

type Line = Record<string, unknown> & { readonly msg: string; readonly level: string };

function capturedLog(logLevel = 'info') {
  const lines: Line[] = [];
  const logger = createLogger({ logLevel }, { write: (line) => void lines.push(JSON.parse(line) as Line) });
  return { logger, lines };
}

describe('The log on a terminal', () => {
  /** What one line looks like there. */
  async function lineOnTerminal(before = ''): Promise<string> {
    const script = `${before}
      process.stdout.isTTY = true;
      const { createLogger } = await import('./src/observability/log.ts');
      createLogger({ logLevel: 'info' }).info({ url: 'x' }, 'service.listening');`;
    const flags = ['--import', './test/support/typescript-hooks.js', '--input-type=module', '--eval', script];
    const { stdout } = await promisify(execFile)(process.execPath, flags, {
      cwd: fileURLToPath(new URL('../../', import.meta.url)),
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    return stdout;
  }

  test('is for people', async () => {
    expect(await lineOnTerminal()).toMatch(/INFO.*: .*service\.listening/);
  });

  test('is JSON where pino-pretty is not installed', async () => {
    const line = await lineOnTerminal(`
      import { registerHooks } from 'node:module';
      registerHooks({
        resolve(name, context, next) {
          if (name !== 'pino-pretty') return next(name, context);
          throw Object.assign(new Error('not installed'), { code: 'MODULE_NOT_FOUND' });
        },
      });`);
    expect(JSON.parse(line)).toMatchObject({ level: 'info', msg: 'service.listening', url: 'x' });
  });
});

describe('A story', () => {
  test('takes its trace from a valid traceparent and shows it as a UUID', () => {
    expect(storyFrom(TRACEPARENT)).toEqual({
      correlationId: TRACE_AS_UUID,
      traceparent: TRACEPARENT,
      causationId: null,
    });
  });

  test.each([
    ['an upper-case id', TRACEPARENT.toUpperCase()],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['the invalid version ff', TRACEPARENT.replace(/^00/, 'ff')],
    ['members after the flags of version 00', `${TRACEPARENT}-more`],
    ['two headers that were joined', `${TRACEPARENT}, ${TRACEPARENT}`],
    ['an id that is too short', `00-${TRACE.slice(1)}-00f067aa0ba902b7-01`],
    ['nothing', ''],
  ])('has a trace of its own after %s', (_, header) => {
    const story = storyFrom(header);
    expect(story.correlationId).not.toBe(TRACE_AS_UUID);
    expect(story.correlationId).toMatch(UUID);
    expect(story.traceparent).toMatch(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00$/);
    expect(story.traceparent.slice(3, 35)).toBe(story.correlationId.replaceAll('-', ''));
  });

  test('reads what it knows of a later version', () => {
    expect(storyFrom(`01-${TRACE}-00f067aa0ba902b7-03-more`).traceparent).toBe(TRACEPARENT);
  });

  test('is known to everything that runs in it, and to nothing else', async () => {
    const story = storyFrom(undefined);
    await runInStory(story, async () => {
      await new Promise(setImmediate);
      expect(currentCorrelationId()).toBe(story.correlationId);
    });
    expect(currentStory()).toBeUndefined();
    expect(currentCorrelationId()).not.toBe(currentCorrelationId());
  });

  test('goes on from what was stored', () => {
    const stored = { correlationId: TRACE_AS_UUID, causationId: '7' };
    expect(resumedStory({ ...stored, traceparent: TRACEPARENT })).toEqual({ ...stored, traceparent: TRACEPARENT });
    expect(resumedStory(stored).traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
    expect(resumedStory({ ...stored, traceparent: 'nonsense' }).traceparent.slice(3, 35)).toBe(TRACE);
  });
});

describe('The observer', () => {
  const about = { principalId: 'alice' };

  function observed(logLevel = 'info') {
    const { logger, lines } = capturedLog(logLevel);
    const durations: unknown[] = [];
    class Durations extends NoOpMetricsSink {
      override observe(...observation: unknown[]) {
        durations.push(observation[0], observation[2]);
      }
    }
    return {
      observer: new Observer(logger, new Durations(), { useCaseLevel: 'info' } as never, new RecentLines()),
      lines,
      durations,
    };
  }

  test('logs start and success with all that is known, and returns the result', async () => {
    const { observer, lines, durations } = observed();
    const result = await runInStory(storyFrom(TRACEPARENT), () =>
      observer.command('create_task', { ...about, clientRequestId: 'r-1', transport: 'http' }, async (note) => {
        note({ taskId: 't-1', outcome: 'created' });
        return 42;
      }),
    );
    expect(result).toBe(42);
    const common = {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      correlation_id: TRACE_AS_UUID,
      causation_id: null,
      principal_id: 'alice',
      command_name: 'create_task',
      clientRequestId: 'r-1',
      transport: 'http',
    };
    expect(lines).toEqual([
      { ...common, msg: 'create_task.start' },
      {
        ...common,
        msg: 'create_task.success',
        taskId: 't-1',
        outcome: 'created',
        duration_ms: expect.any(Number),
      },
    ]);
    expect(durations).toEqual(['use_case_duration_seconds', { use_case: 'create_task', outcome: 'success' }]);
  });

  test('logs a refusal as denied, with its code, and throws it on', async () => {
    const { observer, lines, durations } = observed();
    const refusal = new MethodNotAllowed(['GET']);
    await expect(observer.query('list_tasks', about, () => Promise.reject(refusal))).rejects.toBe(refusal);
    expect(lines[1]).toMatchObject({
      msg: 'list_tasks.denied',
      level: 'info',
      query_name: 'list_tasks',
      outcome: 'denied',
      code: 'METHOD_NOT_ALLOWED',
    });
    expect(lines[1]).not.toHaveProperty('err');
    expect(durations[1]).toEqual({ use_case: 'list_tasks', outcome: 'denied' });
  });

  test('warns with the cause when something is unavailable', async () => {
    const { observer, lines } = observed();
    const work = () => Promise.reject(Object.assign(new ServiceUnavailable(1), { cause: new Error('ECONNREFUSED') }));
    await expect(observer.command('create_task', about, work)).rejects.toThrow();
    expect(lines[1]).toMatchObject({
      msg: 'create_task.denied',
      level: 'warn',
      err: { cause: { message: 'ECONNREFUSED' } },
    });
  });

  test('logs a fault as failed, with nothing of it but name, message, stack, code and causes', async () => {
    const { observer, lines } = observed();
    const fault = Object.assign(new TypeError('oh'), {
      code: 'E1',
      detail: 'Key (secret)=(1)',
      cause: new Error('why'),
    });
    await expect(observer.command('create_task', about, () => Promise.reject(fault))).rejects.toBe(fault);
    expect(lines[1]).toMatchObject({ msg: 'create_task.failed', level: 'error', outcome: 'failed' });
    expect(lines[1]?.['err']).toEqual({
      type: 'TypeError',
      message: 'oh',
      code: 'E1',
      stack: expect.stringContaining('TypeError: oh'),
      cause: { type: 'Error', message: 'why', stack: expect.any(String) },
    });
  });

  test('tells the story of the event that caused the command', async () => {
    const { observer, lines } = observed();
    await runInStory(resumedStory({ correlationId: TRACE_AS_UUID, causationId: '12' }), () =>
      observer.command('complete_attempt', about, async () => {}),
    );
    expect(lines.map((line) => [line['correlation_id'], line['causation_id']])).toEqual([
      [TRACE_AS_UUID, '12'],
      [TRACE_AS_UUID, '12'],
    ]);
  });

  test('gives work without a story one, the same for all its lines', async () => {
    const { observer, lines } = observed();
    const within = await observer.query('read_task', about, async () => currentCorrelationId());
    expect(lines.map((line) => line['correlation_id'])).toEqual([within, within]);
    expect(lines[0]?.['causation_id']).toBeNull();
  });

  test('is quiet about quiet commands that succeed, and not about the others', async () => {
    const { observer, lines } = observed();
    await observer.command('append_events', { ...about, quiet: true }, async () => {});
    expect(lines).toEqual([]);
    await observer
      .command('append_events', { ...about, quiet: true }, () => Promise.reject(new Error()))
      .catch(() => {});
    expect(lines.map((line) => line.msg)).toEqual(['append_events.failed']);
    const loud = observed('debug');
    await loud.observer.command('append_events', { ...about, quiet: true }, async () => {});
    expect(loud.lines.map((line) => line.level)).toEqual(['debug', 'debug']);
  });

  test("bounds and escapes a client's text", async () => {
    const { observer, lines } = observed();
    await observer.query('read_task', { principalId: 'a\u009b31m\u202e', taskId: 'x'.repeat(5000) }, async () => {});
    expect(lines[0]?.['principal_id']).toBe('a\\u{9b}31m\\u{202e}');
    expect((lines[0]?.['taskId'] as string).length).toBeLessThan(300);
  });
});

describe('Text in a log', () => {
  test('keeps letters of all scripts and loses what cannot be seen', () => {
    expect(boundedText('Grüße 你好 🙂')).toBe('Grüße 你好 🙂');
    expect(boundedText('a\nb\u2028c\ud800\u200b')).toBe('a\\u{a}b\\u{2028}c\\u{d800}\\u{200b}');
  });
});

describe('The logger of Nest and of hosts', () => {
  /** What `new Logger(context)` hands on to it, and the line that comes of it. */
  function lineOf(level: 'log' | 'warn' | 'error' | 'fatal' | 'debug' | 'verbose', ...said: unknown[]) {
    const { logger, lines } = capturedLog('trace');
    nestLogger(logger)[level](...said);
    expect(lines).toHaveLength(1);
    const { time, correlation_id, causation_id, ...line } = lines[0] as Line;
    expect([time, correlation_id, causation_id]).toEqual([expect.stringMatching(/Z$/), null, null]);
    return line;
  }

  test("writes Nest's words under the logger that said them, what it says of its start at debug level", () => {
    expect(lineOf('log', 'Starting Nest application...', 'NestFactory')).toEqual({
      level: 'debug',
      context: 'NestFactory',
      msg: 'Starting Nest application...',
    });
    expect(lineOf('warn', 'odd', 'Router')).toEqual({ level: 'warn', context: 'Router', msg: 'odd' });
    const stack = 'Error: broken\n    at x';
    expect(lineOf('error', 'broken', stack, 'Handler')).toEqual({
      level: 'error',
      context: 'Handler',
      msg: 'broken',
      stack,
    });
    expect(lineOf('error', new Error('thrown'), undefined, 'Handler')).toMatchObject({
      level: 'error',
      context: 'Handler',
      msg: 'thrown',
      err: { type: 'Error', message: 'thrown' },
    });
  });

  test.each([
    ['an object', [{ orderId: 7, items: [1, { deep: true }] }], { orderId: 7, items: [1, { deep: true }] }],
    ['a text and an object', ['placed', { orderId: 7 }], { msg: 'placed', orderId: 7 }],
    ['a text and two objects', ['placed', { orderId: 7 }, { shop: 'a' }], { msg: 'placed', orderId: 7, shop: 'a' }],
    ['a text and what belongs into it', ['took %d ms', 5], { msg: 'took 5 ms' }],
    ['a text and what has no place in it', ['took', 5, 'ms'], { msg: 'took 5 ms' }],
    ['an object with a text of its own', [{ msg: 'placed', orderId: 7 }], { msg: 'placed', orderId: 7 }],
    ['both', ['one', { msg: 'two' }], { msg: 'one', msg_: 'two' }],
    ['an error under another name', [{ error: new Error('no') }], { error: { type: 'Error', message: 'no' } }],
    ['what is no error as one', [{ err: 'no' }], { err_: 'no' }],
    [
      'fields that every line has',
      [{ level: 'gold', time: 5, context: 'c', correlation_id: 'x', causation_id: 'y' }],
      { level_: 'gold', time_: 5, context_: 'c', correlation_id_: 'x', causation_id_: 'y' },
    ],
    ['nothing', [undefined], {}],
    ['null', [null], { msg: 'null' }],
  ])('loses nothing of %s', (_, said, fields) => {
    const line = lineOf('log', ...said, 'Orders');
    expect(line).toMatchObject({ level: 'info', context: 'Orders', ...fields });
    expect(Object.keys(line).sort()).toEqual(['context', 'level', ...Object.keys(fields)].sort());
  });

  test('keeps an error beside a text, and writes no more of it than of any other', () => {
    const error = Object.assign(new Error('refused'), { password: 'secret' });
    const line = lineOf('error', 'cannot pay', error, { orderId: 7 }, 'Orders');
    expect(line).toMatchObject({ level: 'error', msg: 'cannot pay', orderId: 7, err: { message: 'refused' } });
    expect(JSON.stringify(line)).not.toContain('secret');
  });

  test.each([
    ['verbose', 'trace'],
    ['debug', 'debug'],
    ['log', 'info'],
    ['warn', 'warn'],
    ['error', 'error'],
    ['fatal', 'fatal'],
  ] as const)('writes %s at level %s', (method, level) => {
    expect(lineOf(method, 'text', 'Orders')).toEqual({ level, context: 'Orders', msg: 'text' });
  });

  test('escapes what a terminal would obey', () => {
    expect(lineOf('log', 'a\u009b31m\u202e', 'Orders').msg).toBe('a\\u{9b}31m\\u{202e}');
  });
});

describe('Metrics', () => {
  test('of two registries in a process count apart', async () => {
    const [one, other] = [new Registry(), new Registry()];
    const sink = new PrometheusMetricsSink(one);
    new PrometheusMetricsSink(other).increment('task_starts_total');
    sink.increment('task_starts_total');
    sink.increment('task_starts_total');
    expect(await one.getSingleMetricAsString('taskbridge_task_starts_total')).toMatch(/_total 2$/);
    expect(await other.getSingleMetricAsString('taskbridge_task_starts_total')).toMatch(/_total 1$/);
  });

  test('have the names and labels that dashboards know', async () => {
    const registry = new Registry();
    const metrics: MetricsSink = new PrometheusMetricsSink(registry);
    metrics.increment('actions_total', { status: 'ACCEPTED' });
    metrics.adjust('streams_active', 1, { transport: 'sse' });
    metrics.adjust('streams_active', 1, { transport: 'sse' });
    metrics.adjust('streams_active', -1, { transport: 'sse' });
    metrics.set('weak_setting', 1, { name: 'tracing_off' });
    metrics.set('oldest_non_terminal_age_seconds', 7);
    metrics.observe('claim_lag_seconds', 0.2);
    const text = await registry.metrics();
    expect(text).toContain('taskbridge_actions_total{status="ACCEPTED"} 1');
    expect(text).toContain('taskbridge_streams_active{transport="sse"} 1');
    expect(text).toContain('taskbridge_weak_setting{name="tracing_off"} 1');
    expect(text).toContain('taskbridge_oldest_non_terminal_age_seconds 7');
    expect(text).toContain('taskbridge_claim_lag_seconds_bucket{le="0.5"} 1');
    for (const name of ['task_starts', 'task_failures', 'duplicates', 'fallbacks', 'cancels']) {
      expect(text).toContain(`taskbridge_${name}_total 0`);
    }
  });

  test('of transports carry no ids', async () => {
    const registry = new Registry();
    const beforeScrape = new BeforeScrape();
    const diagnostics: TransportDiagnosticsSink = new PrometheusTransportDiagnosticsSink(registry, beforeScrape);
    const stream = { taskId: 'secret-task', transport: 'websocket' };
    diagnostics.replayStarted({ ...stream, afterEventId: null });
    diagnostics.delivered({ ...stream, events: 3, lastEventId: '3' });
    diagnostics.heartbeatSent(stream);
    diagnostics.holeHealed(stream);
    diagnostics.slowConsumer(stream);
    diagnostics.disconnected({ ...stream, reason: 'slow_consumer' });
    await beforeScrape.measure();
    const text = await registry.metrics();
    expect(text).toContain('taskbridge_replays_total 1');
    expect(text).toContain('taskbridge_events_delivered_total{transport="websocket"} 3');
    expect(text).toContain('taskbridge_heartbeats_total{transport="websocket"} 1');
    expect(text).toContain('taskbridge_live_log_gaps_healed_total 1');
    expect(text).toContain('taskbridge_slow_consumer_closes_total{transport="websocket"} 1');
    expect(text).toContain('taskbridge_disconnects_total{transport="websocket",reason="slow_consumer"} 1');
    expect(text).not.toContain('secret-task');
  });
});

@Controller('things')
class ThingsController {
  @Get(':id')
  read(@Param('id') id: string): object {
    if (id === 'busy') throw new TooManyRequests(1.2);
    if (id === 'gone') throw new NotFoundException('Cannot find secret.internal');
    if (id === 'fault') throw new Error('relation "secret" does not exist');
    return { correlationId: currentCorrelationId() };
  }

  @Get(':id/halfway')
  halfway(@Res() response: Response): void {
    response.writeHead(200).write('half');
    throw new Error('halfway');
  }

  @Post()
  write(@Body() body: object): object {
    return { body, correlationId: currentCorrelationId() };
  }
}

describe('An application', () => {
  const open: INestApplication[] = [];
  afterEach(async () => {
    for (const app of open.splice(0)) await app.close();
  });

  async function start(hosted = new Map<abstract new () => unknown, unknown>()) {
    const { logger, lines } = capturedLog();
    const observability = ObservabilityModule.register({
      config: { logLevel: 'info', otelExporter: 'none', useCaseLevel: 'info' },
      logger,
      hosted: new Set(hosted.keys()),
      registry: new Registry(),
    });
    const providers = [...hosted].map(([provide, useValue]) => ({ provide, useValue }));
    @Module({})
    class HostModule {}
    const host = { module: HostModule, global: true, providers, exports: providers };
    @Module({ imports: [observability, host], controllers: [ThingsController] })
    class TestModule {}
    const app = await NestFactory.create(TestModule, { logger: nestLogger(logger), bodyParser: false });
    app.use(correlation);
    app.use(app.get(AccessLog).middleware);
    app.use(jsonEdge({ maxBytes: 100 }));
    app.useGlobalFilters(new ErrorFilter(app.get(Log)));
    await app.listen(0, '127.0.0.1');
    open.push(app);
    return { app, lines, url: `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}` };
  }

  /** The line of a request is written when its connection is done with it, which the client may learn first. */
  async function accessLine(lines: readonly Line[]): Promise<Line> {
    for (;;) {
      const line = lines.find(({ msg }) => msg.startsWith('http_request.') && msg !== 'http_request.failed');
      if (line) return line;
      await new Promise(setImmediate);
    }
  }

  test('answers in the story of the request, also behind the body, and says so in one line', async () => {
    const { url, lines } = await start();
    const response = await fetch(`${url}/things?secret=1`, {
      method: 'POST',
      headers: { traceparent: TRACEPARENT, 'content-type': 'application/json' },
      body: '{"a":1}',
    });
    expect(response.headers.get('x-correlation-id')).toBe(TRACE_AS_UUID);
    expect(await response.json()).toEqual({ body: { a: 1 }, correlationId: TRACE_AS_UUID });
    expect(await accessLine(lines)).toMatchObject({
      msg: 'http_request.completed',
      correlation_id: TRACE_AS_UUID,
      method: 'POST',
      route: '/things',
      status: 201,
    });
    expect(lines).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain('secret');
  });

  test.each([
    ['GET', '/things/busy', 429, 'TOO_MANY_REQUESTS', { 'retry-after': '2' }],
    ['GET', '/things/gone', 404, 'NOT_FOUND', {}],
    ['GET', '/nowhere', 404, 'NOT_FOUND', {}],
    ['DELETE', '/things/1', 405, 'METHOD_NOT_ALLOWED', { allow: 'GET, HEAD' }],
    ['PUT', '/things', 405, 'METHOD_NOT_ALLOWED', { allow: 'POST' }],
    ['GET', '/things/%E0%A4%A', 400, 'INVALID_REQUEST', {}],
    ['GET', '/things/fault', 500, 'INTERNAL_ERROR', {}],
  ])('answers %s %s with %i %s in the one shape', async (method, path, status, code, headers) => {
    const { url, lines } = await start();
    const response = await fetch(url + path, { method });
    const text = await response.text();
    expect([response.status, response.headers.get('content-type')]).toEqual([
      status,
      'application/json; charset=utf-8',
    ]);
    expect(Object.fromEntries(response.headers)).toMatchObject(headers);
    expect(JSON.parse(text)).toEqual({
      code,
      message: expect.any(String),
      details: expect.any(Object),
      timestamp: expect.stringMatching(/Z$/),
      correlationId: response.headers.get('x-correlation-id'),
    });
    expect(text).not.toContain('secret');
    const failed = lines.filter(({ msg }) => msg === 'http_request.failed');
    expect(failed.map(({ level, correlation_id }) => [level, correlation_id])).toEqual(
      status === 500 ? [['error', response.headers.get('x-correlation-id')]] : [],
    );
  });

  test('answers what a middleware refuses in the same shape', async () => {
    const { url } = await start();
    const headers = { 'content-type': 'application/json' };
    const broken = await fetch(`${url}/things`, { method: 'POST', headers, body: '{' });
    expect([broken.status, await broken.json()]).toMatchObject([400, { code: 'INVALID_REQUEST' }]);
    const large = await fetch(`${url}/things`, { method: 'POST', headers, body: JSON.stringify('x'.repeat(200)) });
    expect([large.status, await large.json()]).toMatchObject([413, { code: 'PAYLOAD_TOO_LARGE' }]);
  });

  test('cuts off an answer that failed halfway', async () => {
    const { url, lines } = await start();
    const response = await fetch(`${url}/things/1/halfway`);
    await expect(response.text()).rejects.toThrow();
    expect(await accessLine(lines)).toMatchObject({ msg: 'http_request.aborted', status: 200 });
  });

  test('publishes its metrics, and neither counts nor logs that it does', async () => {
    const { app, url, lines } = await start();
    await (await fetch(`${url}/things/1?q=1`)).text();
    app.get(MetricsSink).increment('duplicates_total');
    await accessLine(lines);
    await (await fetch(`${url}/metrics`)).text();
    const response = await fetch(`${url}/metrics`);
    const text = await response.text();
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain('taskbridge_duplicates_total 1');
    expect(text).toContain(
      'taskbridge_http_request_duration_seconds_count{method="GET",route="/things/:id",status="200"} 1',
    );
    expect(text).toContain('nodejs_eventloop_lag_seconds');
    expect(text).not.toContain('route="/metrics"');
    expect(lines).toHaveLength(1);
  });

  test('beside another one in the process counts apart', async () => {
    const [one, other] = [await start(), await start()];
    one.app.get(MetricsSink).increment('cancels_total');
    expect(await (await fetch(`${one.url}/metrics`)).text()).toContain('taskbridge_cancels_total 1');
    expect(await (await fetch(`${other.url}/metrics`)).text()).toContain('taskbridge_cancels_total 0');
  });

  test("uses a host's sinks", async () => {
    const metrics = new NoOpMetricsSink();
    const diagnostics = new NoOpTransportDiagnosticsSink();
    const { app } = await start(
      new Map<abstract new () => unknown, unknown>([
        [MetricsSink, metrics],
        [TransportDiagnosticsSink, diagnostics],
      ]),
    );
    expect(app.get(MetricsSink)).toBe(metrics);
    expect(app.get(TransportDiagnosticsSink)).toBe(diagnostics);
  });

  test('knows the story of an upgrade that no middleware sees', async () => {
    const { app, url } = await start();
    const upgraded = once(app.getHttpServer(), 'upgrade');
    const { request } = await import('node:http');
    const headers = { connection: 'Upgrade', upgrade: 'websocket', traceparent: TRACEPARENT };
    const client = request(`${url}/api/v1/tasks/ws`, { headers }).on('error', () => {});
    client.end();
    const [req, socket] = await upgraded;
    expect(storyOfRequest(req)).toMatchObject({ correlationId: TRACE_AS_UUID });
    expect(storyOfRequest(req)).toBe(storyOfRequest(req));
    socket.destroy();
  });
});
