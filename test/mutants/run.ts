import { parseArgs } from 'node:util';
import { type Mutant, MUTANTS } from './mutants.js';
import { type Results, Workshop } from './workshop.js';

// `npm run test:mutants`: shows that the tests can fail. One that passes on a broken service proves nothing about a whole one.
// `--only hub` takes the mutants with that in their names.

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const chosen = MUTANTS.filter(({ name }) => name.includes(values.only));

/** The names of the tests that are to catch this one, and how each went. */
function relevant(results: Results, { caughtBy }: Mutant): [string, string][] {
  return [...(results ?? [])].filter(([name]) => new RegExp(caughtBy.tests).test(name));
}

function judge(mutant: Mutant, whole: Results, broken: Results) {
  const before = relevant(whole, mutant);
  const after = relevant(broken, mutant);
  const row = (verdict: string, by = mutant.caughtBy.tests) => ({ mutant: mutant.name, verdict, by });
  if (before.length === 0) return row('NO SUCH TEST');
  if (before.some(([, status]) => status === 'failed')) return row('FAILS WITHOUT IT');
  if (after.length === 0) return row('DOES NOT RUN');
  const catching = after.find(([, status]) => status === 'failed');
  return catching ? row('caught', catching[0]) : row('SURVIVES');
}

const workshop = await Workshop.open();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void workshop.close().finally(() => process.exit(1)));
}
try {
  const whole = await workshop.run(...chosen.map(({ caughtBy }) => caughtBy));
  console.log(`without mutants: ${[...(whole ?? [])].map(([name, status]) => `\n  ${status}: ${name}`).join('')}`);
  const rows = [];
  for (const mutant of chosen) {
    const row = judge(mutant, whole, await workshop.broken(mutant, () => workshop.run(mutant.caughtBy)));
    console.log(`${row.verdict}: ${row.mutant} (${row.by})`);
    rows.push(row);
  }
  process.exitCode = rows.length > 0 && rows.every(({ verdict }) => verdict === 'caught') ? 0 : 1;
  console.log(`${rows.filter(({ verdict }) => verdict === 'caught').length} of ${rows.length} mutants caught`);
} finally {
  await workshop.close();
}
