import type { ClientBase } from 'pg';
import { sessionViolations } from '../connection-check.js';
import { readRoleFindings, type RoleFinding } from './role-findings.js';
import type { Violation } from '../violation.js';

/**
 * The rules of an app role that the connected one breaks, judged by its rights, never by its name. A role that can change or
 * remove a stored event can break every promise about events. Two round trips.
 */
export async function judgeRole(client: ClientBase): Promise<readonly Violation[]> {
  const session = await sessionViolations(client);
  const findings = await readRoleFindings(client);
  const sentences = [...grouped(findings.filter(isSurprise))].map(([sentence, rule]) => ({
    rule,
    message: `DATABASE_URL: ${sentence}`,
  }));
  return [...sentences, ...session.filter(({ rule }) => !sentences.some((violation) => violation.rule === rule))];
}

/** Findings that differ only in the privilege or the object share one line, so an owner does not get forty lines. */
function grouped(findings: readonly RoleFinding[]): Map<string, string> {
  const groups = new Map<string, RoleFinding[]>();
  for (const finding of findings) {
    const { rule, role, object, what, undo } = finding;
    const key = JSON.stringify([rule, role, rule === 'owner' ? '' : object, rule === 'default' ? what : '', undo]);
    groups.set(key, [...(groups.get(key) ?? []), finding]);
  }
  return new Map([...groups.values()].map((group) => [sentence(group), ruleOf(group[0] as RoleFinding)]));
}

/** The finding, and the statement that takes the privilege away. */
function sentence(group: readonly RoleFinding[]): string {
  const undo = group[0]?.undo?.replace('$what', () => group.map(({ what }) => what).join(', '));
  return undo === undefined ? description(group) : `${description(group)}: ${undo}`;
}

function description(group: readonly RoleFinding[]): string {
  const { rule, role, self, object } = group[0] as RoleFinding;
  const whats = group.map(({ what }) => what).join(', ');
  const who = self ? `the connected role ${role}` : `the connected role is a member of ${role}, which`;
  switch (rule) {
    case 'attribute':
      return `${who} is ${whats}`;
    case 'predefined':
      return `the connected role is a member of ${role}`;
    case 'owner':
      return `${who} owns ${group.map((finding) => finding.object).join(', ')}`;
    case 'admin':
      return `${who} has ADMIN OPTION for the role ${object}`;
    case 'excess':
      return `${who} has ${whats} on ${object}`;
    case 'missing':
      return `${who} lacks ${whats} on ${object}`;
    case 'default':
      return `ALTER ${object} SET ${whats.split('=', 1)[0]} is in force: RESET it`;
  }
}

function ruleOf({ rule, self, what }: RoleFinding): string {
  if (!self) return 'member';
  return rule === 'attribute' ? what.toLowerCase() : rule;
}

/** A default is one only when it weakens what is pinned; `SET search_path = taskbridge` is what many people write. */
function isSurprise({ rule, what }: RoleFinding): boolean {
  if (rule !== 'default') return true;
  const [name, value = ''] = what.split(/=(.*)/s, 2);
  const words = value
    .toLowerCase()
    .split(',')
    .map((word) => word.trim().replace(/^"(.*)"$/, '$1'));
  if (name === 'synchronous_commit') return !['on', 'true', 'yes', '1', 'remote_apply'].includes(words.join());
  if (name === 'search_path') return !words.every((word) => ['taskbridge', 'pg_catalog', 'pg_temp'].includes(word));
  return !['', 'none', 'origin', 'off', 'false', 'no', '0'].includes(words.join());
}
