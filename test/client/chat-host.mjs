// A host module with the chats that tests of packages/ai follow.
import { setTimeout as delay } from 'node:timers/promises';
import { TASK_HANDLERS, TaskFailure } from 'taskbridge';

const handlers = {
  /** Answers word by word. What the person wrote says what happens in the middle. */
  chat: async ({ messages }, { attempt, output, progress, signal, step, suspend }) => {
    const asked = messages.at(-1).parts.find(({ type }) => type === 'text').text;
    const say = async (words) => {
      for (const word of words.split(' ')) {
        await output(`${word} `);
        await delay(150, undefined, { signal });
      }
    };
    await output('thinking', { channel: 'reasoning' });
    await progress(10, { stage: 'reading' });
    if (asked.includes('step')) await step('draft', () => say('This stays.'));
    await say(`Run ${attempt}: one two three four five six seven eight.`);
    if (asked.includes('again') && attempt === 1)
      throw new TaskFailure('AGAIN', 'Once more.', { retryable: true, retryAfterMs: 20 });
    if (asked.includes('fail')) throw new TaskFailure('NO_MODEL', 'The model is away.');
    if (asked.includes('sleep')) await delay(60_000, undefined, { signal });
    for (let n = 0; n < (asked.match(/ask/g) ?? []).length; n += 1) {
      const { actionType, payload } = await suspend({
        reasonCode: 'send_mail',
        allowedActions: ['send', 'discard'],
        interaction: { to: `ada-${n}` },
        ...(asked.includes('expire') && { expiresAt: Date.now() + 1_000 }),
      });
      await say(`Answer ${n}: ${actionType} ${payload.reason}.`);
    }
    return { attempt };
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
