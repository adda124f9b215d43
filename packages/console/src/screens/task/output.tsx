import { useLayoutEffect, useRef, useState } from 'react';
import { Text, visible } from '../../parts/text.js';
import type { Piece } from './story.js';

interface Given {
  /** What counts, by channel. */
  readonly text: Readonly<Record<string, string>>;
  /** What the loaded events put out, also what is void. */
  readonly channels: ReadonlyMap<string, readonly Piece[]>;
  readonly isWhole: boolean;
}

interface Part {
  readonly text: string;
  readonly isVoid: boolean;
}

/** The newest of a channel. */
const SHOWN = 20_000;

/** What a task puts out, by channel, as it streams. What became void is grey, and marked for who hears the page. */
export function Output({ text, channels, isWhole }: Given) {
  const names = [...new Set([...Object.keys(text), ...channels.keys()])].sort();
  const [chosen, choose] = useState<string>();
  const name = chosen !== undefined && names.includes(chosen) ? chosen : names[0];
  if (name === undefined) return null;
  return (
    <section aria-label="Output" className="panel p-4">
      <div className="mb-2 flex flex-wrap items-center gap-2">
        <h2 className="font-semibold">Output</h2>
        {names.length > 1 &&
          names.map((one) => (
            <button
              key={one}
              type="button"
              aria-pressed={one === name}
              className="rounded-full border border-line px-2.5 text-xs text-soft aria-pressed:border-accent aria-pressed:text-accent"
              onClick={() => choose(one)}
            >
              <Text short={40}>{one}</Text>
            </button>
          ))}
      </div>
      <Channel key={name} name={name} parts={partsOf(text[name] ?? '', channels.get(name) ?? [], isWhole)} />
    </section>
  );
}

function Channel({ name, parts }: { readonly name: string; readonly parts: readonly Part[] }) {
  const [isWhole, setWhole] = useState(false);
  const box = useRef<HTMLPreElement>(null);
  const isAtEnd = useRef(true);
  const length = parts.reduce((sum, { text }) => sum + text.length, 0);
  const shown = isWhole ? parts : newest(parts, SHOWN);
  useLayoutEffect(() => {
    if (isAtEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [length]);
  return (
    <>
      {length > SHOWN && !isWhole && (
        <button type="button" className="link mb-1 text-xs" onClick={() => setWhole(true)}>
          Show all {length.toLocaleString()} characters
        </button>
      )}
      <pre
        ref={box}
        tabIndex={0}
        role="group"
        aria-label={`Output of the channel ${name.slice(0, 40)}`}
        dir="auto"
        className="max-h-96 overflow-auto rounded-md bg-sunk p-3 font-mono text-xs whitespace-pre-wrap [overflow-wrap:anywhere]"
        onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
          isAtEnd.current = scrollTop + clientHeight > scrollHeight - 16;
        }}
      >
        {shown.map(({ text, isVoid }, index) =>
          isVoid ? (
            <del key={index} className="text-soft" title="Void: the attempt or the step that put it out was lost">
              {visible(text)}
            </del>
          ) : (
            <span key={index}>{visible(text)}</span>
          ),
        )}
      </pre>
    </>
  );
}

/** Pieces that stand beside each other and count alike are one part. Before them stands what only the snapshot knew. */
function partsOf(text: string, pieces: readonly Piece[], isWhole: boolean): readonly Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < pieces.length; ) {
    const isVoid = pieces[at]?.isVoid ?? false;
    const from = at;
    while (at < pieces.length && pieces[at]?.isVoid === isVoid) at += 1;
    parts.push({
      isVoid,
      text: pieces
        .slice(from, at)
        .map(({ data }) => data)
        .join(''),
    });
  }
  const counted = parts.reduce((all, part) => (part.isVoid ? all : all + part.text), '');
  if (isWhole || !text.endsWith(counted))
    return text.endsWith(counted) || parts.length > 0 ? parts : [{ text, isVoid: false }];
  return [{ text: text.slice(0, text.length - counted.length), isVoid: false }, ...parts];
}

function newest(parts: readonly Part[], characters: number): readonly Part[] {
  const kept: Part[] = [];
  let left = characters;
  for (const part of parts.toReversed()) {
    if (left <= 0) break;
    kept.unshift({ ...part, text: part.text.slice(-left) });
    left -= part.text.length;
  }
  return kept;
}
