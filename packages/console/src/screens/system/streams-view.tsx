import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Absent, Empty, Refused } from '../../parts/states.js';
import { Table } from '../../parts/table.js';
import { Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import { send } from '../../service/ask.js';
import { useMay } from '../../service/me.js';
import { queries } from '../../service/queries.js';
import { type Stream, streams } from '../../service/system.js';

export function StreamsView() {
  const query = useQuery(streams);
  const { operate } = useMay();
  const end = useMutation({
    mutationFn: (streamId: string) => send('DELETE', `/system/streams/${streamId}`),
    onSuccess: () => queries.invalidateQueries({ queryKey: streams.queryKey }),
  });
  if (!query.data) return <Absent query={query} what="streams" needs="tasks:admin" />;
  const { items } = query.data;
  if (items.length === 0) return <Empty title="No stream is open" />;
  return (
    <>
      <Refused error={end.error} />
      <Table
        caption="Open streams"
        heads={[
          'Principal',
          'Over',
          'Follows',
          'Cursor',
          'Behind',
          'Buffered',
          'Since',
          ...(operate ? ['Action'] : []),
        ]}
      >
        {items.map((one) => (
          <tr key={one.streamId}>
            <td>
              <Text short={40}>{one.principalId}</Text>
            </td>
            <td>{one.transport.replaceAll('_', ' ')}</td>
            <td>
              <Followed stream={one} />
            </td>
            <td className="tabular-nums">{one.cursor}</td>
            <td className={`tabular-nums ${(one.lag ?? 0) > 1_000 ? 'text-warn' : ''}`}>{one.lag}</td>
            <td className={`tabular-nums ${one.bufferedBytes > 500_000 ? 'text-warn' : ''}`}>
              {one.bufferedBytes.toLocaleString()} B
            </td>
            <td className="text-soft">
              <Ago at={one.since} />
            </td>
            {operate && (
              <td>
                <button
                  type="button"
                  className="button py-0.5 text-xs"
                  aria-label={`End the stream of ${one.principalId} ${one.streamId}`}
                  onClick={() => end.mutate(one.streamId)}
                >
                  End
                </button>
              </td>
            )}
          </tr>
        ))}
      </Table>
    </>
  );
}

function Followed({ stream: { taskId, changesOf } }: { readonly stream: Stream }) {
  if (taskId !== undefined)
    return (
      <Link to="/tasks/$taskId" params={{ taskId }} className="link font-mono text-xs">
        {taskId.slice(0, 13)}…
      </Link>
    );
  if (changesOf?.all) return 'changes of all';
  if (changesOf)
    return <Text short={60}>{`changes of ${changesOf.ownerId ?? changesOf.tenantId ?? 'the principal'}`}</Text>;
  return null;
}
