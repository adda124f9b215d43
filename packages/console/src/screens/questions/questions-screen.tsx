import { useInfiniteQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { Owner } from '../../parts/owner.js';
import { AllOwners } from '../../parts/all-owners.js';
import { Heading } from '../../parts/heading.js';
import { Absent, Empty } from '../../parts/states.js';
import { Text } from '../../parts/text.js';
import { Ago } from '../../parts/time.js';
import { client } from '../../service/client.js';
import { useFeed } from '../../service/feed.js';
import { queries } from '../../service/queries.js';
import { type AskedOfAll, questionList } from '../../service/questions.js';
import { Question } from '../task/question.js';

/** Everything that is asked now, oldest first. */
export function QuestionsScreen() {
  const [areAll, setAll] = useState(false);
  const scope = areAll ? { all: true as const } : {};
  const list = useInfiniteQuery(questionList(scope));
  const read = () => void queries.invalidateQueries({ queryKey: questionList(scope).queryKey });
  useFeed({ suspended: true, ...scope }, read, read);
  const questions = list.data?.pages.flatMap(({ items }) => items);
  return (
    <>
      <Heading title="Questions">
        <AllOwners what="Questions" areAll={areAll} onChange={setAll} />
      </Heading>
      {!questions ? (
        <Absent query={list} what="questions" needs={areAll ? 'tasks:admin' : 'tasks:read'} />
      ) : questions.length === 0 ? (
        <Empty title="No task asks anything">
          <p>A question appears here while it is open.</p>
        </Empty>
      ) : (
        <ul className="space-y-4">
          {questions.map((one) => (
            <li key={`${one.taskId} ${one.question.suspendId}`}>
              <Asked asked={one} showsOwner={areAll} />
            </li>
          ))}
        </ul>
      )}
      {list.hasNextPage && (
        <div className="mt-4 text-center">
          <button type="button" className="button" onClick={() => void list.fetchNextPage()}>
            Newer questions
          </button>
        </div>
      )}
    </>
  );
}

function Asked({ asked, showsOwner }: { readonly asked: AskedOfAll; readonly showsOwner: boolean }) {
  const { taskId, taskType, ownerId, question, askedAt } = asked;
  return (
    <article aria-label={`Question of ${taskType} ${taskId}`}>
      <p className="mb-1 text-xs text-soft">
        <Link to="/tasks/$taskId" params={{ taskId }} className="link">
          <Text short={80}>{taskType}</Text>
        </Link>
        {showsOwner && (
          <>
            {' '}
            of <Owner id={ownerId} />
          </>
        )}
        , asked <Ago at={askedAt} />
      </p>
      <Question task={client.task(taskId)} question={question} />
    </article>
  );
}
