import { useInfiniteQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { filterOf } from '../../addresses.js';
import { AllOwners } from '../../parts/all-owners.js';
import { Heading } from '../../parts/heading.js';
import { Absent, Empty } from '../../parts/states.js';
import { Text } from '../../parts/text.js';
import { useFeed } from '../../service/feed.js';
import { queries } from '../../service/queries.js';
import { applyChanges, feedMembers, isOfOthers, taskList } from '../../service/tasks.js';
import { BulkBar } from './bulk-bar.js';
import { Filters } from './filters.js';
import { TaskTable } from './task-table.js';

export function TasksScreen() {
  const filter = filterOf(useSearch({ from: '/tasks' }));
  const navigate = useNavigate({ from: '/tasks' });
  const list = useInfiniteQuery(taskList(filter));
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const stopped = useFeed(
    feedMembers(filter),
    (changes) => applyChanges(filter, changes),
    () => void queries.invalidateQueries({ queryKey: taskList(filter).queryKey }),
  );
  const tasks = list.data?.pages.flatMap(({ items }) => items);
  const isFiltered = Object.keys(filter).some((name) => name !== 'all');
  return (
    <>
      <Heading title="Tasks">
        <div className="flex flex-wrap items-center gap-4">
          <AllOwners
            what="Tasks"
            areAll={filter.all === true}
            onChange={(areAll) => {
              const { all: _, ...own } = filter;
              void navigate({ search: areAll ? { ...own, all: true } : own });
            }}
          />
          <Link to="/try" className="button button-main">
            New task
          </Link>
        </div>
      </Heading>
      <Filters filter={filter} isCounted={tasks !== undefined} onChange={(search) => void navigate({ search })} />
      {stopped && tasks && (
        <p role="status" className="mb-3 text-warn">
          Changes do not come any more. <Text>{stopped.message}</Text>
        </p>
      )}
      <BulkBar
        filter={filter}
        chosen={chosen}
        isEmpty={!tasks || tasks.length === 0}
        onDone={() => setChosen(new Set())}
      />
      {!tasks ? (
        <Absent query={list} what="tasks" needs={isOfOthers(filter) ? 'tasks:admin' : 'tasks:read'} />
      ) : tasks.length === 0 ? (
        isFiltered ? (
          <Empty title="No task matches">
            <p>Tasks are there, or were, and none of them fits the filter.</p>
            <button
              type="button"
              className="button"
              onClick={() => void navigate({ search: filter.all ? { all: true } : {} })}
            >
              Clear the filter
            </button>
          </Empty>
        ) : (
          <Empty title="Nothing ever ran">
            <p>A task that is created appears here, and its progress as it comes.</p>
            <Link to="/try" className="button button-main">
              Create the first task
            </Link>
          </Empty>
        )
      ) : (
        <>
          <TaskTable tasks={tasks} showsOwners={isOfOthers(filter)} chosen={chosen} onChoose={setChosen} />
          {list.hasNextPage && (
            <div className="mt-4 text-center">
              <button
                type="button"
                className="button"
                disabled={list.isFetchingNextPage}
                onClick={() => void list.fetchNextPage()}
              >
                {list.isFetchingNextPage ? 'Loading…' : 'Older tasks'}
              </button>
            </div>
          )}
        </>
      )}
    </>
  );
}
