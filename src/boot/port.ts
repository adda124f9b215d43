import type { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { within } from '../deadline.js';
import { DrainState } from '../drain-state.js';
import { Streams } from '../streaming/streams.js';
import type { Config } from './config.js';
import { listen, urlOf } from './listen.js';

/** The longest time over which the ends of streams are spread. Their clients reconnect to other replicas in the same rhythm. */
const LONGEST_SPREAD_MS = 3_000;

/** Where clients come in, and how they go without a cut answer. */
export class Port {
  readonly #server: Server;
  readonly #leftMs: number;
  #closed: Promise<void> | undefined;
  #idle: NodeJS.Timeout | undefined;

  constructor(
    private readonly app: NestExpressApplication,
    private readonly config: Config,
  ) {
    this.#server = app.getHttpServer() as Server;
    this.#leftMs = (config.boot.shutdownGraceSeconds - config.boot.drainDelaySeconds) * 1000;
  }

  get url(): string {
    return urlOf(this.#server, this.config.http.host);
  }

  /** @throws BootRefused */
  async open(): Promise<void> {
    await listen(this.#server, 'PORT', this.config.http.port, this.config.http.host);
  }

  /** The load balancer learns of it, streams end, and no new connection is accepted. Requests in flight go on. */
  async leave(): Promise<void> {
    this.app.get(DrainState).reach('announced');
    await delay(this.config.boot.drainDelaySeconds * 1000);
    await this.app.get(Streams).drain(Math.min(LONGEST_SPREAD_MS, this.#leftMs / 4));
    this.#closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // Also connections that become idle later: a stream that ended, a client that keeps its connection anyway.
    this.#idle = setInterval(() => this.#server.closeIdleConnections(), 50);
  }

  /** Waits for requests in flight, and cuts those that take too long. */
  async close(): Promise<void> {
    await within(this.#leftMs / 4, this.#closed ?? Promise.resolve());
    clearInterval(this.#idle);
    this.#server.closeAllConnections();
  }
}
