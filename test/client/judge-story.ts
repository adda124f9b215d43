import type { Envelope } from '../support/client.js';
import { textsOf } from '../support/texts.js';
import type { Witnessed } from './follow-story.js';

/** What a witness saw that was not so. `stored`: the log of the task. `tasks`: how many its request made. */
export function judgeStory(seen: Witnessed, stored: readonly Envelope[], tasks: number): readonly string[] {
  const wrong: string[] = [];
  const text = textsOf(stored)['text'] ?? '';
  const result = stored.at(-1)?.payload['result'];
  const demand = (holds: boolean, what: string) => holds || wrong.push(what);
  demand(stored.at(-1)?.type === 'TASK_COMPLETED', `the story ended with ${stored.at(-1)?.type}`);
  demand(same(seen.events, stored), `events ${seen.events.map(({ eventId }) => eventId).join()} of ${stored.length}`);
  demand(
    seen.status === 'completed' && same(seen.result, result),
    `${seen.status} with ${JSON.stringify(seen.result)}`,
  );
  demand(seen.text === text, `the text ${JSON.stringify(seen.text)}, not ${JSON.stringify(text)}`);
  demand(seen.deltas === text, `the deltas ${JSON.stringify(seen.deltas)}`);
  demand(seen.answered === 'accepted', `the answer was ${seen.answered}`);
  demand(tasks === 1 && seen.again === seen.taskId, `${tasks} tasks of one request, ${seen.taskId} and ${seen.again}`);
  let last = 0;
  for (const [eventId, shown] of seen.shown) {
    demand(eventId >= last, `state ${eventId} was shown after ${last}`);
    last = eventId;
    const then = textsOf(stored.slice(0, eventId))['text'] ?? '';
    demand(shown === then, `at event ${eventId} it showed ${JSON.stringify(shown)}, not ${JSON.stringify(then)}`);
  }
  return wrong;
}

/** Also between a page and this program, whose objects have other prototypes. */
const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
