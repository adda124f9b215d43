import type { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Config } from './config.js';
import { Hub } from '../delivery/hub.js';
import { LiveLog } from '../delivery/live-log.js';
import { Streams } from '../delivery/streams.js';
import { InlineWorker } from '../execution/inline-worker.js';
import { Reaper } from '../execution/reaper.js';
import { WaitingClaims } from '../execution/waiting-claims.js';
import { DrainState } from '../http/drain-state.js';
import { UploadSweeper } from '../uploads/upload-sweeper.js';

/** Over how long streams are sent away, at most: their clients come back to the other replicas in the same rhythm. */
const LONGEST_SPREAD_MS = 3_000;

/**
 * Leaves nothing half done: first the load balancer learns of it, then streams are sent elsewhere, then what is in flight
 * finishes, then what runs inline is handed back. Nest's own close cuts sockets, so it comes last.
 */
export async function drain(
  app: NestExpressApplication,
  { boot }: Config,
  ops?: { stop(): Promise<void> },
): Promise<void> {
  app.get(DrainState).draining = true;
  await delay(boot.drainDelaySeconds * 1000);
  const left = (boot.shutdownGraceSeconds - boot.drainDelaySeconds) * 1000;
  await app.get(Streams).drain(Math.min(LONGEST_SPREAD_MS, left / 4));
  const server = app.getHttpServer() as Server;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // Also those that become idle from here on: a stream that has ended, a client that keeps its connection all the same.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  // Claims that wait are answered with nothing, so that their connections end.
  await app.get(WaitingClaims).stop();
  await app.get(InlineWorker).stop();
  await app.get(Reaper).stop();
  await app.get(UploadSweeper).stop();
  await Promise.race([closed, delay(left / 4, undefined, { ref: false })]);
  clearInterval(idle);
  server.closeAllConnections();
  await app.get(Hub).stop();
  await app.get(LiveLog).stop();
  // Probes and scrapes see the drain to its end.
  await ops?.stop();
  await app.close();
}
