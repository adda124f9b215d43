import type { Result } from './run.js';

const MARKS = { passed: 'passed     ', failed: 'FAILED     ', 'not checked': 'not checked' } as const;

/** The report for people: a line for each clause, below the section that it stands in. */
export function reportText(results: readonly Result[]): string {
  const lines: string[] = [];
  let heading = '';
  const width = Math.max(...results.map(({ clause }) => clause.id.length));
  for (const { clause, outcome, detail } of results) {
    const { id, document, section, sentence } = clause;
    if (heading !== `${document}, ${section}`) {
      heading = `${document}, ${section}`;
      lines.push('', heading);
    }
    if (outcome === 'passed') lines.push(`  ${MARKS[outcome]}  ${id}`);
    else if (outcome === 'not checked') lines.push(`  ${MARKS[outcome]}  ${id.padEnd(width)}  ${detail}`);
    else lines.push(`  ${MARKS[outcome]}  ${id}`, `      demanded: ${sentence}`, `      seen:     ${detail}`);
  }
  const { passed, failed, notChecked } = countsOf(results);
  return [...lines, '', `clauses: ${passed} passed, ${failed} failed, ${notChecked} not checked`, ''].join('\n');
}

/** The report for programs. */
export function reportJson(baseUrl: string, results: readonly Result[]): string {
  const clauses = results.map(({ clause, outcome, detail, tookMs }) => {
    const { id, document, section, sentence } = clause;
    return { id, document, section, sentence, outcome, ...(detail !== undefined && { detail }), tookMs };
  });
  return `${JSON.stringify({ baseUrl, ...countsOf(results), clauses }, null, 2)}\n`;
}

export function countsOf(results: readonly Result[]) {
  const count = (outcome: Result['outcome']) => results.filter((result) => result.outcome === outcome).length;
  return { passed: count('passed'), failed: count('failed'), notChecked: count('not checked') };
}
