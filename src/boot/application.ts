import type { IncomingMessage, Server } from 'node:http';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { SwaggerModule } from '@nestjs/swagger';
import { AppModule, type Parts } from '../app.module.js';
import { Upgrades } from '../streaming/web-socket/upgrades.js';
import { WebSocketAdapter } from '../streaming/web-socket/web-socket-adapter.js';
import { DrainState } from '../drain-state.js';
import { answerEverything, demandHost } from '../http/answer-everything.js';
import { correlation } from '../http/request-story.js';
import { crossOrigin } from '../http/cross-origin.js';
import { drainNotice } from '../http/drain-notice.js';
import { jsonEdge } from '../http/json-edge.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { securityHeaders } from '../http/security-headers.js';
import { takesFile } from '../execution/worker-api/attached-body.js';
import { AccessLog } from '../observability/access-log.js';
import { nestLogger } from '../observability/nest-logger.js';
import { OpsGate } from '../observability/ops-gate.js';
import { takesUploads } from '../tasks/http/upload.interceptor.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import type { Config } from './config.js';
import { openApi } from './open-api.js';

/** Longer than the idle time of the proxies in front, which otherwise reuse a connection at the moment it is closed. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 15_000;
/**
 * How late Node may notice the two limits. By default it looks every 30 s, which would give 45 s to a client that sends one
 * header a second.
 */
const LOOK_FOR_LATE_MS = 1_000;
/** From the first byte to the last of a request. Answers may take longer: streams do. */
const REQUEST_MS = 300_000;
/** About 1.4 Mbit/s: the slowest connection that uploads the largest size in time. */
const SLOWEST_UPLOAD_BYTES_PER_MS = 175;
/** After an hour the sweeper takes an upload for abandoned. */
const LONGEST_REQUEST_MS = 3_000_000;

/** The modules get their slices of the settings, and the edge of HTTP reads the rest. */
type Wiring = Parts & { readonly config: Config };

/** The service, wired and ready to listen; nothing listens and nothing runs yet. */
export async function createApplication(parts: Wiring): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(parts), {
    bodyParser: false,
    logger: nestLogger(parts.logger),
    abortOnError: false,
  });
  app.disable('x-powered-by');
  // Routes with versions send entity tags. Express would hash every body for one.
  app.disable('etag');
  // Express answers `If-None-Match: *` with 304 on every route; those that have versions answer it themselves.
  const express = app.getHttpAdapter().getInstance() as { readonly request: object };
  Object.defineProperty(express.request, 'fresh', { value: false });
  const server = app.getHttpServer() as Server;
  harden(server);
  const uploadMs = Math.ceil(parts.config.uploads.maxTotalBytes / SLOWEST_UPLOAD_BYTES_PER_MS);
  server.requestTimeout = Math.min(Math.max(REQUEST_MS, uploadMs), LONGEST_REQUEST_MS);
  const upgrades = app.get(Upgrades);
  Object.assign(server, { shouldUpgradeCallback: upgrades.accepts });

  app.use(correlation);
  app.use(named('drainNotice', drainNotice(app.get(DrainState))));
  app.use(securityHeaders);
  app.use(named('opsGate', app.get(OpsGate).middleware));
  app.use(named('accessLog', app.get(AccessLog).middleware));
  app.use(demandHost);
  app.enableCors(crossOrigin(app.get(OriginPolicy)));
  app.use(named('upgrades', upgrades.middleware));
  const takesForm = takesUploads(app.get(AttachmentStore));
  const edge = {
    maxBytes: parts.config.http.maxRequestBodyBytes,
    leavesBody: (req: IncomingMessage) => takesForm(req) || takesFile(req),
  };
  app.use(named('jsonEdge', jsonEdge(edge)));
  app.useWebSocketAdapter(new WebSocketAdapter(app, upgrades));
  documentApi(app, parts);
  await app.init();
  return app;
}

/** Middleware of a class or a closure has no name of its own in Express's stack. docs/architecture.md has the names. */
function named<Middleware extends object>(name: string, middleware: Middleware): Middleware {
  return Object.defineProperty(middleware, 'name', { value: name });
}

/** The settings of each of our servers that differ from Node's defaults. */
export function harden(server: Server): void {
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  // Node reads it when it begins to listen. Only the types say that it is for the constructor.
  Object.assign(server, { connectionsCheckingInterval: LOOK_FOR_LATE_MS });
  answerEverything(server);
}

function documentApi(app: NestExpressApplication, { config }: Wiring): void {
  SwaggerModule.setup('docs', app, () => openApi(app, config.auth), {
    jsonDocumentUrl: 'openapi.json',
    ui: !config.environment.productionLike,
    raw: ['json'],
  });
}
