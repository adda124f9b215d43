import { MAX_EVENT_BYTES, MAX_JSON_DEPTH, MAX_RESULT_BYTES } from '../../../protocol/src/limits.js';
import { type Check } from '../clause.js';
import { NotChecked } from '../outcomes.js';
import { demand, demandAnswer, demandRefusal } from '../demands.js';
import type { Scene } from '../scene.js';

/** The default of `MAX_REQUEST_BODY_SIZE_BYTES`. */
const MAX_BODY_BYTES = 2 ** 20;

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
    'a number that a double would change': '9007199254740993',
    'a number that is too large': '1e400',
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
  const answer = await task.worker.call(task.lease, 'complete', { result: 'x'.repeat(MAX_RESULT_BYTES) });
  demandRefusal(answer, 'PAYLOAD_TOO_LARGE');
};
