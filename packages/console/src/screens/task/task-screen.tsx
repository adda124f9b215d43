import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useEffect, useMemo, useState } from 'react';
import type { TaskSnapshot } from '../../../../protocol/src/snapshots.js';
import { Heading } from '../../parts/heading.js';
import { Absent } from '../../parts/states.js';
import { client } from '../../service/client.js';
import { queries } from '../../service/queries.js';
import { taskSnapshot } from '../../service/tasks.js';
import { useLive } from '../../service/use-live.js';
import { TaskView } from './task-view.js';

export function TaskScreen() {
  const { taskId } = useParams({ from: '/tasks/$taskId' });
  const snapshot = useQuery(taskSnapshot(taskId));
  if (!snapshot.data)
    return (
      <>
        <Heading title="Task" />
        <Absent query={snapshot} what="the task" />
      </>
    );
  return <Followed key={taskId} taskId={taskId} snapshot={snapshot.data} />;
}

/** The snapshot is read again when the task has come to another state. */
function Followed({ taskId, snapshot }: { readonly taskId: string; readonly snapshot: TaskSnapshot }) {
  const task = useMemo(() => client.task(taskId), [taskId]);
  const state = useLive(task.state);
  const [isKnown, setKnown] = useState('');
  const standing = `${state.status} ${state.attempt}`;
  useEffect(() => {
    // The first state is that of the snapshot.
    if (isKnown !== '' && isKnown !== standing)
      void queries.invalidateQueries({ queryKey: taskSnapshot(taskId).queryKey });
    setKnown(standing);
  }, [isKnown, standing, taskId]);
  return <TaskView task={task} state={state} snapshot={snapshot} />;
}
