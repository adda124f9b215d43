import { useEffect, useState } from 'react';
import { Block } from '../../parts/text.js';
import { WIRES, type WireName } from './wires.js';

/** The newest lines. */
const SHOWN = 200;

/** What the service sends about the task, as it is on the wire. */
export function Wire({ taskId }: { readonly taskId: string }) {
  const [name, setName] = useState<WireName>();
  const [lines, setLines] = useState<readonly string[]>([]);
  useEffect(() => {
    setLines([]);
    if (!name) return;
    const leaving = new AbortController();
    WIRES[name](
      taskId,
      (line) => leaving.signal.aborted || setLines((before) => [...before.slice(1 - SHOWN), line]),
      leaving.signal,
    );
    return () => leaving.abort();
  }, [name, taskId]);
  return (
    <section aria-label="Wire" className="panel p-4">
      <div className="flex flex-wrap items-center gap-2">
        <h2 className="mr-2 font-semibold">Wire</h2>
        {(Object.keys(WIRES) as WireName[]).map((one) => (
          <button
            key={one}
            type="button"
            aria-pressed={one === name}
            className="button py-1 text-xs aria-pressed:border-accent aria-pressed:text-accent"
            onClick={() => setName(one === name ? undefined : one)}
          >
            {one}
          </button>
        ))}
      </div>
      {name && (
        <div className="mt-3">
          <Block label={`What came over ${name}`}>{lines.join('\n') || 'Nothing yet.'}</Block>
        </div>
      )}
    </section>
  );
}
