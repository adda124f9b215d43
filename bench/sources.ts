import { connect } from 'node:net';
import { once } from 'node:events';
import { type ChainableCommander, Redis } from 'ioredis';
import { packs } from '../src/live-log/event-pack.js';
import { STREAM_ENTRIES, STREAM_KEY } from '../src/live-log/redis-stream.js';
import { StoredEvent } from '../src/tasks/domain/stored-event.js';
import { TEXT } from './text.js';

/** A source of events: one more for each of the tasks, `burst` times. */
export interface Source {
  publish(
    tasks: readonly { readonly index: number; readonly taskId: string; readonly last: number }[],
    burst: number,
  ): void;
}

export type SourceKind =
  /** Publishes as a replica does after a commit. */
  | { readonly kind: 'live log'; readonly url: string }
  /** A stream for each task. */
  | { readonly kind: 'streams'; readonly url: string }
  /** A process that makes them itself on command. */
  | {
      readonly kind: 'control';
      readonly path: string /** Its number for the swarm's first task. */;
      readonly offset?: number;
    };

export async function openSource(source: SourceKind): Promise<Source> {
  if (source.kind === 'control') return toldTo(source.path, source.offset);
  const redis = new Redis(source.url, { enableAutoPipelining: false });
  await once(redis, 'ready');
  const add = source.kind === 'live log' ? addAsReplica : addToTheirs;
  return {
    publish(tasks, burst) {
      const createdAt = new Date().toISOString();
      const events = Array.from({ length: burst }, (_, n) =>
        tasks.map(({ taskId, last }) => new StoredEvent(taskId, last + n + 1, 'TASK_MESSAGE', createdAt, PAYLOAD)),
      );
      const pipeline = redis.pipeline();
      add(pipeline, events.flat());
      void pipeline.exec();
    },
  };
}

function addAsReplica(pipeline: ChainableCommander, events: readonly StoredEvent[]): void {
  for (const pack of packs(events)) pipeline.xadd(STREAM_KEY, 'MAXLEN', '~', STREAM_ENTRIES, '*', 'bench', pack);
}

function addToTheirs(pipeline: ChainableCommander, events: readonly StoredEvent[]): void {
  for (const { taskId, eventId, type, createdAt, payloadJson } of events) {
    pipeline.xadd(`bench:${taskId}`, 'MAXLEN', '~', 1_000, '*', `${eventId} ${type} ${createdAt}`, payloadJson);
  }
}

const PAYLOAD = JSON.stringify({ message: TEXT, level: 'info' });

async function toldTo(path: string, offset = 0): Promise<Source> {
  const socket = connect(path);
  await once(socket, 'connect');
  return {
    publish(tasks, burst) {
      socket.write(`${JSON.stringify({ publish: tasks.map(({ index }) => index + offset), burst })}\n`);
    },
  };
}
