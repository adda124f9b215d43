import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Bulk } from '../../../../protocol/src/bulk.js';
import { ask, send } from '../../service/ask.js';
import type { TaskFilter } from '../../service/tasks.js';

export type Kind = 'cancel' | 'retry';

const LOOK_MS = 500;

/** What would be done, and later how far it is. What runs is what was shown: the service keeps the preview. */
export function useBulk(kind: Kind, chosen: ReadonlySet<string>, filter: TaskFilter) {
  const preview = useQuery({
    queryKey: ['bulk', kind, [...chosen], filter],
    queryFn: () => send<Bulk>('POST', `/tasks/bulk/${kind}`, { dryRun: true, ...selectionOf(chosen, filter) }),
    gcTime: 0,
    staleTime: Infinity,
    refetchOnWindowFocus: false,
  });
  const [bulkId, follow] = useState<string>();
  const { data: bulk } = useQuery({
    queryKey: ['bulk', bulkId],
    queryFn: ({ signal }) => ask<Bulk>(`/bulks/${bulkId}`, { signal }),
    enabled: bulkId !== undefined,
    refetchInterval: ({ state }) => (state.data?.finishedAt ? false : LOOK_MS),
  });
  return { preview, running: { follow, bulk } };
}

/** Whether a bulk can be about the tasks that the filter lists, and no others. */
export function fitsBulk({
  status: _,
  taskType: __,
  suspended: ___,
  owner: ____,
  tenant: _____,
  createdBefore: ______,
  ...rest
}: TaskFilter) {
  return Object.keys(rest).length === 0;
}

function selectionOf(
  chosen: ReadonlySet<string>,
  { status, taskType, suspended, owner, tenant, createdBefore }: TaskFilter,
) {
  if (chosen.size > 0) return { ids: [...chosen] };
  return {
    filter: { ...(status && { status }), ...(taskType && { taskType }), ...(suspended && { suspended }) },
    ...(owner && { owner }),
    ...(owner && tenant && { tenant }),
    ...(createdBefore && { createdBefore }),
  };
}
