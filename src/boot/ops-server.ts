import { createServer, type RequestListener } from 'node:http';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { OpsGate } from '../observability/ops-gate.js';
import { harden } from './application.js';
import type { Config } from './config.js';
import { listen } from './listen.js';
import { urlOf } from './url-of.js';

export interface OpsServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** The same application on OPS_PORT. There it shows only what is for the operator. */
export async function startOpsServer(
  app: NestExpressApplication,
  { http, observability: { opsPort } }: Config,
): Promise<OpsServer | undefined> {
  if (opsPort === undefined) return undefined;
  const application = app.getHttpAdapter().getInstance() as RequestListener;
  const server = createServer(app.get(OpsGate).listener(application));
  harden(server);
  await listen(server, 'OPS_PORT', opsPort, http.host);
  return {
    url: urlOf(server, http.host),
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
