import type { Server } from 'node:http';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { AppModule, type Parts } from '../app.module.js';
import { Streams } from '../delivery/streams.js';
import { WebSocketAdapter } from '../delivery/web-socket-adapter.js';
import { answerClientError } from '../http/client-error.js';
import { correlation } from '../http/correlation.js';
import { jsonEdge, leaveContinueToEdge } from '../http/json-edge.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { AccessLog } from '../observability/access-log.js';
import { NestLog } from '../observability/nest-log.js';
import { OpsGate } from '../observability/ops-gate.js';
import { takesUploads } from '../tasks/upload.interceptor.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import { withUploadForm } from './upload-form.js';

/** Longer than the idle time of the proxies in front, which otherwise reuse a connection at the moment it is closed. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 15_000;
/** From the first byte to the last of a request; a 50 MiB upload over a slow line takes minutes. */
const REQUEST_MS = 300_000;

/** The service, wired and ready to listen; nothing listens and nothing runs yet. */
export async function createApplication(parts: Parts): Promise<NestExpressApplication> {
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(parts), {
    bodyParser: false,
    logger: new NestLog(parts.logger),
    abortOnError: false,
  });
  app.disable('x-powered-by');
  // Entity tags are given where they mean something; one made of every body costs a hash of it.
  app.disable('etag');
  harden(app.getHttpServer() as Server);

  app.use(correlation);
  app.use(app.get(OpsGate).middleware);
  app.use(app.get(AccessLog).middleware);
  app.use(
    jsonEdge({
      maxBytes: parts.config.http.maxRequestBodyBytes,
      allowMultipart: takesUploads(app.get(AttachmentStore)),
    }),
  );
  app.useWebSocketAdapter(new WebSocketAdapter(app, app.get(OriginPolicy), app.get(Streams)));
  documentApi(app, parts);
  await app.init();
  return app;
}

/** What every server of ours has beyond Node's defaults. */
export function harden(server: Server): void {
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  server.on('clientError', answerClientError);
  leaveContinueToEdge(server);
}

function documentApi(app: NestExpressApplication, { config }: Parts): void {
  const outline = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('TaskBridge')
    .setDescription('Accept a long-running task once, and follow it to its end without losing an event.')
    .setVersion('1.0')
    .build();
  const document = () => withUploadForm(SwaggerModule.createDocument(app, outline));
  SwaggerModule.setup('docs', app, document, {
    jsonDocumentUrl: 'openapi.json',
    ui: !config.environment.productionLike,
    raw: ['json'],
  });
}
