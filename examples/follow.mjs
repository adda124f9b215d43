// Follows a task to its end, whatever happens to the service or the network meanwhile. Node 20 or newer, no packages.
//   node examples/follow.mjs TASK_ID [--url http://127.0.0.1:3000] [--principal alice] [--after 5]
// One line an event on stdout, what happens to the connection on stderr. Exits with 0 after TASK_COMPLETED, else with 1.
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const options = { url: { type: 'string' }, principal: { type: 'string' }, after: { type: 'string' } };
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const [taskId = refused('which task? follow.mjs TASK_ID [--url URL] [--principal ID] [--after EVENT_ID]')] =
  positionals;
const task = `${values.url ?? 'http://127.0.0.1:3000'}/api/v1/tasks/${taskId}`;
const headers = values.principal ? { 'X-Principal-Id': values.principal } : {};
/** Heartbeats come every 15 s. After this long without one the connection is dead, though nobody said so. */
const SILENCE_MS = 40_000;

let cursor = Number(values.after ?? 0); // the last event seen: all that a client has to remember
let lastType;
let [connected, over] = [false, false];

for (let failures = 0; !over; ) {
  const cursorBefore = cursor;
  const endings = [];
  for (const follow of [byWebSocket, bySse, byLongPoll]) {
    connected = false;
    endings.push(`${follow.name}: ${await follow().catch((error) => error.cause?.code ?? error.message)}`);
    if (connected || over) break;
  }
  if (over) break;
  failures = cursor > cursorBefore ? 0 : failures + 1;
  console.error(`# ${endings.join(', ')}; will resume after event ${cursor}`);
  // At random, so that the clients of a service that restarts do not all come back in one moment.
  await delay(1_000 + Math.random() * Math.min(9_000, 500 * 2 ** failures));
}
// Began behind the last event: the snapshot knows how it ended.
lastType ??= `TASK_${(await (await get('')).json()).status}`;
process.exitCode = lastType === 'TASK_COMPLETED' ? 0 : 1;

function receive({ type, eventId, payload }) {
  if (Number(eventId) !== cursor + 1) console.error(`# PROMISE BROKEN: event ${eventId} came after event ${cursor}`);
  console.log(`${eventId} ${type} ${JSON.stringify(payload)}`);
  cursor = Number(eventId);
  lastType = type;
  over = ['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED'].includes(type);
}

async function byWebSocket() {
  const socket = new WebSocket(task.replace(/^http(.*)\/.*/, 'ws$1/ws'), { headers }); // in browsers without headers
  const silence = setTimeout(() => socket.onclose({ code: 1006, reason: 'silence' }), SILENCE_MS);
  socket.onopen = () => socket.send(JSON.stringify({ action: 'subscribe', taskId, lastEventId: String(cursor) }));
  socket.onmessage = ({ data }) => {
    connected = true;
    silence.refresh();
    const frame = JSON.parse(data);
    if ('eventId' in frame) receive(frame);
  };
  const { code, reason } = await new Promise((resolve) => (socket.onclose = resolve));
  clearTimeout(silence);
  socket.onmessage = null;
  if (code >= 4400 || [1003, 1007, 1009].includes(code)) refused(`closed with ${code} ${reason}`);
  over ||= code === 1000;
  return `closed with ${code} ${reason}`.trim();
}

async function bySse() {
  const response = await get('/events/stream', { 'Last-Event-ID': String(cursor) });
  over = response.status === 204; // there is nothing after the cursor, and never will be
  let rest = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop();
    // Cut at LF alone: `.` and `$` of a regular expression also stop at U+2028, which JSON may contain.
    const events = blocks.map((block) => block.split('\n')).filter(([first]) => first.startsWith('id: '));
    for (const [, data] of events) receive(JSON.parse(data.slice('data: '.length)));
  }
  return 'ended';
}

async function byLongPoll() {
  while (!over) {
    const page = await (await get(`/events?afterEventId=${cursor}`)).json();
    page.events.forEach(receive);
    over ||= page.terminal;
  }
}

async function get(path, more) {
  const response = await fetch(task + path, { headers: { ...headers, ...more } });
  connected = response.ok;
  if ([400, 401, 403, 404, 409].includes(response.status)) refused(`refused with ${response.status}`);
  if (!connected) throw new Error(`refused with ${response.status}`);
  return response;
}

/** To come back unchanged would be refused again. */
function refused(why) {
  console.error(`# ${why}`);
  process.exit(1);
}
