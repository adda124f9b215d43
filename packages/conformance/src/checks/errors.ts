import { gzipSync } from 'node:zlib';
import type { ErrorCode } from '../../../protocol/src/errors.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { Answer } from '../api-client.js';
import type { Check } from '../clause.js';
import { demand, demandMembers, demandRefusal, demandSame, refusal, shown } from '../demands.js';
import type { Scene } from '../scene.js';
import { ABSENT_TASK, TIMESTAMP, type ErrorBody } from '../wire.js';

/** The status of a service without the worker protocol. */
const [ABSENT] = refusal('NOT_FOUND');

const JSON_TYPE = { 'Content-Type': 'application/json' };

/** A refusal of each kind that every client can cause. */
const REFUSALS: Readonly<Record<string, (scene: Scene) => Promise<Answer<unknown>>>> = {
  'malformed JSON': ({ a }) => a.request('POST', '/api/v1/tasks', { headers: JSON_TYPE, body: '{' }),
  'a parameter': ({ a }) => a.list({ limit: 0 }),
  'a cursor': ({ a }) => a.list({ cursor: 'no-list-gave-this' }),
  'no such task': ({ a }) => a.snapshot(ABSENT_TASK),
  'nothing there': ({ a }) => a.request('GET', '/api/v1/nothing'),
  'a method': ({ a }) => a.request('PUT', '/api/v1/tasks', { headers: JSON_TYPE, body: '{}' }),
  'a type of answer': ({ a }) =>
    a.request('GET', `/api/v1/tasks/${ABSENT_TASK}/events/stream`, { headers: { Accept: 'image/png' } }),
  'a type of body': ({ a }) =>
    a.request('POST', '/api/v1/tasks', { headers: { 'Content-Type': 'text/plain' }, body: '{}' }),
  members: ({ a }) => a.post('/api/v1/tasks', { clientRequestId: 'x', taskType: 'demo.greet', other: 1 }),
  'a worker without a token': ({ stranger }) => stranger.post('/worker/v1/leases', {}),
};

export const shapeOfErrors: Check = async (scene) => {
  for (const [kind, refuse] of Object.entries(REFUSALS)) {
    const answer = await refuse(scene);
    if (kind === 'a worker without a token' && answer.status === ABSENT) continue;
    const { body } = answer;
    demand(typeof body === 'object' && body !== null, `${shown(answer)}: the body is no JSON object`);
    const error = body as ErrorBody;
    demandMembers(shown(answer), error, SCHEMAS.Error);
    const { code, message, details, timestamp, correlationId } = error;
    demand(/^[A-Z][A-Z_]*$/.test(code), `${shown(answer)}: code is ${code}`);
    demand(typeof message === 'string' && message !== '', `${shown(answer)}: message is ${JSON.stringify(message)}`);
    demand(typeof details === 'object' && details !== null, `${shown(answer)}: details is ${JSON.stringify(details)}`);
    demand(TIMESTAMP.test(timestamp), `${shown(answer)}: timestamp is ${timestamp}`);
    demand(
      correlationId === answer.headers.get('x-correlation-id'),
      `${shown(answer)}: X-Correlation-Id is ${answer.headers.get('x-correlation-id')}`,
    );
    const type = answer.headers.get('content-type') ?? '';
    demand(/^application\/json\b/.test(type), `${shown(answer)}: Content-Type is ${type}`);
  }
};

const refusedWith =
  (kind: string, code: ErrorCode): Check =>
  async (scene) =>
    demandRefusal((await REFUSALS[kind]?.(scene)) as Answer<unknown>, code);

export const malformed = refusedWith('malformed JSON', 'INVALID_REQUEST');
export const nothingThere = refusedWith('nothing there', 'NOT_FOUND');
export const notAcceptable = refusedWith('a type of answer', 'NOT_ACCEPTABLE');
export const noSuchTask = refusedWith('no such task', 'TASK_NOT_FOUND');

export const methodNotAllowed: Check = async (scene) => {
  const answer = (await REFUSALS['a method']?.(scene)) as Answer<unknown>;
  demandRefusal(answer, 'METHOD_NOT_ALLOWED');
  const allow = (answer.headers.get('allow') ?? '').split(/,\s*/);
  demand(
    ['GET', 'POST'].every((method) => allow.includes(method)),
    `Allow is ${allow.join(', ')}`,
  );
};

export const unsupportedType: Check = async (scene) => {
  const body = JSON.stringify({ clientRequestId: scene.newId(), taskType: scene.anyType });
  const sent: [Record<string, string>, string | Buffer][] = [
    [{ 'Content-Type': 'text/plain' }, body],
    [{ 'Content-Type': 'application/json; charset=latin1' }, body],
    [{ ...JSON_TYPE, 'Content-Encoding': 'gzip' }, gzipSync(body)],
  ];
  for (const [headers, bytes] of sent) {
    const answer = await scene.a.request('POST', '/api/v1/tasks', { headers, body: bytes });
    scene.remember(answer);
    demandRefusal(answer, 'UNSUPPORTED_MEDIA_TYPE');
  }
};

export const namedMembers: Check = async (scene) => {
  const answer = await scene.create({ clientRequestId: scene.newId(), taskType: 'with space', metadata: 1 });
  demandRefusal(answer, 'REQUEST_VALIDATION_ERROR');
  const { errors } = (answer.body as unknown as ErrorBody).details as { errors?: { path: string; message: string }[] };
  demand(Array.isArray(errors), `${shown(answer)}: details.errors is no list`);
  for (const error of errors) {
    demandSame('the members of an element of details.errors', Object.keys(error).sort(), ['message', 'path']);
  }
  const paths = new Set(errors.map(({ path }) => path));
  demand(paths.has('taskType') && paths.has('metadata') && paths.size === 2, `${shown(answer)}: names other members`);
};
