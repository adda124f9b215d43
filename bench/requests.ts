import { randomUUID } from 'node:crypto';
import { WORKER_TOKEN } from '../test/support/worker-client.js';
import type { Answer, HttpConnection } from './http-connection.js';

// The requests of clients and workers, as small as possible. Each fails on another answer than the expected one.

export interface Lease {
  readonly taskId: string;
  readonly leaseToken: string;
}

/** Distinct principals: the number of open tasks of one is capped. */
const OWNERS = 1_000;
const AUTHORIZATION = `Authorization: Bearer ${WORKER_TOKEN}\r\n`;

let created = 0;

const INPUT = { prompt: 'Summarise the attached report in three sentences.', temperature: 0.2, model: 'any' };

export async function create(
  connection: HttpConnection,
  owners = OWNERS,
  { taskType, input }: { readonly taskType: string; readonly input: object } = { taskType: 'bench.wait', input: INPUT },
): Promise<void> {
  created += 1;
  const answer = await connection.post('/api/v1/tasks', `X-Principal-Id: owner-${created % owners}\r\n`, {
    clientRequestId: randomUUID(),
    taskType,
    input,
    metadata: { source: 'bench' },
  });
  expected(201, answer);
}

export async function claim(
  connection: HttpConnection,
  maxTasks: number,
  waitTimeoutMs: number,
): Promise<readonly Lease[]> {
  const body = { workerId: 'bench', taskTypes: ['bench.wait'], maxTasks, waitTimeoutMs };
  const { text } = expected(200, await connection.post('/worker/v1/leases', AUTHORIZATION, body));
  return (JSON.parse(text) as { leases: readonly Lease[] }).leases;
}

/** `batchSeq` counts from 1 within the lease. */
export async function append(
  connection: HttpConnection,
  { taskId, leaseToken }: Lease,
  batchSeq: number,
  messages: readonly string[],
): Promise<void> {
  const events = messages.map((message) => ({ type: 'TASK_MESSAGE', payload: { message } }));
  const body = { leaseToken, batchSeq, events };
  expected(200, await connection.post(`/worker/v1/tasks/${taskId}/events`, AUTHORIZATION, body));
}

export async function complete(connection: HttpConnection, { taskId, leaseToken }: Lease): Promise<void> {
  const body = { leaseToken, result: null };
  expected(200, await connection.post(`/worker/v1/tasks/${taskId}/complete`, AUTHORIZATION, body));
}

function expected(status: number, answer: Answer): Answer {
  if (answer.status !== status) throw new Error(`answered with ${answer.status}: ${answer.text}`);
  return answer;
}
