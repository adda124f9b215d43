import type { NestExpressApplication } from '@nestjs/platform-express';
import { BulkClock } from '../bulk/bulk-clock.js';
import { InlineWorker } from '../execution/inline/inline-worker.js';
import { Reaper } from '../execution/reaper.js';
import { WaitingClaims } from '../execution/waiting-claims.js';
import { RevocationWatch } from '../follow-tokens/revocation-watch.js';
import { ChangesHub } from '../following/changes/changes-hub.js';
import { Hub } from '../following/hub.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { ScheduleClock } from '../schedules/schedule-clock.js';
import { LiveLog } from '../tasks/ports/live-log.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { TaskPolicies } from '../tasks/task-policies.js';
import { UploadSweeper } from '../uploads/upload-sweeper.js';
import type { OpsServer } from './ops-server.js';
import type { Port } from './port.js';

/** One step of the start, and what undoes it. */
export interface Runner {
  start?(): unknown;
  stop?(): Promise<unknown>;
}

/** All that runs on its own, in the order in which it starts. The drain is the reverse of this list. */
export function runnersOf(app: NestExpressApplication, port: Port, ops: OpsServer): readonly Runner[] {
  const replicas = app.get(LiveReplicas);
  replicas.taskTypes = app.get(TaskExecutor).taskTypes;
  return [
    // Nest's own close cuts sockets, so it comes last.
    { stop: () => app.close() },
    // Probes and scrapes are answered until the end of the drain, and from when events can be followed.
    { stop: () => ops.stop() },
    app.get(LiveLog),
    app.get(Hub),
    app.get(ChangesHub),
    // What all replicas know is known before the first request, and this one counts until its last answer.
    replicas,
    // No token counts before it is known which were revoked.
    app.get(RevocationWatch),
    app.get(TaskPolicies),
    { start: () => ops.start() },
    { start: () => port.open(), stop: () => port.close() },
    app.get(UploadSweeper),
    app.get(Reaper),
    app.get(ScheduleClock),
    app.get(BulkClock),
    // Attempts of this process go back.
    app.get(InlineWorker),
    // Waiting claims get an empty answer, so their connections end.
    app.get(WaitingClaims),
    { stop: () => port.leave() },
  ];
}
