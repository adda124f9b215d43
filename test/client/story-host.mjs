// A host module with the tasks that tests of the client follow.
import { setTimeout as delay } from 'node:timers/promises';
import { TASK_HANDLERS, TaskFailure } from 'taskbridge';

export const handlers = {
  /** Steps, of which one is tried again; an attempt that fails; a question; and output that becomes void at each of them. */
  story: async ({ pauseMs = 20 }, { attempt, message, output, progress, signal, step, suspend }) => {
    const pieces = async (name, count) => {
      for (let n = 0; n < count; n += 1) {
        await output(`${name} ${attempt}.${n} 🦊;`);
        await delay(pauseMs, undefined, { signal });
      }
    };
    await message('It begins.');
    let tries = 0;
    const first = await step(
      'first',
      async () => {
        await pieces('first', 3);
        if ((tries += 1) === 1) throw new Error('tried again');
        return tries;
      },
      { retries: 1 },
    );
    await progress(30, { stage: 'drafting' });
    await pieces('draft', 4);
    if (attempt === 1) throw new TaskFailure('LOST', 'The first attempt fails.', { retryable: true, retryAfterMs: 20 });
    await step('second', () => pieces('second', 2));
    await progress(60, { stage: 'asking' });
    await pieces('question', 2);
    const { actionType } = await suspend({ reasonCode: 'GO', allowedActions: ['go', 'stop'] });
    await progress(90, { stage: 'ending' });
    await pieces('end', 3);
    return { first, actionType };
  },
  /** As many events as asked, as fast as they are stored. */
  burst: async ({ events }, { output, progress }) => {
    for (let n = 0; n < events; n += 1) void (n % 2 ? progress((100 * n) / events) : output(`${n} `, { op: 'append' }));
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
