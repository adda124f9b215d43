// A host module with the tasks that tests of the console look at.
import { setTimeout as delay } from 'node:timers/promises';
import { TASK_HANDLERS, TaskFailure } from 'taskbridge';

const ESCAPE = '\u001b';
/** Texts that would break a page that trusts them. */
export const HOSTILE = [
  '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>',
  'https://evil.example/ javascript:window.wasRun=1 [a](javascript:window.wasRun=1)',
  '\u202egnp.exe\u202c \u2066over\u2069 \u200bnothing',
  `${ESCAPE}[31mred${ESCAPE}[0m ${ESCAPE}]0;title\u0007`,
  'Z\u0351\u036b\u0343\u036a\u0302'.repeat(40),
  '{{constructor.constructor("window.wasRun=1")()}} ${window.wasRun=1}',
];

const handlers = {
  hostile: async (_input, { attach, message, output, progress, suspend }) => {
    for (const text of HOSTILE) {
      await message(text);
      await output(`${text}\n`);
    }
    await output('x'.repeat(60_000), { channel: HOSTILE[0].slice(0, 60) });
    await progress(50, { stage: HOSTILE[2], message: HOSTILE[0] });
    await attach('<img src=x onerror=alert(1)>.html', '<script>window.wasRun=1</script>');
    await suspend({
      reasonCode: HOSTILE[0],
      allowedActions: [HOSTILE[1], HOSTILE[2]],
      interaction: { question: HOSTILE.join(' ') },
    });
  },
  /** A line of almost a MiB. */
  'long-line': () => ({ line: 'w'.repeat(1_000_000) }),
  /** Output of an attempt that fails, and of the one behind it. */
  again: async (_input, { attempt, output }) => {
    await output(`words of attempt ${attempt}. `);
    await delay(300);
    if (attempt === 1) throw new TaskFailure('LOST', 'The first attempt fails.', { retryable: true, retryAfterMs: 50 });
    return {};
  },
  /** A question with a form. */
  form: async (_input, { suspend }) => {
    const { payload } = await suspend({
      reasonCode: 'HOW_MANY',
      allowedActions: ['say'],
      actionSchemas: {
        say: {
          type: 'object',
          properties: { count: { type: 'integer', minimum: 1 }, sure: { type: 'boolean' } },
          required: ['count'],
        },
      },
      interaction: { question: 'How many?' },
    });
    return payload;
  },
  /** As many events as asked, in order, at a pace. */
  paced: async ({ events = 10_000, perSecond = 1_000 }, { progress, signal }) => {
    const startedAt = Date.now();
    for (let sent = 0; sent < events; ) {
      const due = Math.min(events, Math.ceil(((Date.now() - startedAt) * perSecond) / 1_000) + 1);
      const calls = [];
      for (; sent < due; sent += 1) calls.push(progress((100 * sent) / events, { message: `event ${sent}` }));
      await Promise.all(calls);
      await delay(20, undefined, { signal });
    }
    return { events };
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
