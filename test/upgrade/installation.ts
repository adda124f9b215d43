import { fileURLToPath } from 'node:url';
import { rawElements } from '../support/follow.js';
import { eventually } from '../support/service.js';
import { type Lease, message, output, progress, question, WorkerClient } from '../support/worker-client.js';
import { type Form, type Repeat, requestOf, type Told } from './release-0.1.0.js';

/** Of the installation: it admits callers of any name. */
export const HOST_MODULE = fileURLToPath(new URL('host.mjs', import.meta.url));

const OWNERS = ['ada', 'Ольга Ünal', '利用者 ١٢', 'O’Brien 🐙'];
const TENANT = 'Zürich';
const DAY_MS = 86_400_000;
/** Half a minute of lease is enough to make everything; by this time after the restore it is over. */
const SOON_MS = 20_000;

/** Longer than what one thread checks at once, with everything that JSON may hold and 0.1.0 admits. */
const LONG_INPUT = {
  text: 'Zeile \u2028 mit Trennern \u2029 und \u0085, "Zitat", \\ und 🐙. '.repeat(1_100),
  numbers: [0, -1.5, 9007199254740991, 1e21, 1e-7, 0.1],
  nested: { '': [], 'a b': { ключ: [true, false, null, [[[]]]] } },
};

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Makes tasks in every state that a task of 0.1.0 can have, over its API. */
export class Installation {
  readonly #worker: WorkerClient;
  readonly #tasks: { name: string; taskId: string; headers: Record<string, string> }[] = [];
  readonly #sent: Omit<Repeat, 'status' | 'answer'>[] = [];

  constructor(private readonly url: string) {
    this.#worker = new WorkerClient(url, 'worker-of-0.1.0');
  }

  /** What clients see in the end. */
  async fill(): Promise<Told> {
    await this.waiting();
    await this.ended();
    await this.asking();
    await this.inline();
    // The last, because their leases run.
    await this.leased();
    const repeats: Repeat[] = [];
    for (const sent of this.#sent) {
      const { status, text } = await this.send(sent.path, sent);
      repeats.push({ ...sent, status, answer: text });
    }
    const tasks = [];
    for (const task of this.#tasks) {
      const { text: snapshot } = await this.send(`/api/v1/tasks/${task.taskId}`, task);
      tasks.push({ ...task, snapshot, events: await this.events(task.taskId, task.headers) });
    }
    return { tasks, repeats };
  }

  private async waiting(): Promise<void> {
    await this.create('accepted', {
      input: LONG_INPUT,
      metadata: { screen: 'checkout', at: '2026-11-22T09:00:00Z', nested: { a: [1] } },
    });
    await this.create('accepted, with files', {}, { files: FILES });
    const cancelled = await this.create('cancelled before it began');
    await this.act(cancelled, 'cancel', { reason: 'changed my mind \u2028 🐙' });
    const retrying = await this.create('retrying');
    const lease = await this.lease(retrying);
    await this.append(lease, 1, [progress(30), output('void, once it is tried again \u2028')]);
    await this.end(lease, 'fail', { code: 'BUSY', message: 'Später 🐙', retryable: true, retryAfterMs: DAY_MS });
    const released = await this.create('released');
    const handedBack = await this.lease(released);
    await this.append(handedBack, 1, [output('void, too')]);
    await this.end(handedBack, 'release', {});
  }

  private async ended(): Promise<void> {
    const completed = await this.lease(await this.create('completed, progress stands at 10', { metadata: { n: 1 } }));
    await this.append(completed, 1, [progress(10), output('left\u2028right\u2029\u0085'), message('half of it')]);
    await this.append(completed, 2, [output('more'), output(' and more'), output('aside', 'notes')]);
    await this.end(completed, 'complete', { result: { pages: 3, line: '\u2028', big: 9007199254740991, small: 1e-7 } });
    const files = await this.lease(
      await this.create('completed, with files', { input: { files: 2 } }, { files: FILES, tenant: TENANT }),
    );
    await this.end(files, 'complete', { result: null });
    const failed = await this.lease(await this.create('failed'));
    await this.append(failed, 1, [progress(99.5)]);
    await this.end(failed, 'fail', { code: 'NO_PAPER', message: 'Kein Papier \u2028 mehr.', retryable: false });
    const spent = await this.create('failed, the attempts are spent');
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      const lease = await this.lease(spent);
      await this.end(lease, 'fail', { code: 'AGAIN', message: `attempt ${attempt}`, retryable: true, retryAfterMs: 0 });
    }
    const cancelled = await this.create('cancelled while it ran');
    const obeying = await this.lease(cancelled);
    await this.act(cancelled, 'cancel', { reason: 'no longer needed' });
    await this.end(obeying, 'cancelled', { reason: 'obeyed' });
  }

  private async asking(): Promise<void> {
    const asked = {
      ...question(),
      suspendId: 'publish',
      uiHints: { style: 'ⓘ' },
      interaction: { text: 'Veröffentlichen?\u2028' },
    };
    await this.end(await this.lease(await this.create('suspended')), 'suspend', asked);
    const inTime = { ...asked, suspendId: 'far', expiresAt: '2099-12-31T23:59:59.999Z' };
    await this.end(await this.lease(await this.create('suspended, expires in 2099')), 'suspend', inTime);
    const answered = await this.create('answered, not yet taken up');
    await this.end(await this.lease(answered), 'suspend', asked);
    await this.answer(answered);
    const done = await this.create('answered and completed');
    await this.end(await this.lease(done), 'suspend', asked);
    await this.answer(done);
    await this.end(await this.lease(done), 'complete', { result: [1, 'two', null] });
    const overdue = { ...asked, suspendId: 'soon', expiresAt: new Date(Date.now() + SOON_MS).toISOString() };
    await this.end(await this.lease(await this.create('suspended, expires soon')), 'suspend', overdue);
  }

  private async inline(): Promise<void> {
    const completed = await this.create(
      'inline, with what JSON bodies may not have',
      { input: {} },
      { taskType: 'inline.odd' },
    );
    const failed = await this.create('inline, failed with it', { input: { end: 'fail' } }, { taskType: 'inline.odd' });
    await this.create('inline, unfinished', { input: {} }, { taskType: 'inline.unfinished' });
    for (const { taskId, headers } of [completed, failed]) {
      const isOver = async () => /"type":"TASK_(COMPLETED|FAILED)"/.test((await this.events(taskId, headers)).join(''));
      await eventually('the inline task ends', isOver);
    }
    const { taskId, headers } = this.#tasks.at(-1) as { taskId: string; headers: Record<string, string> };
    await eventually('it has begun', async () => (await this.events(taskId, headers)).length >= 2);
  }

  private async leased(): Promise<void> {
    await this.lease(await this.create('leased, silent'));
    const running = await this.lease(await this.create('leased'));
    await this.append(running, 1, [progress(40), output('sep\u2028'), output('arators\u2029')]);
    await this.append(running, 2, [message('still there')]);
    const cancelled = await this.create('cancel requested');
    const lease = await this.lease(cancelled);
    await this.append(lease, 1, [progress(60)]);
    await this.act(cancelled, 'cancel', { reason: 'too slow' });
  }

  private async create(
    name: string,
    content: { input?: object; metadata?: object } = {},
    {
      files,
      tenant,
      taskType = `type.${this.#tasks.length}`,
    }: { files?: Form['files']; tenant?: string; taskType?: string } = {},
  ): Promise<{ taskId: string; taskType: string; headers: Record<string, string> }> {
    const owner = OWNERS[this.#tasks.length % OWNERS.length] ?? '';
    const headers = {
      'X-Principal-Id': encodeURIComponent(owner),
      ...(tenant !== undefined && { 'X-Tenant-Id': encodeURIComponent(tenant) }),
    };
    const body = { clientRequestId: `"${name.replaceAll(/[ ,]+/g, '_')}"~!`, taskType, ...content };
    const form = files && {
      fields: Object.fromEntries(
        Object.entries(body).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
      ),
      files,
    };
    const sent = { what: `create: ${name}`, path: '/api/v1/tasks', headers, body: form ?? JSON.stringify(body) };
    const { taskId } = JSON.parse((await this.once(sent)).text) as { taskId: string };
    this.#tasks.push({ name, taskId, headers });
    return { taskId, taskType, headers };
  }

  private lease({ taskType }: { taskType: string }): Promise<Lease> {
    return this.#worker.lease(taskType);
  }

  private async append(lease: Lease, batchSeq: number, events: Parameters<WorkerClient['events']>[2]): Promise<void> {
    const { status, text } = await this.#worker.events(lease, batchSeq, events);
    if (status !== 200) throw new Error(`a batch is refused: ${status} ${text}`);
  }

  /** A call that ends the lease. */
  private end({ taskId, leaseToken }: Lease, call: string, body: object): Promise<Answer> {
    const headers = { Authorization: `Bearer ${this.#worker.token}` };
    const path = `/worker/v1/tasks/${taskId}/${call}`;
    return this.once({ what: `${call} of a lease`, path, headers, body: JSON.stringify({ leaseToken, ...body }) });
  }

  private act({ taskId, headers }: { taskId: string; headers: Record<string, string> }, what: string, body: object) {
    return this.once({ what, path: `/api/v1/tasks/${taskId}/${what}`, headers, body: JSON.stringify(body) });
  }

  private answer(task: { taskId: string; headers: Record<string, string> }): Promise<Answer> {
    const action = {
      suspendId: 'publish',
      clientActionId: 'tap-1',
      actionType: 'approve',
      payload: { Größe: 'ⅫL\u2028' },
    };
    return this.act(task, 'actions', { ...action, metadata: { at: '2026-11-22T09:00:00Z' } });
  }

  /** Remembered, to be sent again. */
  private async once(sent: Omit<Repeat, 'status' | 'answer'>): Promise<Answer> {
    const answer = await this.send(sent.path, sent);
    if (answer.status >= 300) throw new Error(`${sent.what}: ${answer.status} ${answer.text}`);
    this.#sent.push(sent);
    return answer;
  }

  private async send(path: string, request: Pick<Repeat, 'headers'> & { body?: Repeat['body'] }): Promise<Answer> {
    const { headers, body } = request;
    const response = await fetch(this.url + path, body === undefined ? { headers } : requestOf({ headers, body }));
    return { status: response.status, text: await response.text() };
  }

  private async events(taskId: string, headers: Record<string, string>): Promise<string[]> {
    const { text } = await this.send(`/api/v1/tasks/${taskId}/events?maxEvents=500&waitTimeoutMs=0`, { headers });
    return rawElements(text, 'events');
  }
}

const FILES: Form['files'] = [
  {
    name: 'Rechnung Größe 🐙.txt',
    type: 'text/plain',
    base64: Buffer.from('Zeile\u2028\n'.repeat(40)).toString('base64'),
  },
  {
    name: 'bytes.bin',
    type: 'application/octet-stream',
    base64: Buffer.from(Uint8Array.from({ length: 2_048 }, (_, i) => (i * 7) % 256)).toString('base64'),
  },
];
