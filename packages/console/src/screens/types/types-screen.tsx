import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { type ReactNode, useState } from 'react';
import type { TaskTypeEntry } from '../../../../protocol/src/operators.js';
import { Buttons, Dialog } from '../../parts/dialog.js';
import { Heading } from '../../parts/heading.js';
import { Absent, Empty, Refused } from '../../parts/states.js';
import { Json, Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import { send } from '../../service/ask.js';
import { useMay } from '../../service/me.js';
import { queries } from '../../service/queries.js';
import { typeList } from '../../service/types.js';

/** Task types: what applies to their tasks, what that holds back, and the pause. */
export function TypesScreen() {
  const list = useQuery(typeList);
  return (
    <>
      <Heading title="Task types" />
      {!list.data ? (
        <Absent query={list} what="task types" needs="tasks:admin" />
      ) : list.data.items.length === 0 ? (
        <Empty title="No task type is known">
          <p>A type is known when a handler or a worker takes it, when it has a policy, or when it has tasks.</p>
        </Empty>
      ) : (
        <ul className="grid gap-4 lg:grid-cols-2 2xl:grid-cols-3">
          {list.data.items.map((type) => (
            <li key={type.taskType} className="min-w-0">
              <Type type={type} />
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Type({ type }: { readonly type: TaskTypeEntry }) {
  const { taskType, policy, from, paused, isHandledHere, workers, running, waiting, held } = type;
  const more = type.atLeast ? '+' : '';
  const heldBack = held.concurrency + held.rate;
  return (
    <article aria-label={taskType} className="panel h-full p-4">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h2 className="font-semibold">
          <Link to="/tasks" search={{ all: true, taskType }} className="link">
            <Text short={80}>{taskType}</Text>
          </Link>
        </h2>
        <Pause type={type} />
      </div>
      {paused && (
        <p className="mt-1 text-warn">
          Paused <Ago at={paused.since} /> by <Text short={60}>{paused.by}</Text>
          {paused.reason && (
            <>
              : <Text>{paused.reason}</Text>
            </>
          )}
        </p>
      )}
      <dl className="mt-3 grid grid-cols-2 gap-3 sm:grid-cols-4">
        <Count name="running">{running}</Count>
        <Count name={paused ? 'held by the pause' : 'waiting'}>
          {waiting}
          {more}
        </Count>
        <Count name="held by limits">
          {heldBack}
          {more}
          {heldBack > 0 && (
            <span className="block text-xs font-normal text-soft">
              {held.concurrency} concurrency, {held.rate} rate
            </span>
          )}
        </Count>
        <Count name="taken by">
          <span className="text-sm font-normal">
            {isHandledHere ? 'this service' : ''}
            {isHandledHere && workers > 0 && ', '}
            {workers > 0 && `${workers} ${workers === 1 ? 'worker' : 'workers'}`}
            {!isHandledHere && workers === 0 && <span className="text-bad">nobody</span>}
          </span>
        </Count>
      </dl>
      {Object.keys(policy).length > 0 && (
        <details className="mt-3">
          <summary className="w-fit cursor-pointer text-soft hover:text-ink">
            Policy, from {[...new Set(Object.values(from))].map((one) => one).join(', ')}
          </summary>
          <div className="mt-2">
            <Json label={`Policy of ${taskType}`} value={policy} />
          </div>
        </details>
      )}
    </article>
  );
}

function Count({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <div>
      <dt className="text-xs text-soft">{name}</dt>
      <dd className="text-lg font-semibold tabular-nums">{children}</dd>
    </div>
  );
}

function Pause({ type: { taskType, paused, waiting, atLeast } }: { readonly type: TaskTypeEntry }) {
  const { operate } = useMay();
  const [isOpen, setOpen] = useState(false);
  const [reason, setReason] = useState('');
  const path = `/task-types/${encodeURIComponent(taskType)}/pause`;
  const change = useMutation({
    mutationFn: () =>
      paused ? send('DELETE', path) : send('PUT', path, reason.trim() ? { reason: reason.trim() } : {}),
    onSuccess: async () => {
      setOpen(false);
      await queries.invalidateQueries({ queryKey: typeList.queryKey });
    },
  });
  if (!operate) return null;
  return (
    <>
      <button type="button" className="button" onClick={() => setOpen(true)}>
        {paused ? 'Resume…' : 'Pause…'}
      </button>
      {isOpen && (
        <Dialog title={paused ? `Resume ${taskType}` : `Pause ${taskType}`} onClose={() => setOpen(false)}>
          <form
            className="space-y-4"
            onSubmit={(event) => {
              event.preventDefault();
              change.mutate();
            }}
          >
            <p>
              <strong className="tabular-nums">
                {waiting.toLocaleString()}
                {atLeast && ' or more'}
              </strong>{' '}
              {waiting === 1 ? 'task waits' : 'tasks wait'} now.{' '}
              {paused ? 'They may begin again.' : 'They and later ones will not begin. What runs goes on.'}
            </p>
            {!paused && (
              <label className="block">
                <span className="text-xs text-soft">Reason (optional)</span>
                <input
                  className="field"
                  maxLength={1024}
                  value={reason}
                  onChange={({ target }) => setReason(target.value)}
                />
              </label>
            )}
            <Refused error={change.error} />
            <Buttons>
              <button type="button" className="button" onClick={() => setOpen(false)}>
                Leave it
              </button>
              <button type="submit" className="button button-main" disabled={change.isPending}>
                {paused ? 'Resume the type' : 'Pause the type'}
              </button>
            </Buttons>
          </form>
        </Dialog>
      )}
    </>
  );
}
