#!/usr/bin/env node
import { writeFileSync } from 'node:fs';
import { parsedArguments, USAGE, UsageProblem, type Arguments } from './arguments.js';
import { CLAUSES } from './clauses.js';
import { Installation, Unreachable } from './installation.js';
import { countsOf, reportJson, reportText } from './report.js';
import { runAll } from './run.js';

process.exitCode = await main().catch((error: Error) => {
  if (!(error instanceof UsageProblem || error instanceof Unreachable)) throw error;
  const hint = error instanceof UsageProblem ? '; --help says how' : '';
  process.stderr.write(`taskbridge-conformance: ${error.message}${hint}\n`);
  return 2;
});

async function main(): Promise<number> {
  const given = parsedArguments(process.argv.slice(2), process.env, CLAUSES);
  if (given === 'help') return printed(USAGE);
  if (given === 'list') return printed(CLAUSES.map(({ id, sentence }) => `${id.padEnd(30)}${sentence}\n`).join(''));
  return checked(given);
}

async function checked({ access, clauses, jsonFile }: Arguments): Promise<number> {
  const installation = await Installation.at(access);
  const results = await runAll(installation, clauses);
  process.stdout.write(reportText(results));
  if (jsonFile !== undefined) writeFileSync(jsonFile, reportJson(access.baseUrl, results));
  const { passed, failed } = countsOf(results);
  if (failed > 0) return 1;
  return passed > 0 ? 0 : 2;
}

function printed(text: string): number {
  process.stdout.write(text);
  return 0;
}
