import { connect } from 'node:net';
import { once } from 'node:events';
import { Redis } from 'ioredis';
import { encodeEvent } from '../src/delivery/event-codec.js';
import { SHARD_ENTRIES, shardOf } from '../src/delivery/redis-shards.js';
import { StoredEvent } from '../src/tasks/stored-event.js';
import { TEXT } from './text.js';

/** What makes events: one more for each of the tasks, `burst` times. */
export interface Source {
  publish(
    tasks: readonly { readonly index: number; readonly taskId: string; readonly last: number }[],
    burst: number,
  ): void;
}

export type SourceKind =
  /** Entries of the shards, as a replica writes them after a commit. */
  | { readonly kind: 'shards'; readonly url: string }
  /** A stream for each task. */
  | { readonly kind: 'streams'; readonly url: string }
  /** A process that makes them itself when it is told to. */
  | {
      readonly kind: 'control';
      readonly path: string /** Its number for the swarm's first task. */;
      readonly offset?: number;
    };

export async function openSource(source: SourceKind): Promise<Source> {
  if (source.kind === 'control') return toldTo(source.path, source.offset);
  const redis = new Redis(source.url, { enableAutoPipelining: false });
  await once(redis, 'ready');
  return {
    publish(tasks, burst) {
      const pipeline = redis.pipeline();
      const createdAt = new Date().toISOString();
      for (let n = 1; n <= burst; n += 1) {
        for (const { taskId, last } of tasks) {
          const event = new StoredEvent(taskId, last + n, 'TASK_MESSAGE', createdAt, PAYLOAD);
          const key = source.kind === 'shards' ? shardOf(taskId) : `bench:${taskId}`;
          pipeline.xadd(key, 'MAXLEN', '~', SHARD_ENTRIES, '*', ...encodeEvent(event));
        }
      }
      void pipeline.exec();
    },
  };
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
