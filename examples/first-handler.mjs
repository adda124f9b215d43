import { TASK_HANDLERS } from 'taskbridge';

const handlers = {
  shout: async ({ text }, { progress }) => {
    await progress(50, { message: 'taking a deep breath' });
    return { text: `${text.toUpperCase()}!` };
  },
};

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
