// `npm run check:words`: plain English. Fails on words that hide the subject or the number of a sentence, in every text of the
// repository, and on sentences of more than 25 words in its pages.
import { globSync, readFileSync } from 'node:fs';

const MAX_WORDS = 25;

const TEXTS = [
  ...['*.md', '*.js', '.ci/*', '.dependency-cruiser.cjs', '.env.example', 'Dockerfile', 'docker-compose.yml'],
  ...['bench', 'deploy', 'docs', 'examples', 'packages', 'src', 'test'].map(
    (folder) => `${folder}/**/*.{cjs,conf,js,json,md,mjs,py,sh,sql,template,toml,ts,yaml,yml}`,
  ),
];
/** These two files name the habits. */
const NOT_OURS = /(^|\/)(node_modules|dist|coverage)\/|^(\.ci|test\/tooling)\/words(\.test)?\.ts$/;

/** What to write instead of each. */
const HABITS: readonly (readonly [habit: RegExp, instead: string])[] = [
  [/\bwho(ever|ssoever|mever)\b/i, 'name the subject: the client, the caller, the worker'],
  [/\bso (many|much|few|long)\b(?! (as|that)\b)/i, 'write the number, or name it'],
  [/\b(is|are|was|were|be|been|being|gets?) told\b/i, 'say who learns what from whom'],
  [/\bfor ever\b|\bever more\b/i, 'name the limit: without end, never, again and again'],
  [
    /\b(for|to|by|than|from|and) who\b|\bwho comes\b|\bwhichever\b/i,
    'name the subject: a client that …, a later claim',
  ],
  [/\b(the )?longest ago\b/i, 'write "oldest"'],
  [/\/\*\* (Of|For|By|In|As|To) [^.:,;]*\. \*\//, 'say what it is: "The bytes of …", "Events of a page."'],
  [/\bin so many words\b|\bno more than that\b/i, 'write the fact itself'],
];

/** A line for each fault of the text, with its file and its line. */
export function complaintsOf(file: string, text: string): readonly string[] {
  const found = text.split('\n').flatMap((line, at, all) => {
    // The line below is added, so a phrase is found also where it is wrapped.
    const wrapped = `${line} ${(all[at + 1] ?? '').replace(/^\s*(\*|\/\/|#)?\s*/, '')}`;
    return HABITS.flatMap(([pattern, instead]) => {
      const match = pattern.exec(wrapped);
      return match !== null && match.index < line.length ? [`${file}:${at + 1}: "${match[0].trim()}": ${instead}`] : [];
    });
  });
  if (!file.endsWith('.md')) return found;
  const long = sentencesOf(text).flatMap(({ line, words }) =>
    words.length <= MAX_WORDS
      ? []
      : [`${file}:${line}: ${words.length} words, at most ${MAX_WORDS}: "${words.slice(0, 6).join(' ')} …"`],
  );
  return [...found, ...long];
}

interface Sentence {
  readonly line: number;
  readonly words: readonly string[];
}

/** A sentence ends with its mark or with its block: a paragraph, an item, a heading, a cell of a table. Code counts as one word. */
function sentencesOf(markdown: string): readonly Sentence[] {
  const prose = markdown
    .replace(/^```[\s\S]*?^```$|<!--[\s\S]*?-->/gm, (hidden) => hidden.replace(/[^\n]/g, ''))
    .replace(/`[^`\n]+`/g, 'code')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
  const blocks = [{ line: 1, text: '' }];
  prose.split('\n').forEach((text, at) => {
    const line = at + 1;
    const block = blocks.at(-1);
    if (text.startsWith('|'))
      blocks.push(...text.split(/[|;]/).map((cell) => ({ line, text: cell })), { line, text: '' });
    else if (text.trim() === '' || /^\s*([-*]|\d+\.|#+)\s/.test(text)) blocks.push({ line, text });
    else if (block === undefined || block.text.trim() === '') blocks.push({ line, text });
    else block.text += ` ${text}`;
  });
  return blocks.flatMap(({ line, text }) =>
    text.split(/(?<=[.!?][*)"]*)\s+|\s·\s/).map((sentence) => ({
      line,
      words: sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)),
    })),
  );
}

if (import.meta.main) {
  const files = [...new Set(TEXTS.flatMap((pattern) => globSync(pattern)))].filter((file) => !NOT_OURS.test(file));
  const complaints = files.sort().flatMap((file) => complaintsOf(file, readFileSync(file, 'utf8')));
  for (const complaint of complaints) console.log(complaint);
  process.exitCode = complaints.length === 0 ? 0 : 1;
}
