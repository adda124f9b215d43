import type { Client, TaskEvent } from '../../packages/client/src/client-api.js';

/** What a page or a program saw of one task. */
export interface Witnessed {
  readonly taskId: string;
  /** The id by a second create with the same request. */
  readonly again: string;
  readonly events: readonly TaskEvent[];
  /** Each state that a frame would have shown: the id of its last event, its text. */
  readonly shown: readonly (readonly [eventId: number, text: string])[];
  readonly status: string;
  readonly result: unknown;
  readonly text: string;
  readonly deltas: string;
  readonly answered: string;
}

/** Creates a story twice by one request, and follows it in each way. Runs in a page, too: it uses nothing but its arguments. */
export async function followStory(client: Client, requestId: string): Promise<Witnessed> {
  const input = { pauseMs: 20 };
  const task = client.create('story', input, { requestId });
  const twin = client.create('story', input, { requestId });
  const shown: [number, string][] = [];
  let answered = '';
  const leave = task.state.subscribe(() => {
    const state = task.state.get();
    shown.push([state.eventId, state.text]);
    if (state.status === 'asking' && answered === '') {
      answered = 'asked';
      void task.answer('go').then((outcome) => (answered = outcome));
    }
  });
  const events: TaskEvent[] = [];
  const readEvents = async () => {
    for await (const event of task.events()) events.push(event);
  };
  let deltas = '';
  const readOutput = async () => {
    for await (const { delta, replaced } of task.output()) deltas = replaced ? delta : deltas + delta;
  };
  const [result, again] = await Promise.all([task.result(), twin.created(), readEvents(), readOutput()]);
  const { status, text } = task.state.get();
  leave();
  while (answered === 'asked') await new Promise((resolve) => setTimeout(resolve, 20));
  return { taskId: task.id ?? '', again, events, shown, status, result, text, deltas, answered };
}
