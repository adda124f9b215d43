#!/usr/bin/env node
// Compares what clients saw with what is stored, and counts broken promises.
//   node packages/checker/bin/check.mjs [history.jsonl …] [--database-url postgres://…] [--json]
// Reads standard input where no file is named. Exits with 0 when what must be 0 is 0, with 1 when it is not, with 2 when the
// history cannot be judged.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { COUNTS } from '../lib/counts.mjs';
import { HistoryInvalid } from '../lib/history-invalid.mjs';
import { History } from '../lib/history.mjs';
import { storedLines } from '../lib/stored.mjs';

try {
  const options = { 'database-url': { type: 'string' }, json: { type: 'boolean' } };
  const { values, positionals: files } = parseArgs({ options, allowPositionals: true });
  const findings = await judged(files, values['database-url']);
  if (values.json) console.log(JSON.stringify(findings.counts));
  else print(findings);
  process.exitCode = findings.isClean ? 0 : 1;
} catch (error) {
  console.error(`check: ${error.message}`);
  process.exitCode = 2;
}

async function judged(files, databaseUrl) {
  const history = new History();
  for (const file of files) await addAll(history, createReadStream(file), file);
  if (files.length === 0) await addAll(history, process.stdin, 'standard input');
  if (databaseUrl !== undefined) for (const line of await storedLines(databaseUrl)) history.add(line);
  return history.judge();
}

async function addAll(history, input, name) {
  let number = 0;
  // readline does not hand on the error of its input, such as a file that is not there.
  const failed = new Promise((_, reject) => input.once('error', reject));
  failed.catch(() => {});
  const reading = (async () => {
    for await (const line of createInterface({ input, crlfDelay: Infinity })) {
      number += 1;
      if (line.trim() !== '') history.add(line);
    }
  })();
  await Promise.race([reading, failed]).catch((error) => {
    if (!(error instanceof HistoryInvalid)) throw error;
    throw new HistoryInvalid(`${name}, line ${number}: ${error.message}`);
  });
}

function print({ counts, examples, isClean }) {
  for (const { name, meaning, mustBeZero } of COUNTS) {
    const mark = mustBeZero && counts[name] > 0 ? '!' : ' ';
    console.log(`${mark} ${name.padEnd(20)}${String(counts[name]).padStart(10)}   ${meaning}`);
    for (const example of examples[name]) console.log(`    ${example}`);
  }
  console.log(isClean ? 'every promise was kept' : 'PROMISES WERE BROKEN');
}
