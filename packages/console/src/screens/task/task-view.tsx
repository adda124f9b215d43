import type { Task, TaskState } from '@taskbridge/client';
import { Link } from '@tanstack/react-router';
import { type ReactNode, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import type { TaskSnapshot } from '../../../../protocol/src/snapshots.js';
import { Owner } from '../../parts/owner.js';
import { useTitle } from '../../parts/heading.js';
import { isOver, Progress, Status, WhyItWaits } from '../../parts/status.js';
import { Json, Text, visible } from '../../parts/text.js';
import { duration, Time, useNow } from '../../parts/time.js';
import { Actions } from './actions.js';
import { EventList } from './event-list.js';
import { EventLog } from './event-log.js';
import { Files } from './files.js';
import { Output } from './output.js';
import { Question } from './question.js';
import { Snippets } from './snippets.js';
import { StoryFold } from './story.js';
import { Timeline } from './timeline.js';
import { Wire } from './wire.js';

interface Given {
  readonly task: Task;
  readonly state: TaskState;
  readonly snapshot: TaskSnapshot;
}

export function TaskView({ task, state, snapshot }: Given) {
  const log = useEventLog(snapshot);
  const [fold] = useState(() => new StoryFold());
  const story = useMemo(() => fold.of(log.events), [fold, log.events]);
  const { openSuspension: question } = snapshot;
  return (
    <div className="space-y-4">
      <Header snapshot={snapshot} state={state} />
      <Actions snapshot={snapshot} />
      {question && !isOver(snapshot) && (
        <section aria-label="Question">
          <Question key={question.suspendId} task={task} question={question} />
        </section>
      )}
      <Timeline bands={story.bands} snapshot={snapshot} isWhole={!log.hasOlder} />
      <Output text={state.output} channels={story.channels} isWhole={!log.hasOlder} />
      {snapshot.failure && (
        <Section title="Failure">
          <p className="text-bad">
            <strong>
              <Text>{snapshot.failure.code}</Text>
            </strong>{' '}
            <Text>{snapshot.failure.message}</Text>
          </p>
        </Section>
      )}
      {snapshot.status === 'COMPLETED' && (
        <Section title="Result">
          <Json label="Result" value={snapshot.result} />
        </Section>
      )}
      <Section title="Events">
        <EventList log={log} />
      </Section>
      <div className="grid gap-4 lg:grid-cols-2">
        <Section title="Input">
          <Json label="Input" value={snapshot.input} />
        </Section>
        {Object.keys(snapshot.metadata).length > 0 && (
          <Section title="Metadata">
            <Json label="Metadata" value={snapshot.metadata} />
          </Section>
        )}
        {snapshot.attachments.length > 0 && (
          <Section title="Files">
            <Files taskId={snapshot.taskId} files={snapshot.attachments} />
          </Section>
        )}
      </div>
      <Wire taskId={snapshot.taskId} />
      <Snippets snapshot={snapshot} />
    </div>
  );
}

/** One log for the task, followed while the screen is there. */
function useEventLog({ taskId, headEventId }: TaskSnapshot): EventLog {
  const first = useRef(headEventId);
  const log = useMemo(() => new EventLog(taskId, first.current), [taskId]);
  useEffect(() => {
    const leaving = new AbortController();
    void log.follow(leaving.signal);
    return () => leaving.abort();
  }, [log]);
  useSyncExternalStore(log.subscribe, () => log.version);
  return log;
}

function Header({ snapshot, state }: Pick<Given, 'snapshot' | 'state'>) {
  const {
    taskId,
    taskType,
    clientRequestId,
    createdAt,
    attempt,
    attemptsLeft,
    rerunOf,
    reruns = [],
    waitingFor,
  } = snapshot;
  useTitle(visible(taskType));
  const progress = state.progress ?? snapshot.progress;
  const isRunning = !isOver(snapshot);
  return (
    <header className="space-y-2">
      <p className="text-xs text-soft">
        <Link to="/tasks" className="link">
          Tasks
        </Link>{' '}
        / <span className="font-mono [overflow-wrap:anywhere]">{taskId}</span>
      </p>
      <div className="flex flex-wrap items-center gap-x-4 gap-y-1">
        <h1 className="text-xl font-semibold tracking-tight">
          <Text>{taskType}</Text>
        </h1>
        <Status task={snapshot} />
        {isRunning && progress !== undefined && <Progress percent={progress} label="Progress" />}
        {isRunning && state.message !== undefined && (
          <span className="text-soft">
            <Text short={200}>{state.message}</Text>
          </span>
        )}
      </div>
      {waitingFor && isRunning && (
        <p className="text-warn">
          <WhyItWaits reason={waitingFor} />
        </p>
      )}
      {snapshot.aside && (
        <p className="text-bad">
          It was set aside with <Text>{snapshot.aside.code}</Text>: its stored state does not allow it to go on.
        </p>
      )}
      {snapshot.cancellationRequested && isRunning && <p className="text-warn">It was asked to end.</p>}
      <dl className="flex flex-wrap gap-x-6 gap-y-1 text-soft">
        {snapshot.ownerId !== undefined && (
          <Fact name="Owner">
            <Owner id={snapshot.ownerId} />
          </Fact>
        )}
        <Fact name="Request">
          <Text>{clientRequestId}</Text>
        </Fact>
        <Fact name="Created">
          <Time at={createdAt} />
        </Fact>
        {snapshot.startedAt && (
          <Fact name={isRunning ? 'Runs for' : 'Ran for'}>
            <Span from={snapshot.startedAt} to={snapshot.finishedAt} />
          </Fact>
        )}
        <Fact name="Attempt">
          {attempt}
          {isRunning && `, ${attemptsLeft} left`}
        </Fact>
        {rerunOf && (
          <Fact name="Runs again">
            <TaskLink taskId={rerunOf} />
          </Fact>
        )}
        {reruns.map((one) => (
          <Fact key={one} name="Run again by">
            <TaskLink taskId={one} />
          </Fact>
        ))}
      </dl>
    </header>
  );
}

function Span({ from, to }: { readonly from: string; readonly to: string | undefined }) {
  const now = useNow();
  return <span className="tabular-nums">{duration((to === undefined ? now : Date.parse(to)) - Date.parse(from))}</span>;
}

function TaskLink({ taskId }: { readonly taskId: string }) {
  return (
    <Link to="/tasks/$taskId" params={{ taskId }} className="link font-mono text-xs">
      {taskId.slice(0, 13)}…
    </Link>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ReactNode }) {
  return (
    <div className="flex gap-1.5">
      <dt>{name}</dt>
      <dd className="min-w-0 text-ink">{children}</dd>
    </div>
  );
}

function Section({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <section aria-label={title} className="panel min-w-0 p-4">
      <h2 className="mb-2 font-semibold">{title}</h2>
      {children}
    </section>
  );
}
