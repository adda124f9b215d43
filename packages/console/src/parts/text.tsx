import { memo, useState } from 'react';

/** Characters that no reader sees, or that reorder what stands beside them, are shown by their number. */
// biome-ignore lint: control characters are what this is about
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const SHOWN = 10_000;

export function visible(text: string): string {
  return text.replace(HIDDEN, (one) => `⟨${one.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}⟩`);
}

/** A text that somebody else wrote: never markup, in its own direction, and no wider than its place. */
export function Text({
  children,
  short,
}: {
  readonly children: string /** Its longest form. */;
  readonly short?: number;
}) {
  const text = short !== undefined && children.length > short ? `${children.slice(0, short)}…` : children;
  return <bdi className="[overflow-wrap:anywhere]">{visible(text)}</bdi>;
}

/** Many lines in a box that scrolls. A long one begins with its first part. */
export function Block({ children, label }: { readonly children: string; readonly label: string }) {
  const [isWhole, setWhole] = useState(false);
  const isLong = children.length > SHOWN && !isWhole;
  return (
    <div>
      <pre
        // A box that scrolls has to be reached by keyboard.
        tabIndex={0}
        role="group"
        aria-label={label}
        dir="auto"
        className="max-h-96 overflow-auto rounded-md bg-sunk p-3 font-mono text-xs whitespace-pre-wrap [overflow-wrap:anywhere]"
      >
        {visible(isLong ? children.slice(0, SHOWN) : children)}
      </pre>
      {isLong && (
        <button type="button" className="link mt-1 text-xs" onClick={() => setWhole(true)}>
          Show all {children.length.toLocaleString()} characters
        </button>
      )}
    </div>
  );
}

interface JsonGiven {
  readonly value: unknown;
  readonly label: string;
}

export const Json = memo(function Json({ value, label }: JsonGiven) {
  return <Block label={label}>{JSON.stringify(value, null, 2) ?? ''}</Block>;
});
