import type { ApiClient } from './api-client.js';
import type { Follower } from './follower.js';
import { PollFollower } from './poll.js';
import { SseFollower } from './sse.js';
import { WebSocketFollower } from './web-socket.js';

export type Transport = 'sse' | 'websocket' | 'multiplex' | 'poll';

type Follow = (client: ApiClient, taskId: string, cursor: string | undefined, patienceMs: number) => Follower;

/** The ways to follow a task, which all bring the same events. */
export const TRANSPORTS: Readonly<Record<Transport, Follow>> = {
  sse: (...how) => new SseFollower(...how),
  websocket: (...how) => new WebSocketFollower(...how, { multiplex: false }),
  multiplex: (...how) => new WebSocketFollower(...how, { multiplex: true }),
  poll: (...how) => new PollFollower(...how),
};

export const ALL_TRANSPORTS = Object.keys(TRANSPORTS) as readonly Transport[];
