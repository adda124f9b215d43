import { MULTIPLEX } from '../multiplex-writer.js';
import { EVENTS } from './events.js';
import { FRAMES } from './frames.js';
import { TASK_ID } from './schema.js';

const CLOSE_CODES = `
| close code | meaning | client |
|---|---|---|
| 1000 | the task is over | stop |
| 1003, 1007, 1009 | binary, invalid UTF-8, more than 64 KiB | stop, it is a bug |
| 1012 | draining or restarting | resume after a random 1 to 5 s |
| 1013 | overloaded, or too many streams | resume with backoff |
| 4001 | the connection reached its maximal age | resume at once |
| 4013 | it did not read | resume from its last id |
| 4400, 4409 | bad frame or malformed cursor; cursor ahead | stop |
| 4401 | not authenticated | stop, or come back with credentials |
| 4403 | origin or access refused | stop |
| 4404 | no such task for this principal | stop |
| 4408 | no subscribe within 10 s | stop |

The close reason carries the error code. Below 4400 reconnect and resume, 44xx do not retry unchanged.`;

const WEB_SOCKET = '/api/v1/tasks/ws';

const ref = (path: string) => ({ $ref: `#/${path}` });

interface Direction {
  readonly action: 'receive' | 'send';
  readonly summary: string;
  readonly messages: readonly string[];
}

interface Channel {
  readonly title: string;
  readonly address: string;
  readonly description: string;
  readonly parameters?: object;
  readonly bindings: object;
  /** By operation. `receive` is what the service receives. */
  readonly operations: Readonly<Record<string, Direction>>;
}

const events = Object.keys(EVENTS);

const CHANNELS: Readonly<Record<string, Channel>> = {
  task: {
    title: 'One task on a WebSocket',
    address: WEB_SOCKET,
    description: `Without a subprotocol: one task per connection, subscribed to by the first frame.\n${CLOSE_CODES}`,
    bindings: { ws: { method: 'GET', bindingVersion: '0.1.0' } },
    operations: {
      subscribeToTask: { action: 'receive', summary: 'Ask for a task', messages: ['subscribe'] },
      followTask: {
        action: 'send',
        summary: 'Deliver its events',
        messages: ['SUBSCRIPTION_CONFIRMED', 'heartbeat', ...events],
      },
    },
  },
  tasks: {
    title: 'Many tasks on a WebSocket',
    address: WEB_SOCKET,
    description: `With the subprotocol \`${MULTIPLEX}\`. The connection stays open between subscriptions.\n${CLOSE_CODES}`,
    bindings: {
      ws: {
        method: 'GET',
        headers: {
          type: 'object',
          properties: { 'Sec-WebSocket-Protocol': { type: 'string', const: MULTIPLEX } },
          required: ['Sec-WebSocket-Protocol'],
        },
        bindingVersion: '0.1.0',
      },
    },
    operations: {
      subscribeToTasks: {
        action: 'receive',
        summary: 'Ask for tasks, and for no more of them',
        messages: ['multiplexSubscribe', 'multiplexUnsubscribe'],
      },
      followTasks: {
        action: 'send',
        summary: 'Deliver their events',
        messages: [
          'SUBSCRIPTION_CONFIRMED',
          'CAUGHT_UP',
          'SUBSCRIPTION_ENDED',
          'ERROR',
          'RECONNECT',
          'multiplexHeartbeat',
          ...events,
        ],
      },
    },
  },
  stream: {
    title: 'One task by Server-Sent Events',
    address: '/api/v1/tasks/{taskId}/events/stream',
    description:
      'A message is the `data:` of an event; its `id:` line is the eventId. The cursor is the header `Last-Event-ID`, or ' +
      'the query parameter `lastEventId`. The response ends after the terminal event; a request whose cursor is there is ' +
      'answered with 204. See `/openapi.json` for what a refused request is answered with.',
    parameters: { taskId: { description: `Matches ${String(TASK_ID['pattern'])}` } },
    bindings: {},
    operations: {
      streamTask: { action: 'send', summary: 'Deliver its events', messages: ['streamHeartbeat', ...events] },
    },
  },
};

/** What is pushed to clients, for machines: AsyncAPI 3.0. */
export const ASYNCAPI = {
  asyncapi: '3.0.0',
  info: {
    title: 'TaskBridge',
    version: '1.0',
    description: 'Follow a long-running task to its end, live, without losing an event.',
    license: { name: 'Apache-2.0' },
  },
  defaultContentType: 'application/json',
  channels: mapped(CHANNELS, ({ operations, ...channel }) => ({
    ...channel,
    messages: Object.fromEntries(
      Object.values(operations).flatMap(({ messages }) =>
        messages.map((name) => [name, ref(`components/messages/${name}`)]),
      ),
    ),
  })),
  operations: Object.assign(
    {},
    ...Object.entries(CHANNELS).map(([channel, { operations }]) =>
      mapped(operations, ({ messages, ...operation }) => ({
        ...operation,
        channel: ref(`channels/${channel}`),
        messages: messages.map((name) => ref(`channels/${channel}/messages/${name}`)),
      })),
    ),
  ) as object,
  components: {
    messages: {
      ...mapped(FRAMES, ({ summary }, name) => ({ name, summary, payload: ref(`components/schemas/${name}`) })),
      ...mapped(EVENTS, (_, name) => ({ name, payload: ref(`components/schemas/${name}`) })),
    },
    schemas: { ...mapped(FRAMES, ({ payload }) => payload), ...EVENTS },
  },
};

function mapped<From, To>(
  record: Readonly<Record<string, From>>,
  map: (value: From, name: string) => To,
): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value, name)]));
}
