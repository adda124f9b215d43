import { useQuery } from '@tanstack/react-query';
import { Absent } from '../../parts/states.js';
import { Table } from '../../parts/table.js';
import { Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import { readiness, replicas, retention } from '../../service/system.js';
import { Charts } from './charts.js';

export function Overview() {
  return (
    <div className="space-y-6">
      <Readiness />
      <Charts />
      <Replicas />
      <Retention />
    </div>
  );
}

function Readiness() {
  const query = useQuery(readiness);
  if (!query.data) return <Absent query={query} what="the readiness" needs="tasks:admin" />;
  const { status, details } = query.data;
  return (
    <section aria-label="Readiness" className="panel flex flex-wrap gap-x-6 gap-y-1 p-4">
      <h2 className={`font-semibold ${status === 'ready' ? 'text-ok' : 'text-bad'}`}>
        {status === 'ready' ? 'Ready' : 'Not ready'}
      </h2>
      {Object.entries(details).map(([name, probe]) => (
        <span key={name} className="text-soft">
          {name.replaceAll('_', ' ')}{' '}
          <span className={probe.status === 'ready' || probe.status === 'up' ? 'text-ok' : 'text-bad'}>
            <Text short={60}>{probe.status}</Text>
          </span>
        </span>
      ))}
    </section>
  );
}

function Replicas() {
  const query = useQuery(replicas);
  if (!query.data) return null;
  return (
    <section aria-label="Replicas">
      <h2 className="mb-2 font-semibold">Replicas</h2>
      <Table caption="Replicas" heads={['Replica', 'Build', 'State', 'Streams', 'Started', 'Last beat', 'Executes']}>
        {query.data.items.map(
          ({ replicaId, build, isLive, isReady, streams, startedAt, lastBeatAt, taskTypes = [] }) => (
            <tr key={replicaId}>
              <td className="font-mono text-xs">
                {replicaId.slice(0, 8)}
                {replicaId === query.data.answeredBy && <span className="font-sans text-soft"> answers you</span>}
              </td>
              <td>
                <Text short={40}>{build}</Text>
              </td>
              <td className={isLive && isReady !== false ? 'text-ok' : 'text-bad'}>
                {!isLive ? 'silent' : isReady === false ? 'not ready' : 'live'}
              </td>
              <td className="tabular-nums">{streams ?? ''}</td>
              <td className="text-soft">
                <Ago at={startedAt} />
              </td>
              <td className="text-soft">
                <Ago at={lastBeatAt} />
              </td>
              <td className="min-w-60 text-xs text-soft">
                <Text short={160}>{taskTypes.join(', ')}</Text>
              </td>
            </tr>
          ),
        )}
      </Table>
    </section>
  );
}

function Retention() {
  const query = useQuery(retention);
  if (!query.data) return null;
  const { days, lastRun, overdue } = query.data;
  return (
    <section aria-label="Retention" className="panel p-4">
      <h2 className="font-semibold">Retention</h2>
      <p className="mt-1">
        Ended tasks are due for removal after {days} days.{' '}
        {lastRun ? (
          <>
            The last run, <Ago at={lastRun.at} />, removed {lastRun.removedTasks.toLocaleString()} tasks.
          </>
        ) : (
          'No run is known.'
        )}{' '}
        <span className={overdue.tasks > 0 ? 'text-warn' : 'text-soft'}>
          {overdue.tasks.toLocaleString()}
          {overdue.atLeast && ' or more'} are overdue.
        </span>
      </p>
    </section>
  );
}
