import { useQuery } from '@tanstack/react-query';
import { Absent, Empty } from '../../parts/states.js';
import { Table } from '../../parts/table.js';
import { Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import { workers } from '../../service/system.js';

export function WorkersView() {
  const query = useQuery(workers);
  if (!query.data) return <Absent query={query} what="workers" needs="tasks:admin" />;
  if (query.data.items.length === 0)
    return (
      <Empty title="No worker was seen within a day">
        <p>Handlers inside the service are no workers.</p>
      </Empty>
    );
  return (
    <Table caption="Workers" heads={['Worker', 'Version', 'State', 'Leases', 'Last claim', 'Types']}>
      {query.data.items.map(({ workerId, version, isLive, leases, lastSeenAt, taskTypes }) => (
        <tr key={workerId}>
          <td>
            <Text short={60}>{workerId}</Text>
          </td>
          <td>
            <Text short={40}>{version ?? ''}</Text>
          </td>
          <td className={isLive ? 'text-ok' : 'text-soft'}>{isLive ? 'live' : 'gone'}</td>
          <td className="tabular-nums">{leases}</td>
          <td className="text-soft">
            <Ago at={lastSeenAt} />
          </td>
          <td className="min-w-60 text-xs text-soft">
            <Text short={200}>{taskTypes.join(', ')}</Text>
          </td>
        </tr>
      ))}
    </Table>
  );
}
