// Follows tasks to their ends, whatever happens to the service or the network meanwhile. Node 20 or newer, no packages.
//   node examples/follow.mjs TASK_ID... [--url http://127.0.0.1:3000] [--principal alice] [--after 5]
// A line an event on stdout, what happens to connections on stderr; exits with 0 when all tasks completed, else with 1.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const options = { url: { type: 'string' }, principal: { type: 'string' }, after: { type: 'string' } };
const { values, positionals } = parseArgs({ options, allowPositionals: true });
if (positionals.length === 0) throw new Error('follow.mjs TASK_ID... [--url URL] [--principal ID] [--after EVENT_ID]');
const api = `${values.url ?? 'http://127.0.0.1:3000'}/api/v1/tasks`;
const headers = values.principal ? { 'X-Principal-Id': values.principal } : {};
const cursors = new Map(positionals.map((id) => [id, Number(values.after ?? 0)])); // of open tasks: all that is remembered
const ends = new Map();
const areMany = cursors.size > 1;
let [isUp, afterMs, failures] = [false, undefined, 0];

while (cursors.size > 0) {
  [isUp, afterMs] = [false, undefined];
  const endings = [];
  for (const transport of [byWebSocket, bySse, byLongPoll]) {
    endings.push(`${transport.name}: ${await transport().catch((error) => error.cause?.code ?? error.message)}`);
    if (isUp || cursors.size === 0) break;
  }
  if (cursors.size === 0) break;
  console.error(`# ${endings.join(', ')}; will resume after event ${[...cursors.values()].join(', ')}`);
  failures = isUp ? 0 : failures + 1;
  await delay(afterMs ?? pauseMs());
}
for (const [id, end] of ends) if (end === 'UNSEEN') ends.set(id, `TASK_${(await (await get(id)).json()).status}`);
process.exitCode = [...ends.values()].every((end) => end === 'TASK_COMPLETED') ? 0 : 1;

/** At random, so that the clients of a service that restarts do not all come back in one moment. */
function pauseMs() {
  return 1_000 + Math.random() * Math.min(9_000, 500 * 2 ** failures);
}

function receive({ taskId, eventId, type, payload }) {
  const cursor = cursors.get(taskId);
  if (Number(eventId) !== cursor + 1) console.error(`# PROMISE BROKEN: event ${eventId} came after event ${cursor}`);
  console.log(`${areMany ? `${taskId} ` : ''}${eventId} ${type} ${JSON.stringify(payload)}`);
  cursors.set(taskId, Number(eventId));
  if (/^TASK_(COMPLETED|FAILED|CANCELLED)$/.test(type)) end(taskId, type);
}

/** `UNSEEN`: it was over before our cursor. Anything that is no event's type: to come back would change nothing. */
function end(taskId, how = 'UNSEEN') {
  if (!cursors.delete(taskId)) return;
  ends.set(taskId, how);
  if (!/^(TASK_(COMPLETED|FAILED|CANCELLED)|UNSEEN)$/.test(how)) console.error(`# ${taskId}: ${how}`);
}

/** One connection for all tasks. */
async function byWebSocket() {
  const protocols = ['taskbridge.multiplex.v1'];
  const socket = new WebSocket(`${api.replace('http', 'ws')}/ws`, { protocols, headers }); // in browsers without headers
  const silence = setTimeout(() => socket.onclose({ code: 1006, reason: 'SILENCE' }), 40_000); // heartbeats come every 15 s
  const subscribe = (taskId) => {
    const frame = { action: 'subscribe', taskId, lastEventId: String(cursors.get(taskId)) };
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  };
  socket.onopen = () => [...cursors.keys()].forEach(subscribe);
  socket.onmessage = ({ data }) => {
    isUp = true;
    silence.refresh();
    const { type, taskId, code, ...frame } = JSON.parse(data);
    if (frame.eventId) receive({ type, taskId, ...frame });
    else if (type === 'RECONNECT') afterMs = frame.afterMs;
    else if (type === 'SUBSCRIPTION_ENDED') end(taskId);
    else if (/^(TOO_MANY_REQUESTS|SERVICE_UNAVAILABLE|INTERNAL_ERROR)$/.test(code))
      setTimeout(subscribe, pauseMs(), taskId);
    else if (type === 'ERROR') end(taskId, code);
    if (cursors.size === 0) socket.close();
  };
  const { code, reason } = await new Promise((resolve) => (socket.onclose = resolve));
  clearTimeout(silence);
  socket.onmessage = null;
  socket.close();
  if (code >= 4400) for (const taskId of [...cursors.keys()]) end(taskId, reason);
  return `closed with ${code} ${reason}`.trim();
}

async function bySse() {
  return eachAlone(async (id, signal) => {
    const response = await get(id, '/events/stream', { signal, headers: { 'Last-Event-ID': String(cursors.get(id)) } });
    if (response?.status === 204) end(id); // there is nothing after the cursor, and never will be
    let rest = '';
    for await (const chunk of response?.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const frames = (rest + chunk).split('\n\n');
      rest = frames.pop();
      for (const frame of frames) if (frame.startsWith('id: ')) receive(JSON.parse(frame.split('\ndata: ')[1]));
      isUp ||= frames.some((frame) => !frame.startsWith('retry: ')); // a proxy may send an empty stream for a service that is away
    }
    if (cursors.has(id)) throw new Error('ended');
  });
}

async function byLongPoll() {
  return eachAlone(async (id, signal) => {
    // The first answer comes at once, also when the task is over already.
    for (let wait = 0; cursors.has(id); wait = 25_000) {
      const query = `afterEventId=${cursors.get(id)}&waitTimeoutMs=${wait}`;
      const page = await (await get(id, `/events?${query}`, { signal }))?.json();
      for (const event of page?.events ?? []) receive(event);
      if (page?.terminal) end(id);
    }
  });
}

/** A request for each task; when one breaks, all come back together. */
async function eachAlone(followOne) {
  const controller = new AbortController();
  const all = [...cursors.keys()].map((id) => followOne(id, controller.signal));
  return Promise.all(all).finally(() => controller.abort());
}

async function get(id, path = '', init = {}) {
  const response = await fetch(`${api}/${id}${path}`, { ...init, headers: { ...headers, ...init.headers } });
  if (!response.ok && ![400, 401, 403, 404, 409].includes(response.status))
    throw new Error(`refused with ${response.status}`);
  isUp ||= path !== '/events/stream';
  return response.ok ? response : end(id, (await response.json()).code);
}
