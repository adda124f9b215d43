import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Owner } from '../../parts/owner.js';
import { Heading } from '../../parts/heading.js';
import { Absent, Empty } from '../../parts/states.js';
import { Table } from '../../parts/table.js';
import { Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import { stuckTasks } from '../../service/system.js';

const KINDS: Readonly<Record<string, string>> = {
  silent_lease: 'Silent leases',
  retrying: 'Retrying',
  no_worker: 'Waiting without a worker',
  overdue_question: 'Overdue questions',
  aside: 'Set aside',
};

/** Tasks that need somebody to look, by kind. */
export function StuckScreen() {
  const stuck = useQuery(stuckTasks);
  if (!stuck.data)
    return (
      <>
        <Heading title="Stuck" />
        <Absent query={stuck} what="stuck tasks" needs="tasks:admin" />
      </>
    );
  const { items, hasMore } = stuck.data;
  const kinds = [...new Set([...Object.keys(KINDS), ...items.map(({ kind }) => kind)])];
  return (
    <>
      <Heading title="Stuck" />
      {items.length === 0 && (
        <Empty title="No task is stuck">
          <p>All leases give signs of life, every type that has tasks has a worker, and no question is overdue.</p>
        </Empty>
      )}
      <div className="space-y-6">
        {kinds.map((kind) => {
          const shown = items.filter((one) => one.kind === kind);
          if (shown.length === 0) return null;
          const name = KINDS[kind] ?? kind;
          return (
            <section key={kind} aria-label={name}>
              <h2 className="mb-2 font-semibold">
                {name}{' '}
                <span className="font-normal text-soft tabular-nums">
                  {shown.length}
                  {hasMore.includes(kind) && ' and more'}
                </span>
              </h2>
              <Table caption={name} heads={['Task', 'Owner', 'Since', 'Why']}>
                {shown.map(({ task, since, why }) => (
                  <tr key={task.taskId}>
                    <td>
                      <Link to="/tasks/$taskId" params={{ taskId: task.taskId }} className="link font-medium">
                        <Text short={60}>{task.taskType}</Text>
                      </Link>
                    </td>
                    <td>
                      <Owner id={task.ownerId ?? ''} />
                    </td>
                    <td className="text-soft">
                      <Ago at={since} />
                    </td>
                    <td>
                      <Text short={300}>{why}</Text>
                    </td>
                  </tr>
                ))}
              </Table>
            </section>
          );
        })}
      </div>
    </>
  );
}
