#!/usr/bin/env node
// Compares what clients saw with what is stored, and counts broken promises.
//   node packages/checker/bin/check.mjs [history.jsonl …] [--database-url postgres://…] [--json]
// Reads standard input where no file is named. Exits with 0 when what must be 0 is 0, with 1 when it is not, with 2 when the
// history cannot be judged.
import { createReadStream } from 'node:fs';
import { parseArgs } from 'node:util';
import { COUNTS } from '../lib/counts.mjs';
import { HistoryInvalid } from '../lib/history-invalid.mjs';
import { History } from '../lib/history.mjs';
import { storedLines } from '../lib/stored.mjs';

const USAGE = `Usage: check.mjs [history.jsonl ...] [--database-url URL] [--json]

Compares what clients saw with what is stored, and counts broken promises.

  history.jsonl       what clients saw, one JSON object a line; standard input without a file
  --database-url URL  read what is stored from this PostgreSQL; otherwise the history has a dump
  --json              print the counts as one JSON object
  --help              print this text

Exits with 0 when every promise was kept, with 1 when one was broken, and with 2 when the history
cannot be judged. README.md has the lines of a history.`;

try {
  const options = { 'database-url': { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean' } };
  const { values, positionals: files } = parseArgs({ options, allowPositionals: true });
  if (values.help) console.log(USAGE);
  else process.exitCode = await report(files, values);
} catch (error) {
  console.error(`check: ${error.message}`);
  process.exitCode = 2;
}

/** @returns the exit code */
async function report(files, { 'database-url': databaseUrl, json }) {
  const findings = await judged(files, databaseUrl);
  if (json) console.log(JSON.stringify(findings.counts));
  else print(findings);
  return findings.isClean ? 0 : 1;
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
  try {
    for await (const line of linesOf(input)) {
      number += 1;
      if (line.trim() !== '') history.add(line);
    }
  } catch (error) {
    if (!(error instanceof HistoryInvalid)) throw error;
    throw new HistoryInvalid(`${name}, line ${number}: ${error.message}`);
  }
}

/** Only a line feed ends a line. A text in JSON may have the line ends of Unicode, at which readline would cut. */
async function* linesOf(input) {
  let rest = '';
  for await (const text of input.setEncoding('utf8')) {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    yield* lines;
  }
  if (rest !== '') yield rest;
}

function print({ counts, examples, isClean }) {
  for (const { name, meaning, mustBeZero } of COUNTS) {
    const mark = mustBeZero && counts[name] > 0 ? '!' : ' ';
    console.log(`${mark} ${name.padEnd(20)}${String(counts[name]).padStart(10)}   ${meaning}`);
    for (const example of examples[name]) console.log(`    ${example}`);
  }
  console.log(isClean ? 'every promise was kept' : 'PROMISES WERE BROKEN');
}
