import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { TaskCounts } from '../../../../protocol/src/operators.js';
import { taskCounts } from '../../service/counts.js';
import { useMay } from '../../service/me.js';
import type { TaskFilter } from '../../service/tasks.js';

const VIEWS: readonly { readonly name: string; readonly filter: Pick<TaskFilter, 'status' | 'suspended'> }[] = [
  { name: 'All', filter: {} },
  { name: 'Waiting', filter: { status: 'ACCEPTED' } },
  { name: 'Running', filter: { status: 'RUNNING' } },
  { name: 'Waiting for me', filter: { suspended: true } },
  { name: 'Completed', filter: { status: 'COMPLETED' } },
  { name: 'Failed', filter: { status: 'FAILED' } },
  { name: 'Cancelled', filter: { status: 'CANCELLED' } },
];

type TextName = 'taskType' | 'clientRequestId' | 'failureCode' | 'owner' | 'tenant' | 'tag';
const TEXTS: readonly {
  readonly name: TextName;
  readonly label: string;
  readonly hint: string;
  readonly admin?: true;
}[] = [
  { name: 'taskType', label: 'Type', hint: 'demo.greet' },
  { name: 'clientRequestId', label: 'Request id', hint: 'order-4711' },
  { name: 'failureCode', label: 'Failure code', hint: 'STALLED' },
  { name: 'tag', label: 'Tag', hint: 'customer:4711' },
  { name: 'owner', label: 'Owner', hint: 'alice', admin: true },
  { name: 'tenant', label: 'Tenant', hint: 'acme', admin: true },
];

interface Given {
  readonly filter: TaskFilter;
  /** Whether the list is there: nothing is counted before the first paint. */
  readonly isCounted: boolean;
  onChange(filter: TaskFilter): void;
}

/** The filter of the list. It stands in the address of the page, so that a link shows the same. */
export function Filters({ filter, isCounted, onChange }: Given) {
  const { status: _, suspended: __, ...rest } = filter;
  const { all, owner, tenant } = filter;
  const counts = useQuery({ ...taskCounts({ all, owner, tenant }), enabled: isCounted }).data;
  return (
    <div className="mb-4 space-y-3">
      <div>
        <div role="group" aria-label="Status" className="flex flex-wrap gap-1">
          {VIEWS.map(({ name, filter: view }) => {
            const isOn = view.status === filter.status && view.suspended === filter.suspended;
            const count = countOf(view, counts, filter.taskType);
            return (
              <button
                key={name}
                type="button"
                aria-pressed={isOn}
                className="rounded-full border border-line px-3 py-1 text-soft hover:text-ink aria-pressed:border-accent aria-pressed:text-accent"
                onClick={() => onChange({ ...rest, ...view })}
              >
                {name}
                {count !== undefined && (
                  <>
                    {' '}
                    <span className="text-xs tabular-nums">{count.toLocaleString()}</span>
                  </>
                )}
              </button>
            );
          })}
        </div>
      </div>
      <More key={JSON.stringify(filter)} filter={filter} onChange={onChange} />
    </div>
  );
}

function More({ filter, onChange }: Omit<Given, 'isCounted'>) {
  const { readAll: isAdmin } = useMay();
  const [texts, setTexts] = useState<Partial<Record<TextName, string>>>(filter);
  const [times, setTimes] = useState({ after: local(filter.createdAfter), before: local(filter.createdBefore) });
  const shown = TEXTS.filter(({ admin }) => isAdmin || !admin);
  const isOpen = shown.some(({ name }) => filter[name]) || filter.createdAfter || filter.createdBefore;
  const apply = () => {
    const {
      taskType: _,
      clientRequestId: __,
      failureCode: ___,
      owner: ____,
      tenant: _____,
      tag: ______,
      createdAfter: _______,
      createdBefore: ________,
      ...rest
    } = filter;
    const given = Object.entries(texts).filter(([name, text]) => TEXTS.some((one) => one.name === name) && text.trim());
    onChange({
      ...rest,
      ...Object.fromEntries(given.map(([name, text]) => [name, text.trim()])),
      ...(times.after && { createdAfter: new Date(times.after).toISOString() }),
      ...(times.before && { createdBefore: new Date(times.before).toISOString() }),
    });
  };
  return (
    <details open={Boolean(isOpen)}>
      <summary className="w-fit cursor-pointer text-soft hover:text-ink">More filters</summary>
      <form
        className="panel mt-2 grid gap-3 p-4 sm:grid-cols-2 lg:grid-cols-4"
        onSubmit={(event) => {
          event.preventDefault();
          apply();
        }}
      >
        {shown.map(({ name, label, hint }) => (
          <label key={name} className="block">
            <span className="text-xs text-soft">{label}</span>
            <input
              className="field"
              placeholder={hint}
              value={texts[name] ?? ''}
              onChange={({ target }) => setTexts({ ...texts, [name]: target.value })}
            />
          </label>
        ))}
        <label className="block">
          <span className="text-xs text-soft">Created after</span>
          <input
            type="datetime-local"
            className="field"
            value={times.after}
            onChange={({ target }) => setTimes({ ...times, after: target.value })}
          />
        </label>
        <label className="block">
          <span className="text-xs text-soft">Created before</span>
          <input
            type="datetime-local"
            className="field"
            value={times.before}
            onChange={({ target }) => setTimes({ ...times, before: target.value })}
          />
        </label>
        <div className="flex items-end">
          <button type="submit" className="button">
            Apply
          </button>
        </div>
      </form>
    </details>
  );
}

/** Of all tasks in this status, or of those of a type. Other filters are not counted. */
function countOf(
  view: Pick<TaskFilter, 'status' | 'suspended'>,
  counts: TaskCounts | undefined,
  taskType: string | undefined,
) {
  if (!counts || view.suspended) return undefined;
  const type = counts.byType.find((one) => one.taskType === taskType);
  const byStatus = taskType === undefined ? counts.byStatus : (type?.byStatus ?? {});
  if (view.status) return byStatus[view.status] ?? 0;
  return Object.values(byStatus).reduce((sum, count) => sum + count, 0);
}

/** As an input of the browser wants it: the reader's zone, to the minute. */
function local(at: string | undefined): string {
  if (at === undefined || Number.isNaN(Date.parse(at))) return '';
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
