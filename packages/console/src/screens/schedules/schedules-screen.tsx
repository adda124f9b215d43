import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { Schedule } from '../../../../protocol/src/schedules.js';
import { Owner } from '../../parts/owner.js';
import { AllOwners } from '../../parts/all-owners.js';
import { Heading } from '../../parts/heading.js';
import { Absent, Empty } from '../../parts/states.js';
import { Json, Text } from '../../parts/text.js';
import { Ago, Time } from '../../parts/time.js';
import { ask, queryOf } from '../../service/ask.js';
import { DeleteSchedule } from './delete-schedule.js';

interface Page {
  readonly items: readonly Schedule[];
}

const REFRESH_MS = 5_000;

/** Schedules, and when they make their next tasks. */
export function SchedulesScreen() {
  const [areAll, setAll] = useState(false);
  const list = useQuery({
    queryKey: ['schedules', areAll],
    queryFn: ({ signal }) => ask<Page>(`/schedules${queryOf({ all: areAll || undefined })}`, { signal }),
    refetchInterval: REFRESH_MS,
  });
  return (
    <>
      <Heading title="Schedules">
        <AllOwners what="Schedules" areAll={areAll} onChange={setAll} />
      </Heading>
      {!list.data ? (
        <Absent query={list} what="schedules" needs={areAll ? 'tasks:admin' : 'tasks:read'} />
      ) : list.data.items.length === 0 ? (
        <Empty title="There is no schedule">
          <p>
            A schedule creates tasks at times of the clock. Make one with{' '}
            <code>PUT /api/v1/schedules/&#123;name&#125;</code>.
          </p>
        </Empty>
      ) : (
        <ul className="grid gap-4 xl:grid-cols-2">
          {list.data.items.map((one) => (
            <li key={`${one.tenantId} ${one.ownerId} ${one.name}`} className="min-w-0">
              <Shown schedule={one} isOwn={!areAll} />
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function Shown({ schedule, isOwn }: { readonly schedule: Schedule; readonly isOwn: boolean }) {
  const {
    name,
    cron,
    timeZone,
    taskType,
    input,
    overlap,
    catchUp,
    nextAt,
    ticks,
    lastAt,
    lastTaskId,
    lastSkip,
    ownerId,
  } = schedule;
  const next = ticks ?? (nextAt === null ? [] : [nextAt]);
  return (
    <article aria-label={name} className="panel h-full space-y-3 p-4">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <h2 className="font-semibold">
          <Text short={80}>{name}</Text>
        </h2>
        {isOwn && <DeleteSchedule name={name} />}
      </div>
      {schedule.paused && <p className="text-warn">It is paused, and has no ticks.</p>}
      <p className="text-soft">
        <code className="text-ink">{cron}</code> in <Text short={60}>{timeZone}</Text> creates{' '}
        <Link to="/tasks" search={{ taskType }} className="link">
          <Text short={60}>{taskType}</Text>
        </Link>
        {ownerId !== undefined && (
          <>
            {' '}
            of <Owner id={ownerId} />
          </>
        )}
      </p>
      <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1">
        <dt className="text-soft">Next</dt>
        <dd>
          {next.length === 0
            ? 'never'
            : next.map((at, index) => (
                <span key={at} className={`block ${index > 0 ? 'text-soft' : ''}`}>
                  <Time at={at} />
                  {index === 0 && (
                    <>
                      , <Ago at={at} />
                    </>
                  )}
                </span>
              ))}
        </dd>
        {lastAt && (
          <>
            <dt className="text-soft">Last</dt>
            <dd>
              <Time at={lastAt} />{' '}
              {lastTaskId && (
                <Link to="/tasks/$taskId" params={{ taskId: lastTaskId }} className="link">
                  its task
                </Link>
              )}
            </dd>
          </>
        )}
        {lastSkip && (
          <>
            <dt className="text-soft">Skipped</dt>
            <dd className="text-warn">
              <Text short={60}>{lastSkip.replaceAll('_', ' ')}</Text>
            </dd>
          </>
        )}
        <dt className="text-soft">Overlap</dt>
        <dd>
          {overlap.replaceAll('_', ' ')},{' '}
          {catchUp === 0 ? 'missed ticks are left out' : `up to ${catchUp} missed ticks are made up`}
        </dd>
      </dl>
      {Object.keys(input).length > 0 && (
        <details>
          <summary className="w-fit cursor-pointer text-soft hover:text-ink">Input</summary>
          <div className="mt-2">
            <Json label={`Input of ${name}`} value={input} />
          </div>
        </details>
      )}
    </article>
  );
}
