import type { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { Config } from './config.js';
import { within } from '../deadline.js';
import { Hub } from '../following/hub.js';
import { LiveLog } from '../tasks/ports/live-log.js';
import { Streams } from '../streaming/streams.js';
import { InlineWorker } from '../execution/inline/inline-worker.js';
import { Reaper } from '../execution/reaper.js';
import { WaitingClaims } from '../execution/waiting-claims.js';
import { DrainState } from '../http/drain-state.js';
import { UploadSweeper } from '../uploads/upload-sweeper.js';

/** The longest time over which the ends of streams are spread. Their clients reconnect to other replicas in the same rhythm. */
const LONGEST_SPREAD_MS = 3_000;

/**
 * Leaves nothing half done. The order: the load balancer learns of it, streams end, requests in flight finish, inline attempts go
 * back. Nest's own close cuts sockets, so it comes last.
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
  // Also connections that become idle later: a stream that ended, a client that keeps its connection anyway.
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  // Waiting claims get an empty answer, so their connections end.
  await app.get(WaitingClaims).stop();
  await app.get(InlineWorker).stop();
  await app.get(Reaper).stop();
  await app.get(UploadSweeper).stop();
  await within(left / 4, closed);
  clearInterval(idle);
  server.closeAllConnections();
  await app.get(Hub).stop();
  await app.get(LiveLog).stop();
  // Probes and scrapes are answered until the end of the drain.
  await ops?.stop();
  await app.close();
}
