import type { ListedTask } from '../service/tasks.js';
import { Text } from './text.js';

const LOOKS: Readonly<Record<string, { readonly text: string; readonly dot: string; readonly ink: string }>> = {
  ACCEPTED: { text: 'waiting', dot: 'bg-soft', ink: 'text-soft' },
  RUNNING: { text: 'running', dot: 'bg-accent', ink: 'text-accent' },
  ASKING: { text: 'asking', dot: 'bg-warn', ink: 'text-warn' },
  ASIDE: { text: 'set aside', dot: 'bg-bad', ink: 'text-bad' },
  COMPLETED: { text: 'completed', dot: 'bg-ok', ink: 'text-ok' },
  FAILED: { text: 'failed', dot: 'bg-bad', ink: 'text-bad' },
  CANCELLED: { text: 'cancelled', dot: 'border border-soft', ink: 'text-soft' },
};

type Standing = Pick<ListedTask, 'status' | 'openSuspension' | 'aside'>;

export function Status({ task }: { readonly task: Standing }) {
  const name = task.aside ? 'ASIDE' : task.openSuspension ? 'ASKING' : task.status;
  const { text, dot, ink } = LOOKS[name] ?? { text: name, dot: 'bg-soft', ink: 'text-soft' };
  return (
    <span className={`inline-flex items-center gap-1.5 font-medium whitespace-nowrap ${ink}`}>
      <span aria-hidden className={`size-2 rounded-full ${dot}`} />
      {text}
    </span>
  );
}

export const isOver = ({ status }: Pick<ListedTask, 'status'>) => /COMPLETED|FAILED|CANCELLED/.test(status);

export function Progress({ percent, label }: { readonly percent: number; readonly label: string }) {
  return (
    <span className="inline-flex items-center gap-2">
      <progress
        aria-label={label}
        max={100}
        value={percent}
        className="h-1.5 w-20 appearance-none overflow-hidden rounded-full bg-line [&::-moz-progress-bar]:bg-accent [&::-webkit-progress-bar]:bg-line [&::-webkit-progress-value]:bg-accent"
      />
      <span className="w-9 text-right text-xs text-soft tabular-nums">{Math.floor(percent)} %</span>
    </span>
  );
}

const WAITS: Readonly<Record<string, string>> = {
  answer: 'It asked a question, and waits for the answer.',
  capacity: 'All replicas and workers that take it are busy.',
  concurrency: 'As many tasks run as the policy of its type allows.',
  engine: 'The engine that runs it has not begun.',
  operator: 'It was set aside, and waits for an operator.',
  paused: 'An operator paused its type.',
  rate: 'The policy of its type bounds how fast attempts begin.',
  retry: 'An attempt failed. The next one begins after a pause.',
  start_time: 'It was created to begin later.',
  worker: 'No worker has asked for its type.',
};

/** Why it waits, in a sentence. */
export function WhyItWaits({ reason }: { readonly reason: string }) {
  const known = WAITS[reason];
  return known ? <>{known}</> : <Text>{`It waits for ${reason}.`}</Text>;
}
