import { useQuery } from '@tanstack/react-query';
import { useRef, useState } from 'react';
import { Absent, Empty } from '../../parts/states.js';
import { Text } from '../../parts/text.js';
import { Time } from '../../parts/time.js';
import { ask, queryOf } from '../../service/ask.js';
import type { SystemLog } from '../../service/system.js';

const SHOWN = 500;
const REFRESH_MS = 2_000;

/** Ends of use-cases on the replica that answers, as they happen, the newest first. */
export function LogView() {
  const known = useRef<SystemLog | undefined>(undefined);
  const [text, setText] = useState('');
  const query = useQuery({
    queryKey: ['log'],
    queryFn: async ({ signal }) => {
      const page = await ask<SystemLog>(`/system/log${queryOf({ limit: SHOWN, after: known.current?.next })}`, {
        signal,
      });
      const before = known.current?.replicaId === page.replicaId ? known.current.lines : [];
      known.current = { ...page, lines: [...before, ...page.lines].slice(-SHOWN) };
      return known.current;
    },
    refetchInterval: REFRESH_MS,
    structuralSharing: false,
    gcTime: 0,
  });
  if (!query.data) return <Absent query={query} what="the log" needs="tasks:admin" />;
  const wanted = text.toLowerCase();
  const shown = query.data.lines
    .filter((line) => wanted === '' || JSON.stringify(line).toLowerCase().includes(wanted))
    .toReversed();
  return (
    <>
      <label className="mb-3 block max-w-md">
        <span className="sr-only">Text in lines</span>
        <input
          type="search"
          className="field"
          placeholder="Text in lines"
          value={text}
          onChange={({ target }) => setText(target.value)}
        />
      </label>
      {shown.length === 0 ? (
        <Empty title="There is no line" />
      ) : (
        <ol
          tabIndex={0}
          aria-label="Lines of the log, newest first"
          className="panel max-h-[70vh] divide-y divide-line overflow-auto text-xs"
        >
          {shown.map(({ at, level, event, correlationId, fields }, index) => (
            <li key={`${at} ${correlationId} ${shown.length - index}`} className="flex flex-wrap gap-x-3 px-3 py-1.5">
              <span className="text-soft">
                <Time at={at} />
              </span>
              <span className={/warn|error|fatal/.test(level) ? 'text-warn' : 'text-soft'}>{level}</span>
              <span className="font-medium">{event}</span>
              <span className="min-w-0 font-mono text-soft">
                <Text short={400}>{JSON.stringify(fields)}</Text>
              </span>
            </li>
          ))}
        </ol>
      )}
    </>
  );
}
