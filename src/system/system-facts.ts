import { Injectable } from '@nestjs/common';
import { ServiceReadiness } from '../health/service-readiness.js';
import type { ReplicaFacts } from '../replicas/replica-rows.js';
import { TaskExecutor } from '../tasks/ports/task-executor.js';
import { LiveReplicas } from '../replicas/live-replicas.js';
import { OpenStreams, type OpenStream } from '../streaming/open-streams.js';

/** Streams that a replica tells the others of, those with the most unsent bytes. They are written every 5 s. */
const MOST_STREAMS = 100;

/** What a replica says of itself to the others. An older build says less. */
export interface SystemFacts {
  readonly isReady?: boolean;
  /** How many are open. */
  readonly streams?: number;
  readonly shownStreams?: readonly OpenStream[];
}

/** Tells the other replicas what operators want to know of this one: they may ask any of them. */
@Injectable()
export class TellFacts {
  constructor(
    replicas: LiveReplicas,
    private readonly readiness: ServiceReadiness,
    private readonly streams: OpenStreams,
    private readonly executor: TaskExecutor,
  ) {
    replicas.says(() => this.facts());
  }

  private async facts(): Promise<SystemFacts & ReplicaFacts> {
    const { ready } = await this.readiness.check();
    const { taskTypes } = this.executor;
    return { taskTypes, isReady: ready, streams: this.streams.size, shownStreams: this.streams.list(MOST_STREAMS) };
  }
}
