import type { Task, TaskState } from '@taskbridge/client';
import { useAnswer, useConnection, useStart, useTask } from './tasks.js';

type Result = { readonly imported: number };

/** The key is in the address, so that a reload finds its import. */
const key = location.hash.slice(1) || crypto.getRandomValues(new Uint32Array(2)).join('-');
location.hash = key;

export function Import() {
  const { task, start } = useStart('names.import', { key });
  const { status } = useConnection();
  return (
    <>
      <h1>Import names</h1>
      {task ? <Progress task={task} /> : <Choose onFile={(file) => start({}, { files: [file] })} />}
      {status === 'waiting' && <p role="status">There is no connection. It comes back by itself.</p>}
    </>
  );
}

function Choose({ onFile }: { readonly onFile: (file: File) => void }) {
  return (
    <label>
      A file with a name on each line
      <input
        type="file"
        onChange={({ target }) => {
          const file = target.files?.[0];
          if (file) onFile(file);
        }}
      />
    </label>
  );
}

function Progress({ task }: { readonly task: Task<Result> }) {
  const state = useTask(task);
  return (
    <section>
      <progress max={100} value={state.progress ?? 0} />
      <p role="status">{describe(state)}</p>
      {state.status === 'asking' && <Confirm task={task} count={Number(state.question.interaction?.['count'])} />}
    </section>
  );
}

function Confirm({ task, count }: { readonly task: Task<Result>; readonly count: number }) {
  const { answer, isSending, outcome, error } = useAnswer(task);
  return (
    <fieldset disabled={isSending}>
      <legend>Import {count} names?</legend>
      <button onClick={() => void answer('import')}>Import</button>
      <button onClick={() => void answer('discard')}>Discard</button>
      {outcome === 'answered-by-another' && <p>It was answered elsewhere.</p>}
      {error instanceof Error && <p>{error.message}</p>}
    </fieldset>
  );
}

function describe(state: TaskState<Result>): string {
  if (state.status === 'completed') return `${state.result.imported} names are imported.`;
  if (state.status === 'failed') return `It failed: ${state.failure.message}`;
  if (state.status === 'unreachable') return `It was refused: ${state.error.message}`;
  return state.message ?? state.status;
}
