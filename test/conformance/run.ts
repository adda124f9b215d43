import { parseArgs } from 'node:util';
import { CLAUSES } from '../../packages/conformance/src/clauses.js';
import { parsedArguments } from '../../packages/conformance/src/arguments.js';
import { Installation } from '../../packages/conformance/src/installation.js';
import { runAll } from '../../packages/conformance/src/run.js';
import { MEMORY_WORKER_TOKEN, MemoryServer } from './memory-server.js';
import { type Mutant, MUTANTS } from './mutants.js';

// Runs the conformance kit against each mutant of the server in memory, in one process, and prints a line of JSON for each.
// `--only hole` takes the mutants with that in their names, `--share 1/2` every second one.

/** Most of a run waits for events that must not come. */
const AT_ONE_TIME = 3;
const PATIENCE_SECONDS = '5';

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, share: { type: 'string', default: '1/1' } },
});
const [share = 1, shares = 1] = values.share.split('/').map(Number);
const waiting = MUTANTS.filter(({ name }, at) => name.includes(values.only) && at % shares === share - 1);

async function judge({ name, make, clocks, options = [] }: Mutant): Promise<void> {
  const server = new MemoryServer(clocks);
  make(server);
  const url = await server.start();
  const env = {
    CONFORMANCE_HEADERS: 'X-Principal-Id: a',
    CONFORMANCE_OTHER_HEADERS: 'X-Principal-Id: b',
    CONFORMANCE_WORKER_TOKEN: MEMORY_WORKER_TOKEN,
  };
  try {
    const given = parsedArguments([url, '--patience', PATIENCE_SECONDS, ...options], env, CLAUSES);
    if (typeof given === 'string') throw new Error(`the kit would only print its ${given}`);
    const results = await runAll(await Installation.at(given.access), given.clauses);
    const failed = results.filter(({ outcome }) => outcome === 'failed');
    const verdict = {
      name,
      failed: failed.map(({ clause }) => clause.id),
      seen: failed.map(({ clause, detail }) => `${clause.id}: ${detail}`),
    };
    // Readers of lines end one at these two characters, which the events of the kit contain.
    console.log(JSON.stringify(verdict).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029'));
  } finally {
    await server.stop();
  }
}

async function lane(): Promise<void> {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) await judge(mutant);
}
await Promise.all(Array.from({ length: AT_ONE_TIME }, lane));
