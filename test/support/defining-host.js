// A host module whose handlers have policies and schemas. The schema has the interface of Standard Schema, without a library.
import { defineTask } from 'taskbridge';

const named = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      typeof value.name === 'string'
        ? { value: { name: value.name.trim() } }
        : { issues: [{ message: 'must be a text', path: ['name'] }] },
  },
};
const counted = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      Number.isInteger(value.count)
        ? { value }
        : { issues: [{ message: 'must be counted', path: [{ key: 'count' }] }] },
  },
};

const handlers = {
  'define.greet': defineTask({
    maxRunning: 3,
    maxAttempts: 1,
    input: named,
    run: async ({ name }) => ({ greeting: `Hello, ${name}!` }),
  }),
  'define.count': defineTask({ result: counted, run: async ({ count }) => ({ count }) }),
};

class DefiningHost {}

export default {
  module: DefiningHost,
  providers: [{ provide: Symbol.for('taskbridge:TASK_HANDLERS'), useValue: handlers }],
};
