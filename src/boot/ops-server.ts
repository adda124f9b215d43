import { createServer, type RequestListener, type Server } from 'node:http';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { OpsGate } from '../observability/ops-gate.js';
import { harden } from './application.js';
import type { Config } from './config.js';
import { listen, urlOf } from './listen.js';

/** The same application on OPS_PORT, if there is one. There it shows only what is for the operator. */
export class OpsServer {
  #server: Server | undefined;

  constructor(
    private readonly app: NestExpressApplication,
    private readonly config: Config,
  ) {}

  /** Absent: there is one port. */
  get url(): string | undefined {
    return this.#server && urlOf(this.#server, this.config.http.host);
  }

  /** @throws BootRefused */
  async start(): Promise<void> {
    const { opsPort } = this.config.observability;
    if (opsPort === undefined) return;
    const application = this.app.getHttpAdapter().getInstance() as RequestListener;
    const server = createServer(this.app.get(OpsGate).listener(application));
    harden(server);
    await listen(server, 'OPS_PORT', opsPort, this.config.http.host);
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }
}
