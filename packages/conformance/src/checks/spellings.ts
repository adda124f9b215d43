import { MULTIPLEX } from '../../../protocol/src/frames.js';
import type { Check } from '../clause.js';
import { demandAnswer, demandRefusal, demandSame } from '../demands.js';
import type { Scene } from '../scene.js';

/** Bytes of a header that a `fetch` sends as they are: each character is one byte. */
const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

const taskOf = (raw: string): unknown => (JSON.parse(raw) as { taskId: unknown }).taskId;

async function demandCreated(scene: Scene, clientRequestId: string): Promise<void> {
  const answer = await scene.create({ clientRequestId, taskType: scene.anyType });
  demandAnswer(answer, 201);
  demandSame('clientRequestId', answer.body.clientRequestId, clientRequestId.normalize('NFC'));
}

export const printableIds: Check = async (scene) => {
  const unique = scene.newId();
  for (const id of [`Größe ½ ${unique}`, `訂單 ${unique}`, `👩‍💻 ${unique}`, `${unique} "'\\/?#`, `می‌خواهم ${unique}`])
    await demandCreated(scene, id);
  await demandCreated(scene, `${unique}${'😀'.repeat(255)}`.slice(0, unique.length + 2 * (255 - unique.length)));
};

export const refusedIds: Check = async (scene) => {
  const refused = ['', '\t', 'a\u0007', 'a\u200b', 'a\u202eb', 'a\u2028b', '\ue000', '\u0378', '😀'.repeat(256)];
  for (const clientRequestId of refused) {
    const answer = await scene.create({ clientRequestId, taskType: scene.anyType });
    demandRefusal(answer, 'REQUEST_VALIDATION_ERROR', JSON.stringify(clientRequestId));
  }
};

export const normalisedIds: Check = async (scene) => {
  const body = { taskType: scene.anyType };
  const id = `é ${scene.newId()}`;
  const first = await scene.create({ ...body, clientRequestId: id.normalize('NFD') });
  demandAnswer(first, 201);
  const repeats = [
    await scene.create({ ...body, clientRequestId: id.normalize('NFC') }),
    await scene.create(body, { headers: { 'Idempotency-Key': utf8(id.normalize('NFD')) } }),
  ];
  for (const again of repeats) {
    demandAnswer(again, 200);
    demandSame('taskId', again.body.taskId, first.body.taskId);
    demandSame('clientRequestId', again.body.clientRequestId, id.normalize('NFC'));
  }
};

export const quotedKeys: Check = async (scene) => {
  const body = { taskType: scene.anyType };
  const id = scene.newId();
  const first = await scene.create(body, { headers: { 'Idempotency-Key': `"${id}"` } });
  demandAnswer(first, 201);
  demandSame('clientRequestId', first.body.clientRequestId, id);
  const bare = await scene.create(body, { headers: { 'Idempotency-Key': id } });
  demandAnswer(bare, 200);
  const escaped = `${id} "a" \\`;
  const quoted = `"${escaped.replace(/["\\]/g, '\\$&')}"`;
  const second = await scene.create(body, { headers: { 'Idempotency-Key': quoted } });
  demandAnswer(second, 201);
  demandSame('clientRequestId', second.body.clientRequestId, escaped);
  for (const key of ['""', utf8('a\u200b'), '\xff']) {
    demandRefusal(await scene.create(body, { headers: { 'Idempotency-Key': key } }), 'INVALID_REQUEST');
  }
};

export const upperCaseInPaths: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const upper = taskId.toUpperCase();
  const answers = [await scene.a.snapshot(upper), await scene.a.page(upper, { waitTimeoutMs: 0 })];
  for (const answer of answers) {
    demandAnswer(answer, 200);
    demandSame('taskId', answer.body.taskId, taskId);
  }
  demandSame('the status of a cancel', (await scene.a.cancel(upper)).status, 202);
  const stream = scene.follow('sse', upper);
  await stream.comes(() => stream.events.length > 0);
  demandSame(
    'the tasks of the events of a stream',
    [...new Set(stream.events.map(({ raw }) => taskOf(raw)))],
    [taskId],
  );
};

export const upperCaseInFrames: Check = async (scene) => {
  const { taskId } = await scene.ended();
  for (const protocols of [[], [MULTIPLEX]]) {
    const socket = await scene.socket({ protocols });
    socket.subscribe(taskId.toUpperCase());
    const confirmed = await socket.frame('a confirmation', (frame) => frame.type === 'SUBSCRIPTION_CONFIRMED');
    demandSame('the task that is confirmed', confirmed.taskId, taskId);
    socket.leave();
  }
};

export const slashAtTheEnd: Check = async (scene) => {
  const { taskId } = await scene.ended();
  const socket = await scene.socket({ path: '/api/v1/tasks/ws/' });
  socket.subscribe(taskId);
  await socket.frame('the confirmation of a subscribe', (frame) => frame.type === 'SUBSCRIPTION_CONFIRMED');
};
