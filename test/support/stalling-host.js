// A host whose handlers can hold the event loop of the service, and others beside them that only wait or speak.
import { setTimeout as delay } from 'node:timers/promises';
import { TASK_HANDLERS } from 'taskbridge';

const handlers = {
  /** Holds the event loop: nothing else of the process runs. Once: a second attempt ends at once. */
  'stall.burn': ({ ms }, { attempt }) => {
    for (const end = Date.now() + ms; attempt === 1 && Date.now() < end; );
    return {};
  },
  'stall.wait': async ({ ms }, { signal }) => {
    for (const end = Date.now() + ms; Date.now() < end; await delay(20)) signal.throwIfAborted();
    return {};
  },
  'stall.speak': async ({ ms }, { signal, output }) => {
    for (const end = Date.now() + ms; Date.now() < end; await delay(20)) {
      signal.throwIfAborted();
      await output('.');
    }
    return {};
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
