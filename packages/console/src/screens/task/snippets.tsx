import { useState } from 'react';
import type { TaskSnapshot } from '../../../../protocol/src/snapshots.js';
import { Block } from '../../parts/text.js';
import { SNIPPETS, type SnippetName } from './snippet-texts.js';

/** Programs that create a task like this one and follow it. */
export function Snippets({ snapshot }: { readonly snapshot: TaskSnapshot }) {
  const [name, setName] = useState<SnippetName>();
  const [said, say] = useState('');
  const text = name && SNIPPETS[name](location.origin, snapshot);
  return (
    <section aria-label="Copy" className="panel p-4">
      <div className="flex flex-wrap items-center gap-2">
        <h2 className="mr-2 font-semibold">Copy as</h2>
        {(Object.keys(SNIPPETS) as SnippetName[]).map((one) => (
          <button
            key={one}
            type="button"
            aria-pressed={one === name}
            className="button py-1 text-xs aria-pressed:border-accent aria-pressed:text-accent"
            onClick={() => {
              setName(one);
              // Where the browser does not allow it, the text can be selected below.
              navigator.clipboard?.writeText(SNIPPETS[one](location.origin, snapshot)).then(
                () => say('Copied.'),
                () => say(''),
              );
            }}
          >
            {one}
          </button>
        ))}
        <span role="status" className="text-xs text-soft">
          {said}
        </span>
      </div>
      {text !== undefined && (
        <div className="mt-3">
          <Block label={`As ${name}`}>{text}</Block>
        </div>
      )}
    </section>
  );
}
