// The handler of the example, as a host module: HOST_MODULE=examples/react-upload/host.mjs npm start
import { setTimeout as delay } from 'node:timers/promises';
import { TASK_HANDLERS } from 'taskbridge';

const handlers = {
  /** Reads a list of names, asks, and imports them one by one. */
  'names.import': async (_input, { attachments, progress, signal, step, suspend }) => {
    const names = await step('read', async () => {
      const read = [];
      for (const { open } of attachments) {
        for await (const bytes of await open()) read.push(...String(bytes).split('\n').filter(Boolean));
      }
      return read;
    });
    const { actionType } = await suspend({
      reasonCode: 'CONFIRM_IMPORT',
      allowedActions: ['import', 'discard'],
      interaction: { count: names.length },
    });
    if (actionType === 'discard') return { imported: 0 };
    for (const [index, name] of names.entries()) {
      await delay(100, undefined, { signal });
      await progress((100 * (index + 1)) / names.length, { message: name });
    }
    return { imported: names.length };
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
