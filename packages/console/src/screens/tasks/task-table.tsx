import { Link } from '@tanstack/react-router';
import { memo } from 'react';
import { Owner } from '../../parts/owner.js';
import { isOver, Progress, Status } from '../../parts/status.js';
import { Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import type { ListedTask } from '../../service/tasks.js';
import { useLiveRow } from './use-live-row.js';

interface Given {
  readonly tasks: readonly ListedTask[];
  readonly showsOwners: boolean;
  readonly chosen: ReadonlySet<string>;
  onChoose(chosen: ReadonlySet<string>): void;
}

export function TaskTable({ tasks, showsOwners, chosen, onChoose }: Given) {
  const areAll = tasks.every(({ taskId }) => chosen.has(taskId));
  const choose = (taskId: string, isChosen: boolean) => {
    const next = new Set(chosen);
    if (isChosen) next.add(taskId);
    else next.delete(taskId);
    onChoose(next);
  };
  return (
    <div className="panel overflow-hidden">
      <table className="w-full table-fixed text-left">
        <caption className="sr-only">Tasks, newest first</caption>
        <thead className="border-b border-line bg-sunk text-xs text-soft">
          <tr>
            <th scope="col" className="w-10 py-2 pl-4">
              <input
                type="checkbox"
                aria-label="Select all that are listed"
                className="block size-4 accent-accent"
                checked={areAll}
                onChange={({ target }) => onChoose(new Set(target.checked ? tasks.map(({ taskId }) => taskId) : []))}
              />
            </th>
            <th scope="col" className="px-3 py-2 font-medium">
              Task
            </th>
            {showsOwners && (
              <th scope="col" className="hidden w-36 px-3 py-2 font-medium lg:table-cell">
                Owner
              </th>
            )}
            <th scope="col" className="w-28 px-3 py-2 font-medium sm:w-40">
              Status
            </th>
            <th scope="col" className="hidden px-3 py-2 font-medium md:table-cell">
              Progress
            </th>
            <th scope="col" className="hidden w-32 px-3 py-2 text-right font-medium sm:table-cell sm:pr-4">
              Created
            </th>
          </tr>
        </thead>
        <tbody className="divide-y divide-line">
          {tasks.map((task) => (
            <Row
              key={task.taskId}
              task={task}
              showsOwners={showsOwners}
              isChosen={chosen.has(task.taskId)}
              onChoose={choose}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RowGiven {
  readonly task: ListedTask;
  readonly showsOwners: boolean;
  readonly isChosen: boolean;
  onChoose(taskId: string, isChosen: boolean): void;
}

const Row = memo(
  TaskRow,
  (one, other) => one.task === other.task && one.isChosen === other.isChosen && one.showsOwners === other.showsOwners,
);

function TaskRow({ task, showsOwners, isChosen, onChoose }: RowGiven) {
  const { row, progress, message } = useLiveRow(task);
  return (
    <tr ref={row} className="hover:bg-sunk/60">
      <td className="py-2.5 pl-4 align-top">
        <input
          type="checkbox"
          aria-label={`Select ${task.taskType} ${task.taskId}`}
          className="mt-0.5 block size-4 accent-accent"
          checked={isChosen}
          onChange={({ target }) => onChoose(task.taskId, target.checked)}
        />
      </td>
      <td className="px-3 py-2.5 align-top">
        <Link to="/tasks/$taskId" params={{ taskId: task.taskId }} className="link font-medium">
          <Text short={80}>{task.taskType}</Text>
        </Link>
        <div className="truncate text-xs text-soft">
          <Text short={120}>{task.clientRequestId}</Text>
        </div>
      </td>
      {showsOwners && (
        <td className="hidden px-3 py-2.5 align-top lg:table-cell">
          <Owner id={task.ownerId ?? ''} />
        </td>
      )}
      <td className="px-3 py-2.5 align-top">
        <Status task={task} />
        {task.failure && (
          <div className="truncate text-xs text-soft">
            <Text short={60}>{task.failure.code}</Text>
          </div>
        )}
        {!task.failure && task.waitingFor && task.waitingFor !== 'answer' && (
          <div className="truncate text-xs text-soft">
            <Text short={60}>{`for ${task.waitingFor.replaceAll('_', ' ')}`}</Text>
          </div>
        )}
      </td>
      <td className="hidden px-3 py-2.5 align-top md:table-cell">
        {!isOver(task) && progress !== undefined && (
          <Progress percent={progress} label={`Progress of ${task.taskId}`} />
        )}
        {!isOver(task) && message !== undefined && (
          <div className="truncate text-xs text-soft">
            <Text short={120}>{message}</Text>
          </div>
        )}
      </td>
      <td className="hidden px-3 py-2.5 text-right align-top text-soft sm:table-cell sm:pr-4">
        <Ago at={task.createdAt} />
      </td>
    </tr>
  );
}
