// A host module as an installation of 0.1.0 had it: callers of any name, and a handler whose events have what JSON bodies may not have.
import { setTimeout as delay } from 'node:timers/promises';
import { AuthContextResolver, TASK_HANDLERS, TaskFailure } from 'taskbridge';

class NamedCallers extends AuthContextResolver {
  resolve({ headers }) {
    const named = (header) => decodeURIComponent(headers[header] ?? '');
    const tenantId = named('x-tenant-id');
    return {
      subject: named('x-principal-id') || 'nobody.in.particular',
      scopes: new Set(['tasks:read', 'tasks:write', 'tasks:upload']),
      ...(tenantId !== '' && { tenantId }),
      attributes: {},
    };
  }
}

const handlers = {
  'inline.odd': async ({ end }, { message, output, progress }) => {
    await progress(10, { stage: 'U+0000: \u0000' });
    await message('zero \u0000, half \ud83d, other half \ude00, separators \u2028\u2029\u0085');
    await output('cut inside \ud83d');
    await output('\ude00 an emoji');
    if (end === 'fail') throw new TaskFailure('ODD', 'half \ud83d and \u0000');
    return { zero: '\u0000', half: '\ud83d', deep: [[[['\u2028']]]] };
  },
  // Its first attempt ends with its process.
  'inline.unfinished': async (_input, { attempt, output, signal }) => {
    await output(attempt === 1 ? 'attempt 1: \u0000' : 'once more');
    if (attempt === 1) await delay(600_000, undefined, { signal });
    return { attempt };
  },
};

export default {
  module: class Installation {},
  providers: [
    { provide: TASK_HANDLERS, useValue: handlers },
    { provide: AuthContextResolver, useClass: NamedCallers },
  ],
};
