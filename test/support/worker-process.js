// A worker as a process of its own, to be stopped and killed. Puts out the pieces in a task's input one by one and completes with
// their number. Writes a JSON line for every answer it gets. Repeats a call that was not answered, as the protocol has it.
import { setTimeout as delay } from 'node:timers/promises';

/** `stubborn`: works without end, cancelled or not. When it is refused, it tries every other call, and leaves. */
const { url, token, taskType, concurrency = 1, everyMs = 5, stubborn = false } = JSON.parse(process.argv[2] ?? '{}');
const workerId = `process-${process.pid}`;

async function call(path, body) {
  for (;;) {
    const sentAt = Date.now();
    try {
      const response = await fetch(`${url}/worker/v1/${path}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      const answer = { status: response.status, body: text === '' ? {} : JSON.parse(text) };
      const name = path.split('/').at(-1);
      if (name !== 'leases') process.stdout.write(`${JSON.stringify({ name, sentAt, ...answer })}\n`);
      if (answer.status !== 503) return answer;
    } catch {
      // Nobody there, or gone before the answer: the same call again.
    }
    await delay(20);
  }
}

async function work({ taskId, leaseToken, input }) {
  const on = (name, body = {}) => call(`tasks/${taskId}/${name}`, { leaseToken, ...body });
  const pieces = input.pieces ?? [];
  for (let n = 0; stubborn || n < pieces.length; n += 1) {
    const data = pieces[n] ?? `${n},`;
    const events = [{ type: 'TASK_OUTPUT', payload: { channel: 'text', op: 'append', data } }];
    const { status, body } = await on('events', { batchSeq: n + 1, events });
    if (status !== 200) return stubborn ? tryEverything(on) : undefined;
    if (body.cancellationRequested && !stubborn) return on('cancelled');
    await delay(everyMs);
  }
  return on('complete', { result: pieces.length });
}

async function tryEverything(on) {
  await on('events', { batchSeq: 1, events: [{ type: 'TASK_PROGRESS', payload: { progress: 66 } }] });
  await on('heartbeat');
  await on('suspend', { kind: 'SYSTEM_PAUSED', reasonCode: 'STUBBORN', allowedActions: ['go'] });
  await on('fail', { code: 'STUBBORN', message: '', retryable: true });
  await on('cancelled');
  await on('release');
  await on('complete', { result: 'stubborn' });
  process.exit(0);
}

async function loop() {
  for (;;) {
    const { body } = await call('leases', { workerId, taskTypes: [taskType], maxTasks: 1, waitTimeoutMs: 5_000 });
    for (const lease of body.leases ?? []) await work(lease);
  }
}

// The process that started it has gone.
process.stdin.resume().on('end', () => process.exit(0));
await Promise.all(Array.from({ length: concurrency }, loop));
