import {
  MAX_EVENT_BYTES,
  MAX_JSON_DEPTH,
  MAX_RESULT_BYTES,
  MAX_SENT_FRAME_BYTES,
} from '../../../protocol/src/limits.js';
import { type Check } from '../clause.js';
import { Broken, NotChecked } from '../outcomes.js';
import { demand, demandAnswer, demandRefusal, demandSame } from '../demands.js';
import type { Scene } from '../scene.js';
import type { Created } from '../wire.js';

/** The default of `MAX_REQUEST_BODY_SIZE_BYTES`. */
const MAX_BODY_BYTES = 2 ** 20;
/** `id: 2`, `data: ` and line ends. */
const AROUND_SSE_BYTES = 16;

const createdFrom = async (scene: Scene, json: string | Buffer) => {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await scene.a.request('POST', '/api/v1/tasks', { headers, body: json });
  scene.remember(answer);
  return answer;
};

/** A create whose input has this text as the member `a`. */
const withInput = (scene: Scene, json: string) =>
  `{"clientRequestId":"${scene.newId()}","taskType":"${scene.anyType}","input":{"a":${json}}}`;

export const largestBody: Check = async (scene) => {
  const answer = await createdFrom(scene, withInput(scene, `"${'x'.repeat(MAX_BODY_BYTES)}"`));
  if (answer.status === 201) throw new NotChecked('the operator allows bodies above 1 MiB');
  demandRefusal(answer, 'PAYLOAD_TOO_LARGE');
};

export const oneMeaning: Check = async (scene) => {
  const inputs = {
    [`nesting deeper than ${MAX_JSON_DEPTH}`]: '['.repeat(MAX_JSON_DEPTH + 1) + ']'.repeat(MAX_JSON_DEPTH + 1),
    'duplicate members': '{"x":1,"x":1}',
    'duplicate members, escaped': '{"x":1,"\\u0078":1}',
    __proto__: '{"__proto__":{}}',
    constructor: '{"constructor":1}',
    'a number that a double would change': '9007199254740993.5',
    'a number that is too large': '1e400',
    'an integer that is too large': `1${'0'.repeat(309)}`,
    'a number that would become zero': '1e-400',
    'U+0000': '"\\u0000"',
    'a lone surrogate': '"\\ud800"',
    'a comment': '1/**/',
    'a trailing comma': '[1,]',
  };
  for (const [what, json] of Object.entries(inputs)) {
    const answer = await createdFrom(scene, withInput(scene, json));
    demandRefusal(answer, 'INVALID_REQUEST', what);
  }
  const whole = {
    'a byte order mark': Buffer.from(`\ufeff${withInput(scene, '1')}`),
    'bytes that are not UTF-8': Buffer.from(withInput(scene, '"\u00e9"'), 'latin1'),
    'an array at the top': `[${withInput(scene, '1')}]`,
    'a text at the top': '"text"',
  };
  for (const [what, bytes] of Object.entries(whole)) {
    const answer = await createdFrom(scene, bytes);
    demandRefusal(answer, 'INVALID_REQUEST', what);
  }
  const fits = `{"z":${'['.repeat(20)}${']'.repeat(20)},"n":[0.1,1e21,-1.5,9007199254740991],"s":"\\ud83d\\ude00"}`;
  demandAnswer(await createdFrom(scene, withInput(scene, fits)), 201);
};

export const largestEvent: Check = async (scene) => {
  const task = await scene.begin();
  const events = [{ type: 'TASK_MESSAGE', payload: { message: 'x'.repeat(MAX_EVENT_BYTES) } }];
  const answer = await task.worker.events(task.lease, 1, events);
  if (answer.status === 200) throw new NotChecked('the operator allows payloads above 64 KiB');
  demandRefusal(answer, 'PAYLOAD_TOO_LARGE');
  demand((await scene.events(task.taskId)).length === 1, 'an event was stored that was refused');
};

export const largestResult: Check = async (scene) => {
  const task = await scene.begin();
  const largest = MAX_RESULT_BYTES - '{"result":""}'.length;
  const answer = await task.worker.call(task.lease, 'complete', { result: 'x'.repeat(largest + 1) });
  demandRefusal(answer, 'PAYLOAD_TOO_LARGE');
  const escaped = await task.worker.call(task.lease, 'complete', { result: '\u2028'.repeat(largest / 4) });
  demandRefusal(escaped, 'PAYLOAD_TOO_LARGE');
  demandAnswer(await task.worker.call(task.lease, 'complete', { result: 'x'.repeat(largest) }), 200);
};

export const largestFrame: Check = async (scene) => {
  const task = await scene.begin();
  await task.complete('x'.repeat(MAX_RESULT_BYTES - '{"result":""}'.length));
  for (const transport of ['websocket', 'multiplex', 'sse'] as const) {
    const follower = scene.follow(transport, task.taskId);
    demand(await follower.comes(() => follower.hasTerminal), `${transport} brings no terminal event of 1 MiB`);
    const bytes = Buffer.byteLength(follower.events.at(-1)?.raw ?? '') + AROUND_SSE_BYTES;
    demand(
      bytes <= MAX_SENT_FRAME_BYTES,
      `a frame of ${transport} has ${bytes} bytes, demanded: at most ${MAX_SENT_FRAME_BYTES}`,
    );
  }
};

const NUMBERS = '{"id":9007199254740993,"ids":[9223372036854775807,-9007199254740993],"zero":-0,"tenth":0.1}';
const KEPT = NUMBERS.replace('-0,', '0,');

export const largeIntegers: Check = async (scene) => {
  const has = (what: string, answer: { readonly text: string }, times: number) => {
    const found = answer.text.split(KEPT).length - 1;
    demand(found === times, `${what} has ${found} of ${times} times ${KEPT}: ${answer.text.slice(0, 500)}`);
  };
  const headers = { 'Content-Type': 'application/json' };
  const taskType = scene.newType();
  const clientRequestId = scene.newId();
  const create = (numbers: string) => {
    const body = `{"clientRequestId":"${clientRequestId}","taskType":"${taskType}","input":${numbers},"metadata":${numbers}}`;
    return scene.a.request<Created>('POST', '/api/v1/tasks', { headers, body });
  };
  const created = await create(NUMBERS);
  scene.remember(created);
  demandAnswer(created, 201);
  const { taskId } = created.body;
  demandSame('a repeated create', [(await create(KEPT)).status, (await create(KEPT)).body.taskId], [200, taskId]);
  demandRefusal(await create(KEPT.replaceAll('740993', '740992')), 'IDEMPOTENCY_CONFLICT');
  has('a snapshot', await scene.a.snapshot(taskId), 2);

  const { worker } = scene;
  const claim = () => worker.claim([taskType], { waitTimeoutMs: 10_000 });
  const first = await claim();
  has('a lease', first, 2);
  const question = `"suspendId":"q","kind":"SYSTEM_PAUSED","reasonCode":"R","allowedActions":["yes"],"interaction":${NUMBERS},"uiHints":${NUMBERS}`;
  demandAnswer(await worker.callWith(first.body.leases[0] ?? demandLease(), 'suspend', question), 200);
  has('a snapshot with a question', await scene.a.snapshot(taskId), 4);
  const action = `{"clientActionId":"a","suspendId":"q","actionType":"yes","payload":${NUMBERS},"metadata":${NUMBERS}}`;
  demandAnswer(await scene.a.request('POST', `/api/v1/tasks/${taskId}/actions`, { headers, body: action }), 202);
  const second = await claim();
  has('a lease with an answer', second, 4);
  demandAnswer(await worker.callWith(second.body.leases[0] ?? demandLease(), 'complete', `"result":${NUMBERS}`), 200);
  has('a snapshot with a result', await scene.a.snapshot(taskId), 3);
  has('the events', await scene.a.page(taskId, { waitTimeoutMs: 0 }), 3);
};

function demandLease(): never {
  throw new Broken('a task that waits was not handed out');
}
