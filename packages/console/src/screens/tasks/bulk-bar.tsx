import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import type { Bulk } from '../../../../protocol/src/bulk.js';
import { Buttons, Dialog } from '../../parts/dialog.js';
import { Refused } from '../../parts/states.js';
import { send } from '../../service/ask.js';
import { useMay } from '../../service/me.js';
import type { TaskFilter } from '../../service/tasks.js';
import { fitsBulk, type Kind, useBulk } from './use-bulk.js';

interface Given {
  readonly filter: TaskFilter;
  readonly chosen: ReadonlySet<string>;
  /** Whether the list shows no task. What was begun stays: a bulk may empty the list. */
  readonly isEmpty: boolean;
  onDone(): void;
}

const WORDS = {
  cancel: { button: 'Cancel', title: 'Cancel tasks', does: 'will be asked to end', sure: 'Cancel' },
  retry: { button: 'Run again', title: 'Run tasks again', does: 'will run again, as new tasks', sure: 'Run again' },
} as const;

/** The same done to the selected tasks, or to all that match the filter. */
export function BulkBar({ filter, chosen, isEmpty, onDone }: Given) {
  const { write, operate } = useMay();
  const [kind, setKind] = useState<Kind>();
  if ((!write && !operate) || (isEmpty && !kind)) return null;
  if (chosen.size === 0 && !kind && !fitsBulk(filter))
    return (
      <p className="mb-3 text-soft">Select tasks to cancel them or to run them again: no bulk takes this filter.</p>
    );
  const what = chosen.size > 0 ? `${chosen.size} selected` : 'all that match';
  return (
    <div className="mb-3 flex flex-wrap items-center gap-2">
      {(['cancel', 'retry'] as const).map((one) => (
        <button key={one} type="button" className="button py-1 text-xs" onClick={() => setKind(one)}>
          {WORDS[one].button} {what}…
        </button>
      ))}
      {kind && (
        <Confirm
          kind={kind}
          filter={filter}
          chosen={chosen}
          onClose={(isDone) => {
            setKind(undefined);
            if (isDone) onDone();
          }}
        />
      )}
    </div>
  );
}

function Confirm({
  kind,
  filter,
  chosen,
  onClose,
}: Omit<Given, 'onDone' | 'isEmpty'> & { readonly kind: Kind; onClose(isDone: boolean): void }) {
  const words = WORDS[kind];
  const { preview, running } = useBulk(kind, chosen, filter);
  const run = useMutation({
    mutationFn: (bulkId: string) => send<Bulk>('POST', `/tasks/bulk/${kind}`, { bulkId }),
    onSuccess: ({ bulkId }) => running.follow(bulkId),
  });
  const bulk = running.bulk ?? run.data;
  const count = preview.data?.matched;
  return (
    <Dialog title={words.title} onClose={() => onClose(bulk !== undefined)}>
      {bulk ? (
        <Outcome bulk={bulk} />
      ) : preview.isPending ? (
        <p aria-busy="true">Counting…</p>
      ) : count === undefined ? null : (
        <p>
          <strong className="tabular-nums">{count.toLocaleString()}</strong> {count === 1 ? 'task' : 'tasks'}{' '}
          {words.does}.{count === 0 && ' None of them is in a state for it.'}
        </p>
      )}
      <Refused error={preview.error ?? run.error} />
      <Buttons>
        <button type="button" className="button" onClick={() => onClose(bulk !== undefined)}>
          {bulk ? 'Close' : 'Leave them'}
        </button>
        {!bulk && count !== undefined && count > 0 && (
          <button
            type="button"
            className={`button ${kind === 'cancel' ? 'button-bad' : 'button-main'}`}
            disabled={run.isPending}
            onClick={() => run.mutate(preview.data?.bulkId ?? '')}
          >
            {words.sure} {count.toLocaleString()} {count === 1 ? 'task' : 'tasks'}
          </button>
        )}
      </Buttons>
    </Dialog>
  );
}

function Outcome({ bulk }: { readonly bulk: Bulk }) {
  const done = Object.values(bulk.outcomes).reduce((sum, count) => sum + count, 0);
  return (
    <div role="status">
      <p>
        {done.toLocaleString()} of {bulk.matched.toLocaleString()} done.
      </p>
      <ul className="mt-1 text-soft">
        {Object.entries(bulk.outcomes).map(([name, count]) => (
          <li key={name}>
            {count.toLocaleString()} {name.toLowerCase().replaceAll('_', ' ')}
          </li>
        ))}
      </ul>
    </div>
  );
}
