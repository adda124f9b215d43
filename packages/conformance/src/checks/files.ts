import { createHash } from 'node:crypto';
import { type Check } from '../clause.js';
import { NotChecked } from '../outcomes.js';
import { demand, demandAnswer, demandRefusal, demandSame, refusal, shown } from '../demands.js';
import type { Scene } from '../scene.js';
import type { Created } from '../wire.js';

const TEXT = 'Ada,1815\nAlan,1912\n';

/** Sends a form. @throws NotChecked where attachments are switched off */
async function createWithFile(
  scene: Scene,
  form: {
    readonly name?: string;
    readonly type?: string;
    readonly text?: string;
    readonly more?: Record<string, string>;
  },
) {
  const { name = '../people.csv', type = 'text/csv', text = TEXT, more = {} } = form;
  const body = new FormData();
  const members = { clientRequestId: scene.newId(), taskType: scene.newType(), ...more };
  for (const [member, value] of Object.entries(members)) body.append(member, value);
  body.append('attachment', new Blob([text], { type }), name);
  const answer = await scene.a.request<Created>('POST', '/api/v1/tasks', { body });
  scene.remember(answer);
  const [unsupported] = refusal('UNSUPPORTED_MEDIA_TYPE');
  if (answer.status === unsupported) {
    throw new NotChecked(`attachments are switched off: a form is answered with ${unsupported}`);
  }
  return answer;
}

export const createdWithFiles: Check = async (scene) => {
  const more = { clientRequestId: scene.newId(), taskType: scene.newType(), input: '{"a":1}', metadata: '{"b":"c"}' };
  const answer = await createWithFile(scene, { more });
  demandAnswer(answer, 201);
  const { input, metadata, attachments } = (await scene.a.snapshot(answer.body.taskId)).body;
  demandSame('input and metadata', [input, metadata], [{ a: 1 }, { b: 'c' }]);
  const { attachmentId, ...file } = attachments[0] ?? { attachmentId: '' };
  const sha256 = createHash('sha256').update(TEXT).digest('hex');
  demandSame('the attachment', file, {
    filename: 'people.csv',
    contentType: 'text/csv',
    sizeBytes: TEXT.length,
    sha256,
  });
  demand(attachmentId !== '', 'an attachment has no attachmentId');
  const again = await createWithFile(scene, { more });
  demandSame('the repeated create', [again.status, again.body.taskId], [200, answer.body.taskId]);
  demandRefusal(await createWithFile(scene, { more, text: 'other' }), 'IDEMPOTENCY_CONFLICT');
};

export const sniffed: Check = async (scene) => {
  const answer = await createWithFile(scene, { name: 'a.png', type: 'image/png', text: '%PDF-1.7\n%âãÏÓ\n' });
  demandRefusal(answer, 'UPLOAD_VALIDATION_ERROR');
};

export const downloaded: Check = async (scene) => {
  const { taskId } = (await createWithFile(scene, {})).body;
  const [file] = (await scene.a.snapshot(taskId)).body.attachments;
  const path = `/api/v1/tasks/${taskId}/attachments/${file?.attachmentId}`;
  const whole = await scene.a.request('GET', path);
  demandAnswer(whole, 200);
  demandSame('the bytes', whole.text, TEXT);
  const disposition = whole.headers.get('content-disposition') ?? '';
  demand(/^attachment\b/.test(disposition), `Content-Disposition is ${disposition}`);
  const etag = whole.headers.get('etag');
  demand(etag !== null, `${shown(whole)} without ETag`);
  const part = await scene.a.request('GET', path, { headers: { Range: 'bytes=4-7' } });
  demandAnswer(part, 206);
  demandSame(
    'the range',
    [part.text, part.headers.get('content-range')],
    [TEXT.slice(4, 8), `bytes 4-7/${TEXT.length}`],
  );
  const unchanged = await scene.a.request('GET', path, { headers: { 'If-None-Match': etag } });
  demandAnswer(unchanged, 304);
};

/** The lease names the address, and its token opens it. */
export const byLease: Check = async (scene) => {
  const taskType = scene.newType();
  const { taskId } = (await createWithFile(scene, { more: { clientRequestId: scene.newId(), taskType } })).body;
  const { lease } = await scene.claimed(taskId, taskType);
  const url = lease.attachments[0]?.url ?? '';
  const { pathname } = new URL(url, scene.a.baseUrl);
  const open = (token: string) => scene.stranger.request('GET', pathname, { headers: { 'X-Lease-Token': token } });
  const answer = await open(lease.leaseToken);
  demandAnswer(answer, 200);
  demandSame('the bytes', answer.text, TEXT);
  const refused = await open('no-lease');
  demand(refused.status >= 400, `a token that is no lease: ${shown(refused)}`);
};
