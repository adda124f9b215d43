import { CLOSE_CODES } from '#protocol/close-codes.js';
import { EVENT_SCHEMAS, EVENT_TYPES, type EventType } from '#protocol/events.js';
import { TOKEN_SUBPROTOCOL_PREFIX } from '#protocol/follow-tokens.js';
import { type FrameName, FRAMES, MULTIPLEX, PLAIN } from '#protocol/frames.js';
import { TASK_ID } from '#protocol/ids.js';
import { type Members, object } from '#protocol/json-schema.js';
import { SECURITY_SCHEMES, type SecurityScheme } from '../../auth/security-schemes.js';

const CLOSE_TABLE = `
| close code | why | the client |
|---|---|---|
${Object.values(CLOSE_CODES)
  .map(({ code, why, client }) => `| ${code} | ${why} | ${client} |`)
  .join('\n')}

The close reason carries the error code. Below 4400 reconnect and resume, 44xx do not retry unchanged.`;

const OFFERED_TOKEN = `A client may offer a follow token beside it, as the subprotocol \`${TOKEN_SUBPROTOCOL_PREFIX}<token>\`.`;

const WEB_SOCKET = '/api/v1/tasks/ws';

const ref = (path: string) => ({ $ref: `#/${path}` });

interface Direction {
  readonly action: 'receive' | 'send';
  readonly summary: string;
  readonly messages: readonly (FrameName | EventType)[];
}

interface Channel {
  readonly server: keyof typeof SERVERS;
  readonly title: string;
  readonly address: string;
  readonly description: string;
  readonly parameters?: object;
  readonly bindings: object;
  /** By operation. `receive` is what the service receives. */
  readonly operations: Readonly<Record<string, Direction>>;
}

/** The service does not know the name under which clients reach it. */
const HOST = { host: { description: 'The host and port of the service.', default: 'localhost:3000' } };
const SERVERS = {
  webSocket: {
    host: '{host}',
    protocol: 'ws',
    description: '`wss` where TLS ends in front of the service.',
    variables: HOST,
  },
  http: {
    host: '{host}',
    protocol: 'http',
    description: '`https` where TLS ends in front of the service.',
    variables: HOST,
  },
};

const CHANNELS: Readonly<Record<string, Channel>> = {
  task: {
    server: 'webSocket',
    title: 'One task on a WebSocket',
    address: WEB_SOCKET,
    description:
      `Without a subprotocol, or with \`${PLAIN}\`: one task per connection, subscribed to by the first frame. ` +
      `${OFFERED_TOKEN}\n${CLOSE_TABLE}`,
    bindings: { ws: { method: 'GET', bindingVersion: '0.1.0' } },
    operations: {
      subscribeToTask: { action: 'receive', summary: 'Ask for a task', messages: ['subscribe'] },
      followTask: {
        action: 'send',
        summary: 'Deliver its events',
        messages: ['SUBSCRIPTION_CONFIRMED', 'heartbeat', ...EVENT_TYPES],
      },
    },
  },
  tasks: {
    server: 'webSocket',
    title: 'Many tasks on a WebSocket',
    address: WEB_SOCKET,
    description:
      `With the subprotocol \`${MULTIPLEX}\`. The connection stays open between subscriptions. ` +
      `${OFFERED_TOKEN}\n${CLOSE_TABLE}`,
    bindings: {
      ws: {
        method: 'GET',
        headers: {
          type: 'object',
          properties: {
            'Sec-WebSocket-Protocol': {
              type: 'string',
              pattern: `(^|[ ,])${MULTIPLEX.replaceAll('.', '[.]')}($|[ ,])`,
            },
          },
          required: ['Sec-WebSocket-Protocol'],
        },
        bindingVersion: '0.1.0',
      },
    },
    operations: {
      subscribeToTasks: {
        action: 'receive',
        summary: 'Ask for tasks, and for no more of them',
        messages: ['multiplexSubscribe', 'multiplexUnsubscribe', 'subscribeChanges', 'unsubscribeChanges'],
      },
      renewCredentials: {
        action: 'receive',
        summary: 'Show newer credentials before the present ones end',
        messages: ['multiplexAuthenticate'],
      },
      followTasks: {
        action: 'send',
        summary: 'Deliver their events',
        messages: [
          'SUBSCRIPTION_CONFIRMED',
          'TASK_SNAPSHOT',
          'CAUGHT_UP',
          'SUBSCRIPTION_ENDED',
          'CHANGES_CONFIRMED',
          'CHANGE',
          'CHANGES_CAUGHT_UP',
          'CHANGES_ENDED',
          'ERROR',
          'AUTH_EXPIRING',
          'AUTHENTICATED',
          'RECONNECT',
          'multiplexHeartbeat',
          ...EVENT_TYPES,
        ],
      },
    },
  },
  stream: {
    server: 'http',
    title: 'One task by Server-Sent Events',
    address: '/api/v1/tasks/{taskId}/events/stream',
    description:
      'A message is the `data:` of an event; its `id:` line is the eventId. The cursor is the header `Last-Event-ID`, or ' +
      'the query parameter `lastEventId`. Without a cursor, `from=snapshot` begins with an `event: snapshot`, whose `id:` line is ' +
      'its `headEventId`, and `from=now` with the next event. The query parameter `token` may be a follow token. The response ends ' +
      'after the terminal event; a request whose cursor is there is ' +
      'answered with 204. See `/openapi.json` for what a refused request is answered with.',
    parameters: { taskId: { description: `Matches ${TASK_ID.pattern}` } },
    bindings: {},
    operations: {
      streamTask: {
        action: 'send',
        summary: 'Deliver its events',
        messages: ['TASK_SNAPSHOT', 'streamHeartbeat', ...EVENT_TYPES],
      },
    },
  },
  changes: {
    server: 'http',
    title: 'Changes of tasks by Server-Sent Events',
    address: '/api/v1/tasks/changes/stream',
    description:
      'A message is the `data:` of an event; its `id:` line is the cursor, also that of a heartbeat. The cursor is the ' +
      'header `Last-Event-ID`, or the query parameter `after`. The query parameter `token` may be a follow token. `/openapi.json` ' +
      'has the other parameters.',
    bindings: {},
    operations: {
      streamChanges: { action: 'send', summary: 'Deliver changes', messages: ['changesHeartbeat', 'streamedChange'] },
    },
  },
};

/**
 * What is pushed to clients, for machines: AsyncAPI 3.0. `ways` are those in which callers prove their principal; undefined where the
 * host module decides. AsyncAPI cannot say that two schemes are needed together, or that none is: their descriptions do.
 */
export const asyncApi = (ways: readonly (readonly SecurityScheme[])[] | undefined) => ({
  asyncapi: '3.0.0',
  info: {
    title: 'TaskBridge',
    version: '1.0',
    description: 'Follow a long-running task to its end, live, without losing an event.',
    license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
  },
  defaultContentType: 'application/json',
  servers: mapped(SERVERS, (server) => ({
    ...server,
    ...(ways && { security: [ref('components/securitySchemes/principal')] }),
  })),
  channels: mapped(CHANNELS, ({ operations, server, ...channel }) => ({
    ...channel,
    servers: [ref(`servers/${server}`)],
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
    ...(ways && { securitySchemes: { principal: principalScheme(ways) } }),
    messages: {
      ...mapped(FRAMES, ({ summary }, name) => ({ name, summary, payload: ref(`components/schemas/${name}`) })),
      ...mapped(EVENT_SCHEMAS, (_, name) => ({ name, payload: ref(`components/schemas/${name}`) })),
    },
    schemas: { ...mapped(FRAMES, ({ members }: { members: Members }) => object(members)), ...EVENT_SCHEMAS },
  },
});

function principalScheme(ways: readonly (readonly SecurityScheme[])[]) {
  const { header, description } = SECURITY_SCHEMES.principal;
  const sentences = [
    description,
    ...(ways.some((way) => way.includes('proxySecret'))
      ? [`It also sends \`${SECURITY_SCHEMES.proxySecret.header}\`.`]
      : []),
    ...(ways.some((way) => way.length === 0) ? ['A caller without it is the principal of the system.'] : []),
  ];
  return { type: 'httpApiKey', in: 'header', name: header, description: sentences.join(' ') };
}

function mapped<From, To>(
  record: Readonly<Record<string, From>>,
  map: (value: From, name: string) => To,
): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value, name)]));
}
