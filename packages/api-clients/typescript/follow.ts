// Creates a task and follows it to its end, with a client that openapi-typescript generated: `node follow.ts http://localhost:3000`.
import createClient from 'openapi-fetch';
import type { components, paths } from './api.ts';

type TaskEvent = components['schemas']['TaskEvent'];

const [baseUrl = 'http://localhost:3000'] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl });

const created = await api.POST('/api/v1/tasks', {
  body: { clientRequestId: crypto.randomUUID(), taskType: 'demo.echo', input: { text: 'hello' } },
});
if (created.error) throw new Error(created.error.code);
const { taskId } = created.data;

let afterEventId = '0';
// The first answer comes at once, also when the task is over already.
let waitTimeoutMs = 0;
for (let terminal = false; !terminal; ) {
  const { data: page, error } = await api.GET('/api/v1/tasks/{taskId}/events', {
    params: { path: { taskId }, query: { afterEventId, waitTimeoutMs } },
  });
  waitTimeoutMs = 10_000;
  if (error) throw new Error(error.code);
  for (const event of page.events) console.log(said(event));
  afterEventId = page.nextAfterEventId ?? afterEventId;
  terminal = page.terminal;
}

/** `type` decides what the payload has. */
function said(event: TaskEvent): string {
  switch (event.type) {
    case 'TASK_COMPLETED':
      return `${event.type} ${JSON.stringify(event.payload.result)}`;
    case 'TASK_FAILED':
      return `${event.type} ${event.payload.code}`;
    default:
      return event.type;
  }
}
