import { createHash } from 'node:crypto';
import { type Check } from '../clause.js';
import { NotChecked } from '../outcomes.js';
import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import { demand, demandAnswer, demandMembers, demandRefusal, demandSame, refusal, shown } from '../demands.js';
import { accepted } from '../driven-task.js';
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

/** A boundary as long as that of a browser. */
const BOUNDARY = '----------------taskbridge-conformance';

/** A form whose file has this head, byte for byte. */
async function createWithHead(scene: Scene, head: string, bytes = TEXT) {
  const part = (lines: string, content: string) => `--${BOUNDARY}\r\n${lines}\r\n\r\n${content}\r\n`;
  const fields = Object.entries({ clientRequestId: scene.newId(), taskType: scene.newType() });
  const text = [
    ...fields.map(([name, value]) => part(`Content-Disposition: form-data; name="${name}"`, value)),
    part(head, bytes),
    `--${BOUNDARY}--\r\n`,
  ].join('');
  const headers = { 'Content-Type': `multipart/form-data; boundary=${BOUNDARY}` };
  const answer = await scene.a.request<Created>('POST', '/api/v1/tasks', {
    headers,
    body: Buffer.from(text, 'latin1'),
  });
  scene.remember(answer);
  if (answer.status === 415) throw new NotChecked('attachments are switched off: a form is answered with 415');
  return answer;
}

const fileOf = async (scene: Scene, { taskId }: Created) => (await scene.a.snapshot(taskId)).body.attachments[0];

export const namedFiles: Check = async (scene) => {
  const heads = {
    'UTF-8': 'filename="caf\u00c3\u00a9 (1).csv"',
    'ISO 8859-1': 'filename="caf\u00e9 (1).csv"',
    'filename* in UTF-8': "filename*=UTF-8''caf%C3%A9%20%281%29.csv",
    'filename* in ISO 8859-1': "filename*=ISO-8859-1''caf%E9%20%281%29.csv",
  };
  for (const [what, filename] of Object.entries(heads)) {
    const head = `Content-Disposition: form-data; name="attachment"; ${filename}\r\nContent-Type: text/csv`;
    const answer = await createWithHead(scene, head);
    demandAnswer(answer, 201);
    demandSame(`a name in ${what}`, (await fileOf(scene, answer.body))?.filename, 'caf\u00e9 (1).csv');
  }
};

const PNG = '\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0';

/** So Python's `requests` sends a file. */
export const untyped: Check = async (scene) => {
  const head = (name: string) => `Content-Disposition: form-data; name="attachment"; filename="${name}"`;
  const found = { 'a.png': PNG, 'people.csv': TEXT, README: TEXT };
  const types: (string | undefined)[] = [];
  for (const [name, bytes] of Object.entries(found)) {
    const answer = await createWithHead(scene, head(name), bytes);
    demandAnswer(answer, 201);
    types.push((await fileOf(scene, answer.body))?.contentType);
  }
  demandSame('their types', types, ['image/png', 'text/csv', 'application/octet-stream']);
};

export const aliases: Check = async (scene) => {
  const head = (type: string) =>
    `Content-Disposition: form-data; name="attachment"; filename="a"\r\nContent-Type: ${type}`;
  const answer = await createWithHead(scene, head('application/x-photoshop'), '8BPS\0\x01');
  demandAnswer(answer, 201);
  demandSame('its type', (await fileOf(scene, answer.body))?.contentType, 'image/vnd.adobe.photoshop');
  demandRefusal(await createWithHead(scene, head('text/html'), PNG), 'UPLOAD_VALIDATION_ERROR');
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

/** @throws NotChecked where workers attach no files */
async function begun(scene: Scene) {
  const { features } = accepted(await scene.worker.service());
  if (!features.includes('workerFiles')) throw new NotChecked('the service does not have the feature `workerFiles`');
  const task = await scene.begin();
  const attach = async (bytes: string) => {
    const answer = await scene.worker.attach(task.lease, 'made.csv', bytes, 'text/csv');
    if (answer.status === 415) throw new NotChecked('attachments are switched off: a file is answered with 415');
    return answer;
  };
  return { task, attach };
}

export const ofWorker: Check = async (scene) => {
  const { task, attach } = await begun(scene);
  const first = await attach(TEXT);
  demandAnswer(first, 200);
  demandMembers('the answer', first.body, SCHEMAS.AttachReceipt);
  const { attachmentId } = first.body;
  demandSame('the file of the same bytes', (await attach(TEXT)).body.attachmentId, attachmentId);
  const seen = async () => {
    const { attachments } = (await scene.a.snapshot(task.taskId)).body;
    return attachments.map(({ attachmentId: id, source }) => [id, source]);
  };
  demandSame('the files in the snapshot', await seen(), [[attachmentId, 'worker']]);
  const path = (id: string) => `/api/v1/tasks/${task.taskId}/attachments/${id}`;
  demandSame('the bytes', (await scene.a.request('GET', path(attachmentId))).text, TEXT);
  const second = await attach(`${TEXT}\n`);
  demandAnswer(second, 200);
  demandSame('the files after other bytes', await seen(), [[second.body.attachmentId, 'worker']]);
  demandRefusal(await scene.a.request('GET', path(attachmentId)), 'NOT_FOUND');
};

export const ofWorkerWithoutLease: Check = async (scene) => {
  const { task, attach } = await begun(scene);
  await task.release();
  const refused = await attach(TEXT);
  demandSame('the answer', [refused.status, (refused.body as unknown as { code: string }).code], [409, 'LEASE_LOST']);
  demandSame('the files of the task', (await scene.a.snapshot(task.taskId)).body.attachments, []);
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
