import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { OutputFold } from '#protocol/output-fold.js';
import type { ShownOutput } from '#protocol/snapshots.js';
import { type Client, type Envelope, newPrincipal, uniqueId } from '../support/client.js';
import { storedEnvelopes } from '../support/fold.js';
import {
  followLongPoll,
  followSse,
  followSseAt,
  followWebSocket,
  isTerminal,
  type Reader,
  recordWebSocket,
  seededRandom,
} from '../support/follow.js';
import { SUBPROTOCOL } from '../support/multiplex-client.js';
import { createTestDatabase } from '../support/postgres.js';
import { type Service, startService } from '../support/service.js';
import { textsOf } from '../support/texts.js';
import {
  type Lease,
  output,
  progress,
  question,
  WITH_WORKERS,
  WorkerClient,
  type WorkerEvent,
} from '../support/worker-client.js';
import { WebSocket } from 'ws';

/** FULL=1 is the size that the guarantees speak of; without it the same in small. */
const RUNS = process.env['FULL'] === '1' ? 500 : 12;
const MOVES = 24;
const SEED = Number(process.env['SEED'] ?? 20_261_201);

type SnapshotWithOutput = ShownOutput & { readonly headEventId: string; readonly status: string };

/** A way to join a task: where the snapshot comes from, and what brings the events behind it. */
interface Way {
  /** Begins with a snapshot. Undefined where `snapshotIn` has to ask for it first. */
  readonly begin?: (client: Client, taskId: string) => Reader;
  readonly snapshotIn: (client: Client, taskId: string, reader?: Reader) => Promise<SnapshotWithOutput>;
  readonly resume: (client: Client, taskId: string, cursor: string) => Reader;
}

const asked = async (client: Client, taskId: string): Promise<SnapshotWithOutput> => {
  const { status, text, body } = await client.request<SnapshotWithOutput>(
    'GET',
    `/api/v1/tasks/${taskId}?include=output`,
  );
  if (status !== 200) throw new Error(`the snapshot was refused with ${status}: ${text}`);
  return body;
};

function multiplexed(client: Client, taskId: string, members: object): Reader {
  const address = `${client.url.replace(/^http/, 'ws')}/api/v1/tasks/ws`;
  const socket = new WebSocket(address, [SUBPROTOCOL], { headers: client.headers, perMessageDeflate: false });
  socket.on('open', () => socket.send(JSON.stringify({ action: 'subscribe', taskId, ...members })));
  const reader = recordWebSocket(socket);
  socket.on('message', (data: Buffer) => {
    if (data.includes('"SUBSCRIPTION_ENDED"')) socket.close();
  });
  return reader;
}

const WAYS: Readonly<Record<string, Way>> = {
  SSE: {
    begin: (client, taskId) =>
      followSseAt(`${client.url}/api/v1/tasks/${taskId}/events/stream?from=snapshot`, client.headers),
    snapshotIn: async (_client, _taskId, reader) => {
      const frame = await firstFrame(reader, (raw) => raw.includes('event: snapshot'));
      const [, id, data = ''] = /^id: (\d+)\nevent: snapshot\ndata: (.*)$/.exec(frame) ?? [];
      const snapshot = JSON.parse(data) as SnapshotWithOutput;
      expect(id).toBe(snapshot.headEventId);
      return snapshot;
    },
    resume: (client, taskId, cursor) => followSse(client.url, taskId, cursor, client.headers),
  },
  multiplex: {
    begin: (client, taskId) => multiplexed(client, taskId, { from: 'snapshot' }),
    snapshotIn: async (_client, _taskId, reader) =>
      JSON.parse(await firstFrame(reader, (raw) => raw.includes('"type":"TASK_SNAPSHOT"'))) as SnapshotWithOutput,
    resume: (client, taskId, lastEventId) => multiplexed(client, taskId, { lastEventId }),
  },
  WebSocket: {
    snapshotIn: asked,
    resume: (client, taskId, cursor) => followWebSocket(client.url, taskId, cursor, client.headers),
  },
  'long-poll': {
    snapshotIn: asked,
    resume: (client, taskId, cursor) => followLongPoll(client.url, taskId, cursor, client.headers),
  },
};

async function firstFrame(reader: Reader | undefined, fits: (raw: string) => boolean): Promise<string> {
  await reader?.waitFor(({ frames }) => frames.some(fits));
  return reader?.frames.find(fits) ?? '';
}

const isEvent = (raw: string) => /^\{"type":"TASK_(?!SNAPSHOT)/.test(raw);

/** Joins at once, leaves after random numbers of events, resumes, and begins anew where a text is unknown. Its texts at the end. */
async function joined(way: Way, client: Client, taskId: string, random: () => number) {
  let [snapshots, connections] = [0, 0];
  let fold: OutputFold | undefined;
  let cursor = '0';
  for (;;) {
    let reader: Reader;
    connections += 1;
    if (fold?.isExact) reader = way.resume(client, taskId, cursor);
    else {
      const begun = way.begin?.(client, taskId);
      const snapshot = await way.snapshotIn(client, taskId, begun);
      snapshots += 1;
      fold = new OutputFold(snapshot);
      cursor = snapshot.headEventId;
      for (const { truncated } of Object.values(snapshot.output)) expect(truncated).toBe(false);
      if (/^(COMPLETED|FAILED|CANCELLED)$/.test(snapshot.status)) {
        begun?.close();
        return { texts: fold.texts(), snapshots, connections };
      }
      reader = begun ?? way.resume(client, taskId, cursor);
    }
    const wanted = 1 + Math.floor(random() * 40);
    await reader.waitFor(({ events, outcome }) => outcome !== undefined || events.length >= wanted, 60_000);
    reader.close();
    for (const { eventId, raw } of reader.events.filter((one) => isEvent(one.raw)).slice(0, wanted)) {
      const { type, payload } = JSON.parse(raw) as Envelope;
      expect(Number(eventId)).toBe(Number(cursor) + 1);
      fold.add(Number(eventId), type, payload);
      cursor = eventId;
      if (!fold.isExact) break;
      if (isTerminal(raw)) return { texts: fold.texts(), snapshots, connections };
    }
  }
}

/** Plays the worker and the owner of one task: appends as fast as the service takes them. */
async function played(service: Service, client: Client, taskType: string, random: () => number): Promise<void> {
  const worker = new WorkerClient(service.url);
  const claim = async (): Promise<Lease> => {
    const { body } = await worker.claim({ taskTypes: [taskType], waitTimeoutMs: 15_000, steps: true });
    const [lease] = body.leases;
    if (!lease) throw new Error('no lease');
    return lease;
  };
  let lease = await claim();
  let [batchSeq, head] = [0, 1];
  let base = lease.headEventId === '0' ? 1 : Number(lease.headEventId);
  let hasSteps = false;
  const append = async (...events: readonly WorkerEvent[]) => {
    batchSeq += 1;
    const { status, text, body } = await worker.events(lease, batchSeq, events);
    if (status !== 200) throw new Error(`an append was refused: ${status} ${text}`);
    head = Number(body.eventIds.at(-1));
  };
  const begunAgain = async () => {
    lease = await claim();
    batchSeq = 0;
    head = Number(lease.headEventId);
  };
  for (let move = 0; move < MOVES; move += 1) {
    const kind = random();
    if (kind < 0.6) {
      const texts = Array.from({ length: 1 + Math.floor(random() * 8) }, (_, n) =>
        output(`${move}.${n} `, n % 3 === 2 ? 'log' : 'text'),
      );
      const replaced = { type: 'TASK_OUTPUT', payload: { channel: 'text', op: 'replace', data: `=${move} ` } };
      await append(...texts, ...(random() < 0.2 ? [replaced] : []), progress(move));
    } else if (kind < 0.72) {
      batchSeq += 1;
      const { body } = await worker.finishStep(lease, batchSeq, `step#${move}`, move);
      head = base = Number(body.eventId);
      hasSteps = true;
    } else if (kind < 0.84) {
      const since = base + Math.floor(random() * (head - base + 1));
      const payload = { key: `step#${move}`, state: 'retrying', supersedesAfterEventId: String(since) };
      await append({ type: 'TASK_STEP', payload });
    } else if (kind < 0.92) {
      await worker.fail(lease, { retryable: true, retryAfterMs: 0 });
      await begunAgain();
      if (!hasSteps) base = head;
    } else {
      const suspendId = `q${move}`;
      await worker.suspend(lease, question({ suspendId }));
      const { status } = await client.act(lease.taskId, {
        clientActionId: suspendId,
        suspendId,
        actionType: 'approve',
      });
      expect(status).toBe(202);
      await begunAgain();
    }
  }
  await worker.complete(lease);
}

describe('A client that joins a task late', () => {
  let database: Awaited<ReturnType<typeof createTestDatabase>>;
  let service: Service;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    const env = { DATABASE_URL: database.appUrl, ...WITH_WORKERS, TASK_MAX_ATTEMPTS: '1000' };
    service = await startService(env, { lifetime: 'file' });
    client = newPrincipal(service.url);
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  it(
    `has in the end the text of the whole log, ${RUNS} times, by every transport`,
    async () => {
      const seen = { joins: 0, connections: 0, again: 0 };
      for (let run = 0; run < RUNS; run += 1) {
        const random = seededRandom(SEED + run);
        const taskType = uniqueId('late');
        const { taskId } = (await client.create({ clientRequestId: uniqueId(), taskType })).body;
        const playing = played(service, client, taskType, random);
        const joining = Object.entries(WAYS).map(async ([name, way], index) => {
          // A task of this size has about 150 events. Some clients are there before the first, some come after the last.
          const after = Math.floor(random() * 200) * (index === run % 4 ? 0 : 1);
          await client.events(taskId, { afterEventId: '0', maxEvents: '1', waitTimeoutMs: '30000' });
          for (let head = 0; head < after; ) {
            const { body } = await client.snapshot(taskId);
            head = body.status === 'COMPLETED' ? Infinity : Number(body.headEventId);
          }
          return { name, ...(await joined(way, client, taskId, random)) };
        });
        const results = await Promise.all(joining);
        await playing;
        const log = (await storedEnvelopes(database.superuserUrl, taskId)).map((raw) => JSON.parse(raw) as Envelope);
        const whole = said(textsOf(log));
        for (const { name, texts, snapshots, connections } of results) {
          expect({ seed: SEED + run, name, texts: said(texts) }).toEqual({ seed: SEED + run, name, texts: whole });
          seen.joins += 1;
          seen.connections += connections;
          seen.again += snapshots - 1;
        }
      }
      expect(seen.connections).toBeGreaterThan(1.5 * seen.joins);
      // A void between the boundary and the head is rare.
      if (RUNS >= 100) expect(seen.again).toBeGreaterThan(0);
    },
    RUNS * 10_000,
  );
});

const said = (texts: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ''));
