import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { REQUESTS } from '#protocol/requests.js';
import { AuthContextResolver } from '../../src/auth/auth-context-resolver.js';
import { createApplication } from '../../src/boot/application.js';
import { readConfig } from '../../src/boot/config.js';
import { openApi } from '../../src/boot/open-api.js';
import { Database } from '../../src/database/database.js';
import { createPool } from '../../src/database/pool.js';
import { LiveLog } from '../../src/tasks/ports/live-log.js';
import { TaskExecutor } from '../../src/tasks/ports/task-executor.js';
import { WorkerTokenGuard } from '../../src/execution/worker-api/worker-token.guard.js';
import { ReadinessProbe } from '../../src/health/readiness-probe.js';
import { createLogger } from '../../src/observability/log.js';
import { MetricsSink } from '../../src/observability/metrics-sink.js';
import { TransportDiagnosticsSink } from '../../src/observability/transport-diagnostics-sink.js';
import { OwnershipPolicy } from '../../src/ownership/ownership-policy.js';
import { AttachmentStore } from '../../src/uploads/attachment-store.js';
import { UploadPolicy } from '../../src/uploads/upload-policy.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { handlersOf, nameOf, type Route } from '../support/routes.js';
import { temporaryDirectory } from '../support/service.js';

const WORKER_TOKEN = 'a-worker-token-of-more-than-32-characters';
const PROXY_SECRET = 'a-proxy-secret-of-more-than-32-characters';
const SOME_ID = '01890000-0000-7000-8000-000000000000';

/** Whatever else is public has a credential of its own. */
const PUBLIC_ROUTES = ['GET /', 'GET /asyncapi.json', 'GET /health', 'GET /metrics', 'GET /ready'];
/** What the description of the HTTP API leaves out: the description of the WebSocket, pages, and what is for machines of the operator. */
const NOT_DESCRIBED = ['GET /', 'GET /asyncapi.json', 'GET /console', 'GET /console/*path', 'GET /metrics'];

let test: TestDatabase;
let database: Database;
let app: NestExpressApplication;
let url: string;

beforeAll(async () => {
  test = await createTestDatabase();
  const config = readConfig({
    DATABASE_URL: test.appUrl,
    DATA_DIR: await temporaryDirectory(),
    LOG_LEVEL: 'silent',
    EXECUTOR: 'inline,worker',
    WORKER_TOKENS: WORKER_TOKEN,
    REQUIRE_AUTHENTICATED_PRINCIPAL: 'true',
    AUTH_PROXY_SECRET: PROXY_SECRET,
  });
  database = new Database(createPool(test.appUrl, { max: 2 }));
  const host = { modules: [], hosted: new Set<never>() };
  app = await createApplication({ config, database, logger: createLogger(config.observability), host });
  await app.listen(0, '127.0.0.1');
  url = `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}`;
});

afterAll(async () => {
  await app.close();
  await database.stop();
  await test.drop();
});

/** What answers, by the router itself; without the description of the API and its pages. */
function routes(): Route[] {
  type Layer = { readonly route?: { readonly path: string; readonly methods: Readonly<Record<string, boolean>> } };
  const { router } = app.getHttpAdapter().getInstance() as unknown as {
    readonly router: { readonly stack: readonly Layer[] };
  };
  return router.stack
    .flatMap(({ route }) =>
      route ? Object.keys(route.methods).map((method) => ({ method: method.toUpperCase(), path: route.path })) : [],
    )
    .filter(({ path }) => path !== '/openapi.json' && !path.startsWith('/docs'));
}

function request({ method, path }: Route, headers: Record<string, string>, body?: unknown): Promise<Response> {
  return fetch(url + path.replace(/:\w+/g, SOME_ID), {
    method,
    headers: { ...(body !== undefined && { 'Content-Type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

const SCOPES = 'tasks:read tasks:write tasks:admin tasks:operate';
const CREDENTIALS = {
  'X-Principal-Id': 'somebody',
  'X-Principal-Scopes': SCOPES,
  'X-Auth-Proxy-Secret': PROXY_SECRET,
  Authorization: `Bearer ${WORKER_TOKEN}`,
};

describe('The module graph', () => {
  const PORTS: readonly (abstract new (...args: never) => object)[] = [
    AuthContextResolver,
    OwnershipPolicy,
    UploadPolicy,
    AttachmentStore,
    LiveLog,
    TaskExecutor,
    ReadinessProbe,
    MetricsSink,
    TransportDiagnosticsSink,
  ];

  it.each(PORTS.map((port) => [port.name, port] as const))('has an adapter for %s', (_, port) => {
    expect(app.get(port)).toBeInstanceOf(port);
  });

  it('validates the body of every route that takes one: an unknown member is refused', async () => {
    // The body of a file is its bytes.
    const isFile = ({ path }: { readonly path: string }) => path === '/worker/v1/tasks/:taskId/attachments';
    const taken = routes().filter((route) => route.method === 'POST' && !isFile(route));
    for (const route of taken) {
      const answer = await request(route, CREDENTIALS, { surprise: true });
      const { details } = (await answer.json()) as { details: { errors?: readonly object[] } };
      expect({ route: nameOf(route), status: answer.status, errors: details.errors }).toEqual({
        route: nameOf(route),
        status: 422,
        errors: expect.arrayContaining([{ path: 'surprise', message: 'is not a known member' }]),
      });
    }
    expect(taken.length).toBeGreaterThan(10);
  });

  it('validates the query of every route: an unknown parameter is refused', async () => {
    for (const route of routes().filter(({ path }) => path.startsWith('/api/'))) {
      const answer = await request({ ...route, path: `${route.path}?surprise=1` }, CREDENTIALS);
      expect(`${nameOf(route)} ${answer.status}`).toBe(`${nameOf(route)} 400`);
      await answer.arrayBuffer();
    }
  });

  it.each(['filename=%ff', 'filename=%ED%A0%80', 'clientRequestId=%', 'filename=a&%c3=1'])(
    'refuses the query %s, which is no UTF-8',
    async (query) => {
      for (const { method, path } of [
        { method: 'GET', path: '/api/v1/tasks' },
        { method: 'POST', path: '/worker/v1/tasks/:taskId/attachments' },
      ] as const) {
        const answer = await request({ method, path: `${path}?${query}` }, CREDENTIALS);
        const { message } = (await answer.json()) as { message: string };
        expect([answer.status, message]).toEqual([400, 'The query must be UTF-8, and percent-encoded.']);
      }
    },
  );
});

describe('Every route', () => {
  it('is one that a controller declares', () => {
    expect(routes().map(nameOf).sort()).toEqual(handlersOf(app).map(nameOf).sort());
  });

  it('demands a scope, or says that it is public', () => {
    const undecided = handlersOf(app).filter(({ scope, isPublic }) => (scope !== undefined) === isPublic);
    expect(undecided.map(nameOf)).toEqual([]);
  });

  it('that is public tells nothing of a task, or has a credential of its own', () => {
    const open = handlersOf(app).filter(({ isPublic, guards }) => isPublic && !guards.includes(WorkerTokenGuard));
    expect(open.map(nameOf).sort()).toEqual(PUBLIC_ROUTES);
  });

  it('refuses requests without a principal', async () => {
    for (const route of routes().filter((one) => !PUBLIC_ROUTES.includes(nameOf(one)))) {
      const answer = await request(route, {});
      expect(`${nameOf(route)} ${answer.status}`).toBe(`${nameOf(route)} 401`);
      await answer.arrayBuffer();
    }
  });
});

interface Operation {
  readonly operationId: string;
  readonly security?: readonly object[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly responses: Readonly<Record<string, { readonly description?: unknown }>>;
}

interface OpenApi {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, object>>;
    readonly securitySchemes: Readonly<Record<string, object>>;
  };
}

describe('The description of the API', () => {
  let document: OpenApi;
  let operations: { readonly name: string; readonly path: string; readonly operation: Operation }[];

  beforeAll(async () => {
    document = (await (await fetch(`${url}/openapi.json`)).json()) as OpenApi;
    operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({
        name: `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`,
        path,
        operation,
      })),
    );
  });

  /** Every object and list in it, wherever. */
  function* nodes(value: unknown = document): Generator<Readonly<Record<string, unknown>>> {
    if (typeof value !== 'object' || value === null) return;
    yield value as Readonly<Record<string, unknown>>;
    for (const member of Object.values(value)) yield* nodes(member);
  }

  it('is OpenAPI 3.1 with a title and a version', () => {
    const text = expect.stringMatching(/./);
    expect(document).toMatchObject({
      openapi: expect.stringMatching(/^3\.1\.\d+$/),
      info: { title: text, version: text },
    });
  });

  it('lists exactly the routes of the router, but for those it leaves out on purpose', () => {
    const listed = routes()
      .map(nameOf)
      .filter((name) => !NOT_DESCRIBED.includes(name));
    expect(operations.map(({ name }) => name).sort()).toEqual(listed.sort());
  });

  it('has an id of its own for every operation: a verb and a noun', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[a-z]+[A-Z][a-z]+$/.test(id))).toEqual([]);
  });

  it('names its schemas by what they are, and each is used', () => {
    const used = new Set([...nodes()].map((node) => String(node['$ref']).split('/').at(-1)));
    const names = Object.keys(document.components.schemas);
    expect(names.filter((name) => /Dto$/.test(name) || !used.has(name))).toEqual([]);
    expect(names).toEqual(expect.arrayContaining(['CreateTask', 'TaskSnapshot', 'TaskEvent', 'EventPage', 'Error']));
  });

  it('closes the bodies of requests, and leaves answers open for members to come', () => {
    const closed = Object.entries(document.components.schemas)
      .filter(([, schema]) => 'additionalProperties' in schema && schema.additionalProperties === false)
      .map(([name]) => name);
    expect(closed.sort()).toEqual(
      Object.entries(REQUESTS)
        .filter(([, schema]) => 'properties' in (schema as object))
        .map(([name]) => name)
        .sort(),
    );
  });

  it('says what proves a caller', () => {
    const { securitySchemes } = document.components;
    expect(Object.keys(securitySchemes).sort()).toEqual([
      'followToken',
      'followTokenInQuery',
      'leaseToken',
      'principal',
      'proxySecret',
      'workerToken',
    ]);
    for (const { name, operation } of operations) {
      const expected = PUBLIC_ROUTES.includes(name)
        ? []
        : name.includes('/worker/')
          ? [{ workerToken: [] }]
          : expect.arrayContaining([
              { principal: [expect.stringMatching(/^tasks:(read|write|admin|operate)$/)], proxySecret: [] },
            ]);
      expect([name, operation.security]).toEqual([name, expected]);
    }
  });

  it.each([
    [
      'a proxy that has to prove itself',
      { requireAuthenticatedPrincipal: true, proxySecrets: ['s'], followTokenKeys: [] },
      [['principal', 'proxySecret']],
    ],
    [
      'callers without a principal',
      { requireAuthenticatedPrincipal: false, proxySecrets: [], followTokenKeys: [] },
      [['principal'], []],
    ],
    [
      'both',
      { requireAuthenticatedPrincipal: false, proxySecrets: ['s'], followTokenKeys: [] },
      [['principal', 'proxySecret'], []],
    ],
  ])('says of a service with %s how callers come in', (_, auth, ways) => {
    const security = openApi(app, auth).paths['/api/v1/tasks']?.post?.security ?? [];
    expect(security.map((way) => Object.keys(way))).toEqual(ways);
  });

  it('declares the parameters of every path, and no others in it', () => {
    for (const { name, path, operation } of operations) {
      const declared = (operation.parameters ?? []).filter(
        (parameter) => parameter.in === 'path' && parameter.required,
      );
      const used = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
      expect([name, declared.map((parameter) => parameter.name).sort()]).toEqual([name, used.sort()]);
    }
  });

  it('declares no parameter twice', () => {
    for (const { name, operation } of operations) {
      const keys = (operation.parameters ?? []).map((parameter) => `${name}: ${parameter.in} ${parameter.name}`);
      expect(keys).toEqual([...new Set(keys)]);
    }
  });

  it('says for every operation what it answers when it succeeds, and when it does not', () => {
    const operational = ['GET /health', 'GET /ready'];
    for (const { name, operation } of operations) {
      const statuses = Object.keys(operation.responses);
      const has = (pattern: RegExp) => statuses.some((status) => pattern.test(status));
      expect({ name, success: has(/^2\d\d$/), refusal: operational.includes(name) || has(/^4\d\d$/) }).toEqual({
        name,
        success: true,
        refusal: true,
      });
      for (const { description } of Object.values(operation.responses)) expect(typeof description).toBe('string');
    }
  });

  it('refers to nothing that it does not have', () => {
    const references = [...nodes()].flatMap((node) => (typeof node['$ref'] === 'string' ? [node['$ref']] : []));
    const missing = references.filter((reference) => {
      const path = reference.replace(/^#\//, '').split('/');
      return (
        path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document) === undefined
      );
    });
    expect(missing).toEqual([]);
    expect(references.length).toBeGreaterThan(0);
  });

  it('has schemas that are JSON Schema 2020-12, without the words of OpenAPI 3.0', () => {
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    const schemas = [...nodes()].flatMap((node) =>
      typeof node['schema'] === 'object' ? [node['schema'] as object] : [],
    );
    for (const schema of [...schemas, ...Object.values(document.components.schemas)]) {
      expect([schema, ajv.validateSchema(schema), ajv.errors]).toEqual([schema, true, null]);
    }
    const oldWords = [...nodes()].filter((node) => 'nullable' in node || typeof node['exclusiveMinimum'] === 'boolean');
    expect(oldWords).toEqual([]);
  });
});
