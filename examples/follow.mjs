// Follows tasks to their ends, whatever happens to the service or the network meanwhile. Node 20 or newer, no packages.
//   node examples/follow.mjs TASK_ID... [--url http://127.0.0.1:3000] [--principal alice] [--after 5]
// One line an event on stdout, behind the id of its task where there are several; what happens to connections on stderr.
// Exits with 0 after TASK_COMPLETED of all of them, else with 1.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const options = { url: { type: 'string' }, principal: { type: 'string' }, after: { type: 'string' } };
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const api = `${values.url ?? 'http://127.0.0.1:3000'}/api/v1/tasks`;
const headers = values.principal ? { 'X-Principal-Id': values.principal } : {};
/** Heartbeats come every 15 s. After this long without one the connection is dead, though nobody said so. */
const SILENCE_MS = 40_000;
/** At random, so that the clients of a service that restarts do not all come back in one moment. */
const pauseMs = (failures) => 1_000 + Math.random() * Math.min(9_000, 500 * 2 ** failures);

// The cursor, the id of the last event seen, is all that a client has to remember of a task.
const tasks = [...new Set(positionals)].map((id) => ({ id, cursor: Number(values.after ?? 0), failures: 0 }));
const areMany = tasks.length > 1;
if (tasks.length === 0) throw new Error('follow.mjs TASK_ID... [--url URL] [--principal ID] [--after EVENT_ID]');
await follow(tasks, areMany ? [byWebSocket, eachAlone] : [byWebSocket, bySse, byLongPoll]);
// Began behind the last event: the snapshot knows how it ended.
for (const task of tasks) if (task.end === 'UNSEEN') task.end = `TASK_${(await (await get(task, '')).json()).status}`;
process.exitCode = tasks.every(({ end }) => end === 'TASK_COMPLETED') ? 0 : 1;

/** Until all are over, by the first transport that gets through. One that fills in gives up when nothing does. */
async function follow(tasks, transports, fillsIn = false) {
  for (;;) {
    const link = { isUp: false, afterMs: undefined };
    const endings = [];
    for (const transport of transports) {
      const ending = await transport(tasks, link).catch((error) => error.cause?.code ?? error.message);
      endings.push(`${transport.name}: ${ending}`);
      tasks = tasks.filter(({ end }) => !end);
      if (link.isUp || tasks.length === 0) break;
    }
    if (tasks.length === 0 || (fillsIn && !link.isUp)) return endings.join(', ');
    console.error(`# ${endings.join(', ')}; will resume after event ${tasks.map(({ cursor }) => cursor).join(', ')}`);
    await delay(link.afterMs ?? pauseMs(Math.min(...tasks.map((task) => task.failures++))));
  }
}

function receive(task, { type, eventId, payload }) {
  const { id, cursor } = task;
  if (Number(eventId) !== cursor + 1) console.error(`# PROMISE BROKEN: event ${eventId} came after event ${cursor}`);
  console.log(`${areMany ? `${id} ` : ''}${eventId} ${type} ${JSON.stringify(payload)}`);
  Object.assign(task, { cursor: Number(eventId), failures: 0 });
  if (['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED'].includes(type)) task.end = type;
}

/** To come back unchanged would be refused again. */
function drop(task, why) {
  console.error(areMany ? `# ${task.id}: ${why}` : `# ${why}`);
  task.end = 'REFUSED';
}

async function byWebSocket(tasks, link) {
  const protocols = areMany ? ['taskbridge.multiplex.v1'] : [];
  const socket = new WebSocket(`${api.replace('http', 'ws')}/ws`, { protocols, headers }); // in browsers without headers
  const silence = setTimeout(() => socket.onclose({ code: 1006, reason: 'silence' }), SILENCE_MS);
  const subscribe = ({ id, cursor }) => {
    const frame = { action: 'subscribe', taskId: id, lastEventId: String(cursor) };
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame));
  };
  socket.onopen = () => tasks.forEach(subscribe);
  socket.onmessage = ({ data }) => {
    link.isUp = true;
    silence.refresh();
    const frame = JSON.parse(data);
    const task = tasks.find(({ id }) => id === frame.taskId);
    if ('eventId' in frame) receive(task, frame);
    else if (frame.type === 'RECONNECT') link.afterMs = frame.afterMs;
    else if (frame.type === 'SUBSCRIPTION_ENDED') task.end ??= 'UNSEEN';
    else if (frame.type === 'ERROR') {
      // About one task; the others go on meanwhile.
      if (!/^(TOO_MANY_REQUESTS|SERVICE_UNAVAILABLE|INTERNAL_ERROR)$/.test(frame.code)) drop(task, frame.code);
      else setTimeout(subscribe, pauseMs(task.failures++), task);
    }
    if (areMany && tasks.every(({ end }) => end)) socket.close();
  };
  const { code, reason } = await new Promise((resolve) => (socket.onclose = resolve));
  clearTimeout(silence);
  socket.onmessage = null;
  socket.close();
  const why = `closed with ${code} ${reason}`.trim();
  if (code >= 4400 || [1003, 1007, 1009].includes(code)) for (const task of tasks) if (!task.end) drop(task, why);
  if (code === 1000 && !areMany) tasks[0].end ??= 'UNSEEN';
  return why;
}

/** Several tasks where no WebSocket gets through. */
async function eachAlone(tasks) {
  return (await Promise.all(tasks.map((task) => follow([task], [bySse, byLongPoll], true))))[0];
}

async function bySse([task], link) {
  const response = await get(task, '/events/stream', link, { 'Last-Event-ID': String(task.cursor) });
  if (response.status === 204) task.end = 'UNSEEN'; // there is nothing after the cursor, and never will be
  let rest = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop();
    // Cut at LF alone: `.` and `$` of a regular expression also stop at U+2028, which JSON may contain.
    const events = blocks.map((block) => block.split('\n')).filter(([first]) => first.startsWith('id: '));
    for (const [, data] of events) receive(task, JSON.parse(data.slice('data: '.length)));
  }
  return 'ended';
}

async function byLongPoll([task], link) {
  while (!task.end) {
    const page = await (await get(task, `/events?afterEventId=${task.cursor}`, link)).json();
    for (const event of page.events) receive(task, event);
    if (page.terminal) task.end ??= 'UNSEEN';
  }
}

async function get(task, path, link = {}, more = {}) {
  const response = await fetch(`${api}/${task.id}${path}`, { headers: { ...headers, ...more } });
  link.isUp = response.ok;
  if ([400, 401, 403, 404, 409].includes(response.status)) drop(task, `refused with ${response.status}`);
  if (!response.ok) throw new Error(`refused with ${response.status}`);
  return response;
}
