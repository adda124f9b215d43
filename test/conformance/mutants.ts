import { setTimeout as delay } from 'node:timers/promises';
import { storedJson } from '#protocol/exact-json.js';
import type { MemoryServer } from './memory-server.js';
import type { Clocks, Stream } from './memory-streams.js';
import type { Json, MemoryTask } from './memory-task.js';
import type { Caller } from './memory-tokens.js';
import { Refusal } from './refusal.js';

/** A way in which an implementation could be broken, and all clauses that have to notice. */
export interface Mutant {
  readonly name: string;
  /** The clause that it breaks. */
  readonly breaks: string;
  /** Clauses that cannot hold without it. */
  readonly follows?: readonly string[];
  /** Clauses that may fail as well, depending on the speed of the machine. */
  readonly mayFollow?: readonly string[];
  /** Left out unless FULL=1. */
  readonly onlyInFull?: true;
  readonly clocks?: Partial<Clocks>;
  readonly options?: readonly string[];
  readonly make: (server: MemoryServer) => void;
}

/** Shorter than the time in which the kit waits for further events. */
const LATE_MS = 200;
/** A check that looks for the delivered event needs less time. */
const UNSTORED_MS = 1_500;

const idOf = (raw: string) => Number((JSON.parse(raw) as { eventId: string }).eventId);
const without = (id: number, raws: readonly string[]) => raws.filter((raw) => idOf(raw) !== id);

/** Changes the events of streams. */
const given =
  (change: (raws: readonly string[], stream: Stream) => readonly string[]) =>
  ({ streams }: MemoryServer): void => {
    const eventsFor = streams.eventsFor.bind(streams);
    streams.eventsFor = (stream) => change(eventsFor(stream), stream);
  };

/** Starts over where a cursor is refused with this code. */
const startsOver =
  (transport: string, code: string) =>
  ({ streams }: MemoryServer): void => {
    const cursor = streams.cursor.bind(streams);
    streams.cursor = (text, task, by) => {
      try {
        return cursor(text, task, by);
      } catch (error) {
        if (by === transport && error instanceof Refusal && error.code === code) return 0;
        throw error;
      }
    };
  };

/** Does something before each event is stored, or instead. */
const storing =
  (change: (task: MemoryTask, type: string, store: () => string, payload: Json) => string) =>
  (server: MemoryServer): void => {
    const store = server.tasks.store.bind(server.tasks);
    server.tasks.store = (task, type, payload) => change(task, type, () => store(task, type, payload), payload);
  };

const ALL: readonly Mutant[] = [
  {
    name: 'a hole in what SSE brings live',
    breaks: 'sse.every-event',
    make: given((raws, { transport, isLive }) => (transport === 'sse' && isLive ? without(6, raws) : raws)),
  },
  {
    name: 'a hole in the replay on a multiplexed connection',
    breaks: 'multiplex.every-event',
    follows: ['multiplex.again'],
    make: given((raws, { transport, isLive }) => (transport === 'multiplex' && !isLive ? without(4, raws) : raws)),
  },
  {
    name: 'an event that a WebSocket brings twice',
    breaks: 'websocket.once',
    follows: ['websocket.frames'],
    make: given((raws, { transport }) =>
      transport === 'websocket' ? raws.flatMap((raw) => (idOf(raw) === 3 ? [raw, raw] : [raw])) : raws,
    ),
  },
  {
    name: 'a resume that begins with the event that the cursor names',
    onlyInFull: true,
    breaks: 'websocket.resume',
    make: given((raws, { transport, isLive, cursor, task }) =>
      transport === 'websocket' && !isLive && cursor > 0 ? task.log.slice(cursor - 1) : raws,
    ),
  },
  {
    name: 'a tail that a replay by SSE loses',
    breaks: 'sse.every-event',
    make: given((raws, { transport, isLive, task, cursor }) =>
      transport === 'sse' && !isLive && task.isOver && cursor === 1 ? without(task.head, raws) : raws,
    ),
  },
  {
    name: 'events that are not in order',
    onlyInFull: true,
    breaks: 'websocket.every-event',
    follows: ['websocket.frames', 'words.start'],
    make: given((raws, { transport }) =>
      transport === 'websocket' ? raws.toSorted((a, b) => idOf(b) - idOf(a)) : raws,
    ),
  },
  {
    name: 'a terminal event that comes after its status',
    breaks: 'promises.end-is-one-step',
    mayFollow: ['events.payloads'],
    make: storing((task, type, store, payload) => {
      if (type !== 'TASK_COMPLETED' || payload['result'] !== null) return store();
      setTimeout(store, LATE_MS);
      task.evolve(type, payload);
      return String(task.head + 1);
    }),
  },
  {
    name: 'an event behind the terminal one',
    breaks: 'promises.one-terminal',
    follows: ['workers.fail', 'workers.attempts'],
    make: storing((task, type, store) => {
      const eventId = store();
      if (type === 'TASK_FAILED') task.log.push(task.envelope('TASK_MESSAGE', { message: 'late' }));
      return eventId;
    }),
  },
  {
    name: 'ids that the next attempt uses again',
    breaks: 'promises.content-stays',
    follows: ['output.tail', 'workers.event-keys'],
    make: storing((task, type, store) => {
      if (type === 'TASK_RETRYING') task.log.length = task.attemptBase;
      return store();
    }),
  },
  {
    name: 'an id that the worker gets and no client',
    breaks: 'promises.ids',
    follows: [
      ...['workers.append', 'workers.event-keys', 'workers.void-keys'],
      ...['sse.from-snapshot', 'sse.from-now', 'multiplex.from-snapshot'],
    ],
    make: storing((task, type, store) => {
      const eventId = store();
      return type === 'TASK_OUTPUT' ? String(task.head + 1) : eventId;
    }),
  },
  {
    name: 'other bytes in a replay than live',
    breaks: 'promises.same-bytes',
    follows: ['follow-tokens.query'],
    make: given((raws, { transport, isLive }) =>
      transport === 'sse' && !isLive ? raws.map((raw) => raw.replace('"payload":', '"payload": ')) : raws,
    ),
  },
  {
    name: 'an event that is delivered before it is stored',
    breaks: 'promises.only-stored',
    follows: ['promises.same-bytes'],
    make: (server) => {
      const { tasks, streams } = server;
      const early = new Map<MemoryTask, string>();
      const told = new WeakMap<Stream, Set<number>>();
      const eventsFor = streams.eventsFor.bind(streams);
      streams.eventsFor = (stream) => {
        if (stream.transport !== 'sse' || !stream.isLive) return eventsFor(stream);
        const seen = told.get(stream) ?? new Set();
        told.set(stream, seen);
        const coming = early.get(stream.task);
        const raws = [...eventsFor(stream), ...(coming === undefined ? [] : [coming])];
        return raws.filter((raw) => !seen.has(idOf(raw)) && seen.add(idOf(raw)));
      };
      const bodyOf = server.bodyOf.bind(server);
      server.bodyOf = async (exchange, most) => {
        const body = await bodyOf(exchange, most);
        const task = tasks.all.find(({ taskId }) => taskId === exchange.params['taskId']);
        const isRight = task?.run.state === 'leased' && task.run.token === body['leaseToken'];
        if (exchange.params['call'] === 'complete' && task && isRight && task.watchers.size > 0) {
          early.set(task, task.envelope('TASK_COMPLETED', { result: body['result'] ?? null }));
          task.tell();
          await delay(UNSTORED_MS);
          early.delete(task);
        }
        return body;
      };
    },
  },
  {
    name: 'a cursor ahead of the task that starts over',
    breaks: 'poll.cursor-ahead',
    make: startsOver('poll', 'CURSOR_AHEAD'),
  },
  {
    name: 'a HEAD of the events page that waits',
    onlyInFull: true,
    breaks: 'poll.head',
    make: (server) => {
      const page = server.page.bind(server);
      server.page = async (exchange) => {
        if (exchange.request.method === 'HEAD') await delay(10_000);
        return page(exchange);
      };
    },
  },
  {
    name: 'a file of a worker that is another one when it comes again',
    breaks: 'workers.files',
    make: (server) => {
      server.isSameFile = () => false;
    },
  },
  {
    name: 'a file that is taken from a worker without the lease',
    breaks: 'workers.files-fence',
    make: (server) => {
      const holder = server.holder.bind(server);
      server.holder = (taskId, token) =>
        server.tasks.all.find((task) => task.taskId === taskId) ?? holder(taskId, token);
    },
  },
  {
    name: 'a file without a type that is text',
    breaks: 'create.untyped-file',
    make: (server) => {
      server.foundType = () => 'text/plain';
    },
  },
  {
    name: 'a task that begins before its time',
    breaks: 'create.later',
    make: ({ tasks }) => {
      const begin = tasks.begin.bind(tasks);
      tasks.begin = (task) => begin(task, 0);
    },
  },
  {
    name: 'no input that is not the empty one',
    breaks: 'create.empty-input',
    make: (server) => {
      const checkedCreate = server.checkedCreate.bind(server);
      server.checkedCreate = (body) => checkedCreate({ ...body, input: body['input'] ?? { none: true } });
    },
  },
  {
    name: 'a malformed cursor that is ignored',
    breaks: 'sse.cursor-malformed',
    make: startsOver('sse', 'INVALID_CURSOR'),
  },
  {
    name: 'an SSE response that does not end',
    breaks: 'sse.end',
    follows: ['sse.from-at-the-end', 'follow-tokens.query'],
    make: ({ streams }) => {
      streams.endSse = () => undefined;
    },
  },
  {
    name: 'no 204 at the terminal event',
    breaks: 'sse.terminal-204',
    follows: ['sse.from-at-the-end'],
    make: ({ streams }) => {
      streams.isAtTheEnd = () => false;
    },
  },
  {
    name: 'a heartbeat that moves the cursor',
    onlyInFull: true,
    breaks: 'sse.heartbeat',
    make: ({ streams }) => {
      const heartbeat = streams.sseHeartbeat.bind(streams);
      streams.sseHeartbeat = (task) => `id: ${task.head + 1}\n${heartbeat(task)}`;
    },
  },
  {
    name: 'an event of SSE with a type of its own',
    onlyInFull: true,
    breaks: 'sse.blocks',
    make: ({ streams }) => {
      const block = streams.sseBlock.bind(streams);
      streams.sseBlock = (raw) => `event: message\n${block(raw)}`;
    },
  },
  {
    name: 'a long-poll that does not wait',
    breaks: 'poll.waits',
    follows: ['poll.wait-ends', 'poll.behind-the-end'],
    make: (server) => {
      server.waitForEvents = async () => undefined;
    },
  },
  {
    name: 'a long-poll at the terminal event that is answered at once',
    breaks: 'poll.behind-the-end',
    make: (server) => {
      const wait = server.waitForEvents.bind(server);
      server.waitForEvents = async (exchange, task, cursor, waitMs) =>
        task.isOver ? undefined : wait(exchange, task, cursor, waitMs);
    },
  },
  {
    name: 'ids of requests that are compared by their bytes',
    onlyInFull: true,
    breaks: 'request-id.normalised',
    follows: ['list.request'],
    make: (server) => {
      server.normal = (text) => text;
    },
  },
  {
    name: 'metadata that makes another request',
    onlyInFull: true,
    breaks: 'create.metadata',
    make: ({ tasks }) => {
      const fingerprint = tasks.fingerprint.bind(tasks);
      tasks.fingerprint = (submission) => fingerprint(submission) + JSON.stringify(submission.metadata);
    },
  },
  {
    name: 'a key with its quotes',
    onlyInFull: true,
    breaks: 'request-id.quoted',
    make: (server) => {
      server.withoutQuotes = (text) => text;
    },
  },
  {
    name: 'a cursor for the next page where there was none',
    onlyInFull: true,
    breaks: 'poll.next',
    make: (server) => {
      server.nextAfter = (next) => next ?? '0';
    },
  },
  {
    name: 'a page that is called terminal because the task is over',
    onlyInFull: true,
    breaks: 'poll.terminal',
    follows: ['poll.before'],
    make: (server) => {
      server.isTerminal = ({ isOver }) => isOver;
    },
  },
  {
    name: 'a foreign task that is forbidden instead of absent',
    breaks: 'callers.foreign-read',
    follows: [
      ...['callers.foreign-control', 'callers.foreign-websocket', 'callers.foreign-multiplex'],
      'follow-tokens.of-others',
    ],
    make: ({ tasks }) => {
      const owned = tasks.owned.bind(tasks);
      tasks.owned = (owner, taskId) => {
        const task = tasks.all.find((one) => one.taskId === taskId);
        if (task && task.owner !== owner) throw new Refusal(403, 'ACCESS_DENIED');
        return owned(owner, taskId);
      };
    },
  },
  {
    name: 'a list that shows the tasks of all',
    onlyInFull: true,
    breaks: 'list.own',
    make: (server) => {
      server.ownTasks = () => [...server.tasks.all];
    },
  },
  {
    name: 'a feed that misses the end of a task',
    breaks: 'changes.each',
    make: (server) => {
      const ownChanges = server.ownChanges.bind(server);
      server.ownChanges = (owner) => ownChanges(owner).filter(({ isOver }) => !isOver);
    },
  },
  {
    name: 'a feed that shows attachments',
    onlyInFull: true,
    breaks: 'changes.state',
    make: (server) => {
      server.changedTask = (task) => task.summary(server.tasks.numbers.maxAttempts);
    },
  },
  {
    name: 'a feed that shows the tasks of all',
    onlyInFull: true,
    breaks: 'changes.own',
    make: (server) => {
      server.ownChanges = () => [...server.tasks.all];
    },
  },
  {
    name: 'a feed that shows what does not match',
    onlyInFull: true,
    breaks: 'changes.left',
    make: (server) => {
      server.left = (task) => ({ task: server.changedTask(task) });
    },
  },
  {
    name: 'a feed that takes any cursor',
    onlyInFull: true,
    breaks: 'changes.foreign-cursor',
    make: (server) => {
      server.changeCursor = (text) => Number(text?.slice(1)) || 0;
    },
  },
  {
    name: 'a list that repeats a task on the next page',
    onlyInFull: true,
    breaks: 'list.pages',
    make: (server) => {
      const startOfPage = server.startOfPage.bind(server);
      server.startOfPage = (newest, cursor) => Math.max(0, startOfPage(newest, cursor) - 1);
    },
  },
  {
    name: 'a snapshot that is not changed by what happens',
    onlyInFull: true,
    breaks: 'snapshot.etag',
    make: (server) => {
      server.entityTag = ({ taskId }) => `"${taskId}"`;
    },
  },
  {
    name: 'large integers that become the nearest double',
    breaks: 'limits.large-integers',
    make: (server) => {
      const bodyOf = server.bodyOf.bind(server);
      server.bodyOf = async (exchange, most) =>
        JSON.parse(storedJson(await bodyOf(exchange, most))) as Record<string, unknown>;
    },
  },
  {
    name: 'a completed task that keeps the progress of its last event',
    breaks: 'snapshot.completed',
    make: storing((task, type, store) => {
      const { progress } = task;
      const eventId = store();
      if (type === 'TASK_COMPLETED') task.progress = progress;
      return eventId;
    }),
  },
  {
    name: 'a create that makes a second task',
    breaks: 'create.repeated',
    follows: [
      'create.repeated-status',
      'create.empty-input',
      'create.canonical',
      'create.concurrent',
      'create.conflict',
      'create.idempotency-key',
      'create.files',
      'limits.large-integers',
      'create.metadata',
      'request-id.normalised',
      'request-id.quoted',
      'retry.repeated',
    ],
    make: ({ tasks }) => {
      tasks.earlier = () => undefined;
    },
  },
  {
    name: 'equal creates at one time that make several tasks',
    onlyInFull: true,
    breaks: 'create.concurrent',
    make: (server) => {
      const create = server.create.bind(server);
      const { tasks } = server;
      server.create = async (exchange) => {
        const before = [...tasks.all];
        await delay(LATE_MS);
        tasks.earlier = (owner, id) => before.find((one) => one.owner === owner && one.clientRequestId === id);
        return create(exchange);
      };
    },
  },
  {
    name: 'a request that is named by its clientRequestId alone',
    onlyInFull: true,
    breaks: 'create.named-by-owner',
    make: ({ tasks }) => {
      tasks.earlier = (_, id) => tasks.all.find(({ clientRequestId }) => clientRequestId === id);
    },
  },
  {
    name: 'a second answer that is accepted',
    breaks: 'action.resolved',
    follows: ['action.one-accepted', 'action.order'],
    make: ({ tasks }) => {
      const judge = tasks.judge.bind(tasks);
      tasks.judge = (task, action) => {
        const status = judge(task, action);
        return status === 'REJECTED_ALREADY_RESOLVED' ? 'ACCEPTED' : status;
      };
    },
  },
  {
    name: 'an answer that is forgotten when the task is over',
    onlyInFull: true,
    breaks: 'action.repeated',
    follows: ['action.order'],
    make: ({ tasks }) => {
      const act = tasks.act.bind(tasks);
      tasks.act = (task, action, actor) => {
        if (task.isOver) task.receipts.clear();
        return act(task, action, actor);
      };
    },
  },
  {
    name: 'an end that is judged before the fate of the question',
    breaks: 'action.order',
    follows: ['action.expired'],
    make: ({ tasks }) => {
      const judge = tasks.judge.bind(tasks);
      tasks.judge = (task, action) => {
        if (task.isOver) throw new Refusal(409, 'TASK_ALREADY_TERMINAL');
        return judge(task, action);
      };
    },
  },
  {
    name: 'a second reason to cancel that takes the place of the first',
    onlyInFull: true,
    breaks: 'cancel.first-reason',
    make: ({ tasks }) => {
      const cancel = tasks.cancel.bind(tasks);
      tasks.cancel = (task, reason) => {
        task.cancelReason = undefined;
        return cancel(task, reason);
      };
    },
  },
  {
    name: 'an attempt that begins after the request to cancel',
    onlyInFull: true,
    breaks: 'cancel.no-new-attempt',
    make: ({ tasks }) => {
      const fail = tasks.fail.bind(tasks);
      tasks.fail = (task, failure) => {
        task.cancelReason = undefined;
        return fail(task, failure);
      };
    },
  },
  {
    name: 'a wrong close code for a cursor that is ahead',
    breaks: 'websocket.cursor-ahead',
    make: ({ streams }) => {
      const codeOf = streams.closeCodeOf.bind(streams);
      streams.closeCodeOf = (refusal) => (refusal.code === 'CURSOR_AHEAD' ? 4400 : codeOf(refusal));
    },
  },
  {
    name: 'a wrong close code at the end',
    onlyInFull: true,
    breaks: 'websocket.end',
    follows: ['websocket.over-at-once'],
    make: ({ streams }) => {
      streams.closeWhenOver = (socket) => socket.close(1001);
    },
  },
  {
    name: 'a wrong close code without a subscribe',
    onlyInFull: true,
    breaks: 'websocket.no-subscribe',
    make: ({ streams }) => {
      streams.closeWithoutSubscribe = (socket) => socket.close(1000);
    },
  },
  {
    name: 'a wrong close code at the maximal age',
    breaks: 'websocket.maximal-age',
    clocks: { maxAgeMs: 1_000 },
    options: ['--stream-max-seconds', '1', '--only', 'websocket.maximal-age,sse.maximal-age'],
    make: ({ streams }) => {
      streams.closeOld = (socket) => socket.close(1000);
    },
  },
  {
    name: 'a client that answers no ping, and is kept',
    onlyInFull: true,
    breaks: 'websocket.pings',
    make: ({ streams }) => {
      streams.hangUp = () => undefined;
    },
  },
  {
    name: 'a second subscribe that ends the first subscription',
    breaks: 'multiplex.already-subscribed',
    make: ({ streams }) => {
      streams.subscribedTwice = ({ following }, taskId) => {
        following.get(taskId)?.();
        following.delete(taskId);
      };
    },
  },
  {
    name: 'events after an unsubscribe',
    onlyInFull: true,
    breaks: 'multiplex.unsubscribed',
    make: ({ streams }) => {
      streams.left = () => undefined;
    },
  },
  {
    name: 'a task that is caught up with twice',
    onlyInFull: true,
    breaks: 'multiplex.caught-up',
    follows: ['multiplex.from-snapshot'],
    make: ({ streams }) => {
      const frames = streams.caughtUpFrames.bind(streams);
      streams.caughtUpFrames = (task) => [...frames(task), ...frames(task)];
    },
  },
  {
    name: 'a refused subscription that ends the connection',
    onlyInFull: true,
    breaks: 'multiplex.only-its-own',
    follows: ['multiplex.cursor', 'callers.foreign-multiplex'],
    make: ({ streams }) => {
      streams.refused = (socket) => socket.close(4404);
    },
  },
  {
    name: 'a connection that closes with its last subscription',
    onlyInFull: true,
    breaks: 'multiplex.stays-open',
    follows: ['multiplex.again'],
    make: ({ streams }) => {
      streams.lastEnded = (socket) => socket.close(1000);
    },
  },
  {
    name: 'a foreign page that may do what its visitor may',
    onlyInFull: true,
    breaks: 'browsers.foreign',
    follows: ['browsers.foreign-websocket', 'browsers.no-cors'],
    make: (server) => {
      server.isForeign = () => false;
    },
  },
  {
    name: 'an error of another shape',
    breaks: 'errors.shape',
    make: (server) => {
      const errorBody = server.errorBody.bind(server);
      server.errorBody = (refusal, id) => ({ ...errorBody(refusal, id), status: refusal.status });
    },
  },
  {
    name: 'a trace that is not continued',
    onlyInFull: true,
    breaks: 'http.traceparent',
    make: (server) => {
      const correlationIdOf = server.correlationIdOf.bind(server);
      server.correlationIdOf = (request) => {
        delete request.headers['traceparent'];
        return correlationIdOf(request);
      };
    },
  },
  {
    name: 'a step whose last result counts',
    breaks: 'steps.once',
    make: ({ tasks }) => {
      const storeStep = tasks.storeStep.bind(tasks);
      tasks.storeStep = (task, key, result) => {
        const { eventId } = storeStep(task, key, result);
        task.steps.set(key, { result, eventId: String(eventId) });
        return { eventId, result };
      };
    },
  },
  {
    name: 'a step that makes nothing valid',
    breaks: 'steps.boundary',
    follows: [
      'steps.retrying',
      'steps.resumed',
      'output.text',
      'output.settled',
      'output.tail',
      'sse.from-snapshot',
      'multiplex.from-snapshot',
    ],
    make: ({ tasks }) => {
      const storeStep = tasks.storeStep.bind(tasks);
      tasks.storeStep = (task, key, result) => {
        const { attemptBase } = task;
        const answer = storeStep(task, key, result);
        task.attemptBase = attemptBase;
        return answer;
      };
    },
  },
  {
    name: 'an answer that voids nothing',
    breaks: 'steps.resumed',
    follows: ['events.payloads', 'workers.void-keys'],
    make: ({ tasks }) => {
      tasks.isPutOutAgain = () => false;
    },
  },
  {
    name: 'a text with what is void',
    breaks: 'output.text',
    make: ({ tasks }) => {
      const textsAt = tasks.textsAt.bind(tasks);
      tasks.textsAt = (task, head) => {
        const isLost = (raw: string) => raw.startsWith('{"type":"TASK_RETRYING"');
        return textsAt({ log: task.log.filter((raw) => !isLost(raw)) } as unknown as MemoryTask, head);
      };
    },
  },
  {
    name: 'a settled text that is the present one',
    breaks: 'output.settled',
    follows: ['output.text', 'output.tail', 'sse.from-snapshot', 'multiplex.from-snapshot'],
    make: ({ tasks }) => {
      const textsAt = tasks.textsAt.bind(tasks);
      tasks.textsAt = (task) => textsAt(task, task.head);
    },
  },
  {
    name: 'a text without a bound',
    breaks: 'output.bounded',
    make: ({ tasks }) => {
      tasks.shownOf = (text) => text;
    },
  },
  {
    name: 'a snapshot by SSE that moves no cursor',
    breaks: 'sse.from-snapshot',
    follows: ['sse.from-at-the-end'],
    make: ({ streams }) => {
      streams.sseSnapshot = (_, snapshot) => `event: snapshot\ndata: ${storedJson(snapshot)}\n\n`;
    },
  },
  {
    name: 'a filter that compares no numbers',
    breaks: 'changes.filtered',
    make: (server) => {
      server.tagOf = (value) => (typeof value === 'string' ? value : undefined);
    },
  },
  {
    name: 'a feed by SSE whose parameter wins over the header',
    breaks: 'changes.stream',
    make: (server) => {
      server.feedCursor = (header, parameter) => parameter ?? header ?? null;
    },
  },
  {
    name: 'a feed on a WebSocket that brings nothing',
    breaks: 'changes.websocket',
    make: ({ streams }) => {
      const { openFeed } = streams;
      Object.assign(streams, {
        openFeed: (caller: Caller, after: string | null) => openFeed(caller, after, () => undefined),
      });
    },
  },
  {
    name: 'a follow token that does not say when it ends',
    breaks: 'follow-tokens.shape',
    make: ({ tokens }) => {
      tokens.answer = ({ text }) => ({ token: text });
    },
  },
  {
    name: 'a follow token for the task of another',
    breaks: 'follow-tokens.of-others',
    make: (server) => {
      server.checkMayMint = () => undefined;
    },
  },
  {
    name: 'a follow token that no header brings',
    breaks: 'follow-tokens.header',
    follows: [
      ...['follow-tokens.another-task', 'follow-tokens.rights', 'follow-tokens.revoked', 'follow-tokens.forged'],
      ...['credentials.ended', 'credentials.renewed'],
    ],
    make: (server) => {
      server.bearerOf = () => undefined;
    },
  },
  {
    name: 'a WebSocket that selects the subprotocol with the token',
    breaks: 'follow-tokens.subprotocol',
    make: (server) => {
      const selected = server.selected.bind(server);
      server.selected = (offered) => [...offered].find((one) => one.includes('token')) ?? selected(offered);
    },
  },
  {
    name: 'an SSE stream that takes no token',
    breaks: 'follow-tokens.query',
    follows: ['follow-tokens.forged', 'follow-tokens.two-principals', 'credentials.ended'],
    make: (server) => {
      server.queryOf = ({ query = [] }) => query;
    },
  },
  {
    name: 'a token in the query of each route',
    breaks: 'follow-tokens.query-elsewhere',
    make: (server) => {
      server.queryOf = ({ query = [] }) => [...query, 'token'];
    },
  },
  {
    name: 'a follow token whose last character does not matter',
    breaks: 'follow-tokens.forged',
    make: ({ tokens }) => {
      tokens.isSame = ({ text }, other) => other.startsWith(text.slice(0, -1));
    },
  },
  {
    name: 'a follow token that counts beside another principal',
    breaks: 'follow-tokens.two-principals',
    make: ({ tokens }) => {
      tokens.goesWith = () => true;
    },
  },
  {
    name: 'a follow token of one task that opens all of its owner',
    breaks: 'follow-tokens.another-task',
    make: ({ tokens }) => {
      tokens.covers = () => true;
    },
  },
  {
    name: 'a follow token that opens each route',
    breaks: 'follow-tokens.rights',
    make: ({ tokens }) => {
      tokens.checkOpens = () => undefined;
    },
  },
  {
    name: 'a revocation that changes nothing',
    breaks: 'follow-tokens.revoked',
    make: ({ tokens }) => {
      tokens.revoke = () => undefined;
    },
  },
  {
    name: 'streams that outlive their credentials',
    breaks: 'credentials.ended',
    follows: ['follow-tokens.revoked'],
    make: ({ tokens }) => {
      tokens.whenOver = () => () => undefined;
    },
  },
  {
    name: 'newer credentials that do not count',
    breaks: 'credentials.renewed',
    make: ({ streams }) => {
      streams.renew = () => undefined;
    },
  },
  {
    name: 'a snapshot of an ended task without its result',
    breaks: 'sse.snapshot-of-the-end',
    make: ({ tasks }) => {
      const snapshotFrame = tasks.snapshotFrame.bind(tasks);
      tasks.snapshotFrame = (task) => {
        const { result: _, ...frame } = snapshotFrame(task);
        return frame;
      };
    },
  },
  {
    name: 'a beginning that wins over a cursor',
    breaks: 'sse.cursor-wins',
    make: ({ streams }) => {
      streams.begins = (from) => from;
    },
  },
  {
    name: 'a page backwards that begins with the event that it is before',
    breaks: 'poll.before',
    make: (server) => {
      const endBefore = server.endBefore.bind(server);
      server.endBefore = (task, before) => Math.min(task.head, endBefore(task, before) + 1);
    },
  },
  {
    name: 'a new try that may void finished steps',
    breaks: 'steps.retrying',
    make: ({ tasks }) => {
      tasks.checkVoid = () => undefined;
    },
  },
  {
    name: 'finished steps for a worker that does not know them',
    breaks: 'workers.steps',
    make: ({ tasks }) => {
      tasks.suits = () => true;
    },
  },
  {
    name: 'keys that outlive their attempt',
    breaks: 'workers.event-keys',
    make: ({ tasks }) => {
      const lease = tasks.lease.bind(tasks);
      tasks.lease = (task) => {
        const kept = [...task.keys];
        const answer = lease(task);
        for (const [key, id] of kept) task.keys.set(key, id);
        return answer;
      };
    },
  },
  {
    name: 'a key that goes on naming what is void',
    breaks: 'workers.void-keys',
    make: ({ tasks }) => {
      tasks.isVoid = () => false;
    },
  },
  {
    name: 'heartbeats of which a lost one refuses all',
    breaks: 'workers.heartbeats',
    make: (server) => {
      server.renewal = (taskId, token) => {
        server.tasks.held(taskId, token);
        return { taskId, ...server.beat(taskId) };
      };
    },
  },
  {
    name: 'leases that are renewed by the length of all others',
    breaks: 'workers.lease-seconds',
    make: ({ tasks }) => {
      tasks.extend = (task, token) => {
        const isNew = task.run.state !== 'leased';
        const lengthMs = isNew ? task.leaseMs : tasks.numbers.leaseMs;
        task.run = { state: 'leased', token, expiresAt: tasks.now + lengthMs };
      };
    },
  },
  {
    name: 'a limit that lets one task more run',
    onlyInFull: true,
    breaks: 'waiting.concurrency',
    make: ({ tasks }) => {
      tasks.hasRoom = () => true;
    },
  },
  {
    name: 'a create whose input nobody checks',
    onlyInFull: true,
    breaks: 'create.schema',
    make: ({ tasks }) => {
      tasks.checkInput = () => {};
    },
  },
  {
    name: 'a deadline that never comes',
    onlyInFull: true,
    breaks: 'create.deadline',
    make: ({ tasks }) => {
      tasks.expireAt = () => {};
    },
  },
  {
    name: 'a bulk that is another one when it is repeated',
    onlyInFull: true,
    breaks: 'bulk.repeated',
    make: ({ tasks }) => {
      tasks.bulkRequests.get = () => undefined;
    },
  },
  {
    name: 'a bulk that runs what matches now',
    breaks: 'bulk.shown',
    make: (server) => {
      server.shownTasks = ({ taskIds }) => {
        const [first] = server.tasks.all.filter(({ taskId }) => (taskIds as readonly string[]).includes(taskId));
        return first ? server.tasks.cancellable(first.owner, first.taskType) : [];
      };
    },
  },
  {
    name: 'a task that is erased while it runs',
    onlyInFull: true,
    breaks: 'erase.over',
    make: (server) => {
      server.checkErasable = () => {};
    },
  },
  {
    name: 'a create with the id of a tick',
    breaks: 'schedules.ids',
    make: (server) => {
      server.isReserved = () => false;
    },
  },
  {
    name: 'an answer that does not fit its schema',
    breaks: 'act.schema',
    make: ({ tasks }) => {
      tasks.checkSchema = () => {};
    },
  },
  {
    name: 'an answer of nobody',
    onlyInFull: true,
    breaks: 'act.who',
    make: ({ tasks }) => {
      tasks.answerOf = ({ clientActionId }) => ({ clientActionId });
    },
  },
  {
    name: 'a run again that does the steps again',
    breaks: 'retry.steps',
    make: ({ tasks }) => {
      tasks.keepSteps = () => {};
    },
  },
  {
    name: 'a run again of a task that runs',
    onlyInFull: true,
    breaks: 'retry.over',
    follows: ['erase.over'],
    make: ({ tasks }) => {
      tasks.checkOver = () => {};
    },
  },
  {
    name: 'signals of known tasks',
    breaks: 'workers.signals',
    make: ({ tasks }) => {
      const cancelledOf = tasks.cancelledOf.bind(tasks);
      tasks.cancelledOf = (workerId) => cancelledOf(workerId, []);
    },
  },
  {
    name: 'a stale lease that is accepted',
    breaks: 'workers.fence',
    follows: ['workers.lease-expires', 'workers.heartbeat', 'workers.files-fence'],
    make: ({ tasks }) => {
      const tokens = new Map<string, MemoryTask>();
      const newToken = tasks.newToken.bind(tasks);
      tasks.newToken = (task) => {
        const token = newToken(task);
        tokens.set(token, task);
        return token;
      };
      const held = tasks.held.bind(tasks);
      tasks.held = (taskId, token) => {
        const task = tokens.get(String(token));
        return task?.taskId === taskId && !task.isOver ? task : held(taskId, token);
      };
    },
  },
  {
    name: 'workers that hear of another feature',
    onlyInFull: true,
    breaks: 'features.workers',
    make: (server) => {
      server.serviceForWorkers = () => ({ status: 200, body: { version: '0.0.0', features: ['slashTaskTypes'] } });
    },
  },
  {
    name: 'a task that two workers are given',
    onlyInFull: true,
    breaks: 'workers.one-lease-each',
    make: ({ tasks }) => {
      const claim = tasks.claim.bind(tasks);
      tasks.claim = (taskTypes, maxTasks, knowsSteps) => {
        const leases = claim(taskTypes, maxTasks, knowsSteps);
        const leased = tasks.all.filter(({ taskType, run }) => taskTypes.includes(taskType) && run.state === 'leased');
        return leases.length > 0 ? leases : leased.slice(0, maxTasks).map((task) => tasks.lease(task));
      };
    },
  },
  {
    name: 'a repeated batch that is stored again',
    breaks: 'workers.batch-repeated',
    make: ({ tasks }) => {
      const repeatedBatch = tasks.repeatedBatch.bind(tasks);
      tasks.repeatedBatch = (task, batch) => {
        const ids = repeatedBatch(task, batch);
        tasks.storeBatch(task, JSON.parse(batch) as []);
        return ids;
      };
    },
  },
  {
    name: 'a batch that is stored up to what is wrong with it',
    onlyInFull: true,
    breaks: 'workers.batch-whole',
    make: ({ tasks }) => {
      const append = tasks.append.bind(tasks);
      tasks.append = (taskId, token, batchSeq, events) => {
        try {
          return append(taskId, token, batchSeq, events);
        } catch (error) {
          if (error instanceof Refusal && error.status === 422 && events.length > 1) {
            tasks.storeBatch(tasks.held(taskId, token), events.slice(0, 1));
          }
          throw error;
        }
      };
    },
  },
  {
    name: 'a question that may be asked again under its id',
    onlyInFull: true,
    breaks: 'workers.asks-once',
    make: ({ tasks }) => {
      const suspend = tasks.suspend.bind(tasks);
      tasks.suspend = (task, asked) => {
        task.questions.delete(String(asked['suspendId']));
        return suspend(task, asked);
      };
    },
  },
];

export const MUTANTS = ALL.filter(({ onlyInFull }) => !onlyInFull || process.env['FULL'] === '1');
