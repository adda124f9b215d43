// The model of the example, as a host module: HOST_MODULE=examples/next-chat/host.mjs npm start
import { setTimeout as delay } from 'node:timers/promises';
import { TASK_HANDLERS } from 'taskbridge';

/** Stands for a model: it streams a text, token by token. */
async function* model(text) {
  for (const token of text.split(/(?<= )/)) {
    await delay(150);
    yield token;
  }
}

const handlers = {
  chat: async ({ messages }, { output, signal, step, suspend }) => {
    const say = async (text) => {
      for await (const token of model(text)) {
        signal.throwIfAborted();
        await output(token);
      }
    };
    const asked = messages
      .at(-1)
      .parts.map(({ text = '' }) => text)
      .join('');
    // A step is done once, so its text stands when the answer to the question runs the handler again.
    await step('answer', () => say(`You said: ${asked}. The quick brown fox jumps over the lazy dog. `));
    if (!asked.includes('delete')) return {};
    const { actionType } = await suspend({
      reasonCode: 'delete_files',
      allowedActions: ['approve', 'deny'],
      interaction: { folder: '/tmp/reports' },
    });
    await say(actionType === 'approve' ? 'The files are deleted.' : 'The files stay.');
    return {};
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
