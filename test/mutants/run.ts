import { parseArgs } from 'node:util';
import { type Mutant, MUTANTS } from './mutants.js';
import { MutantOutdated, type Results, Workshop } from './workshop.js';

// `npm run test:mutants`: shows that the tests can fail. One that passes on a broken service proves nothing about a whole one.
// `--only hub` takes the mutants with that in their names.

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const chosen = MUTANTS.filter(({ name }) => name.includes(values.only));

/** The names of the tests that are to catch this one, and how each went. */
function relevant(results: Results, { caughtBy }: Mutant): [string, string][] {
  return [...(results ?? [])].filter(([name]) => new RegExp(caughtBy.tests).test(name));
}

async function judge(mutant: Mutant, whole: Results): Promise<{ verdict: string; by: readonly string[] }> {
  const before = relevant(whole, mutant);
  if (before.length === 0) return { verdict: 'NO SUCH TEST', by: [mutant.caughtBy.tests] };
  const failing = (results: readonly [string, string][]) =>
    results.filter(([, status]) => status === 'failed').map(([name]) => name);
  if (failing(before).length > 0) return { verdict: 'FAILS WITHOUT IT', by: failing(before) };
  try {
    const after = relevant(await workshop.broken(mutant, () => workshop.run(mutant.caughtBy)), mutant);
    if (after.length === 0) return { verdict: 'DOES NOT RUN', by: before.map(([name]) => name) };
    const by = failing(after);
    return by.length > 0 ? { verdict: 'caught', by } : { verdict: 'SURVIVES', by: after.map(([name]) => name) };
  } catch (error) {
    if (error instanceof MutantOutdated) return { verdict: 'OUTDATED', by: [error.message] };
    throw error;
  }
}

const workshop = await Workshop.open();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void workshop.close().finally(() => process.exit(1)));
}
try {
  // The same files are made again without a change. So no test fails because of the making.
  const changes = chosen.flatMap((mutant) => mutant.changes.map(({ file, from }) => ({ file, from, to: from })));
  const whole = await workshop.broken({ changes }, () => workshop.run(...chosen.map(({ caughtBy }) => caughtBy)));
  console.log(`without mutants: ${[...(whole ?? [])].map(([name, status]) => `\n  ${status}: ${name}`).join('')}`);
  let caught = 0;
  for (const mutant of chosen) {
    const { verdict, by } = await judge(mutant, whole);
    if (verdict === 'caught') caught += 1;
    console.log(`${verdict}: ${mutant.name}${by.map((name) => `\n  by: ${name}`).join('')}`);
  }
  process.exitCode = caught > 0 && caught === chosen.length ? 0 : 1;
  console.log(`${caught} of ${chosen.length} mutants caught`);
} finally {
  await workshop.close();
}
