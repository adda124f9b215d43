import { randomBytes } from 'node:crypto';
import type { Check } from '../clause.js';
import { demand, demandRefusal, demandSame, shown } from '../demands.js';
import { ABSENT_TASK } from '../wire.js';

export const correlationId: Check = async (scene) => {
  const body = { clientRequestId: scene.newId(), taskType: scene.anyType };
  const answers = [
    await scene.create(body),
    await scene.create(body),
    await scene.a.list({ limit: 1 }),
    await scene.a.snapshot(ABSENT_TASK),
    await scene.a.request('GET', '/api/v1/nothing'),
    await scene.a.request('PUT', '/api/v1/tasks'),
    await scene.a.post('/api/v1/tasks', {}),
    await scene.a.list({ unknown: 1 }),
  ];
  for (const answer of answers) {
    const id = answer.headers.get('x-correlation-id');
    demand(id !== null && id !== '', `${shown(answer)} without X-Correlation-Id`);
  }
};

export const traceparent: Check = async (scene) => {
  const idFor = async (traceId: string) => {
    const headers = { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01` };
    return (await scene.a.request('GET', '/api/v1/tasks?limit=1', { headers })).headers.get('x-correlation-id');
  };
  const [one, other] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
  const [first, again, different] = [await idFor(one), await idFor(one), await idFor(other)];
  demandSame('the correlation ids of two requests of one trace', again, first);
  demand(first !== different, `requests of different traces have the correlation id ${first}`);
};

export const strictQuery: Check = async (scene) => {
  const paths = [
    '/api/v1/tasks?unknown=1',
    '/api/v1/tasks?limit=1&limit=1',
    `/api/v1/tasks/${ABSENT_TASK}/events?after=1`,
    `/api/v1/tasks/${ABSENT_TASK}/events?afterEventId=1&afterEventId=1`,
    `/api/v1/tasks/${ABSENT_TASK}/events/stream?lastEventID=1`,
    `/api/v1/tasks/${ABSENT_TASK}?wait=1`,
  ];
  for (const path of paths) demandRefusal(await scene.a.request('GET', path), 'INVALID_REQUEST');
};
