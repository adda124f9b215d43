import { useMutation, useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { typeOf } from '../../addresses.js';
import type { TaskAccepted } from '../../../../protocol/src/snapshots.js';
import { type Entry, SchemaForm, valueOf } from '../../parts/schema-form.js';
import { Heading } from '../../parts/heading.js';
import { Refused } from '../../parts/states.js';
import { Block } from '../../parts/text.js';
import { send } from '../../service/ask.js';
import { useMay } from '../../service/me.js';
import { typeList } from '../../service/types.js';
import { SNIPPETS } from '../task/snippet-texts.js';

/** Types of the service that everybody may try, with an input that shows something. */
const DEMOS: Readonly<Record<string, object>> = {
  'demo.greet': { name: 'Ada', steps: 20 },
  'demo.steps': { steps: 20, stepMs: 500 },
  'demo.stream': { chunks: 200, intervalMs: 50 },
  'demo.approval': { question: 'Shall it be done?' },
  'demo.file': {},
  'demo.fail': { message: 'This task fails on purpose.' },
};

interface Sent {
  readonly clientRequestId: string;
  readonly taskType: string;
  readonly input: object;
}

/** Creates a task, from the schema of its type or as JSON, and shows what was sent. */
export function TryScreen() {
  const { type: taskType = 'demo.greet' } = typeOf(useSearch({ from: '/try' }));
  const navigate = useNavigate({ from: '/try' });
  const { write, readAll } = useMay();
  const types = useQuery({ ...typeList, enabled: readAll }).data?.items ?? [];
  const schema = types.find((one) => one.taskType === taskType)?.policy.inputSchema;
  const names = [...new Set([...types.map((one) => one.taskType), ...Object.keys(DEMOS)])];
  return (
    <>
      <Heading title="Try it" />
      <div className="grid max-w-5xl gap-4">
        <label className="block max-w-md">
          <span className="text-xs text-soft">Task type</span>
          <input
            className="field"
            list="types"
            value={taskType}
            spellCheck={false}
            onChange={({ target }) => void navigate({ search: { type: target.value }, replace: true })}
          />
          <datalist id="types">
            {names.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </label>
        {write ? (
          <Form key={`${taskType} ${schema !== undefined}`} taskType={taskType} schema={schema} />
        ) : (
          <p className="text-soft">To create tasks you need the scope tasks:write.</p>
        )}
      </div>
    </>
  );
}

function Form({ taskType, schema }: { readonly taskType: string; readonly schema: object | undefined }) {
  const [usesJson, setUsesJson] = useState(schema === undefined);
  const form = usesJson ? undefined : schema;
  const [entry, setEntry] = useState<Entry>(
    schema === undefined ? { json: JSON.stringify(DEMOS[taskType] ?? {}, null, 2) } : {},
  );
  const [requestId, setRequestId] = useState('');
  const create = useMutation({
    mutationFn: async () => {
      const input = valueOf(form, entry) as object;
      const sent: Sent = { clientRequestId: requestId.trim() || crypto.randomUUID(), taskType, input };
      return { sent, answer: await send<TaskAccepted>('POST', '/tasks', sent) };
    },
  });
  return (
    <>
      <form
        className="panel space-y-4 p-4"
        onSubmit={(event) => {
          event.preventDefault();
          create.mutate();
        }}
      >
        {schema !== undefined && (
          <label className="flex items-center gap-2">
            <input
              type="checkbox"
              className="size-4 accent-accent"
              checked={usesJson}
              onChange={({ target }) => setUsesJson(target.checked)}
            />
            Write the input as JSON
          </label>
        )}
        <SchemaForm label="Input" schema={form} entry={entry} onChange={setEntry} />
        <label className="block max-w-md">
          <span className="text-xs text-soft">Request id: the same id again makes no second task</span>
          <input
            className="field"
            placeholder="a new one each time"
            value={requestId}
            onChange={({ target }) => setRequestId(target.value)}
          />
        </label>
        <Refused error={create.error} />
        <button type="submit" className="button button-main" disabled={create.isPending}>
          Create the task
        </button>
      </form>
      {create.data && <Outcome sent={create.data.sent} answer={create.data.answer} />}
    </>
  );
}

function Outcome({ sent, answer }: { readonly sent: Sent; readonly answer: TaskAccepted }) {
  return (
    <section aria-label="What was sent" className="panel space-y-3 p-4">
      <p role="status">
        {answer.deduplicated ? 'It was there before.' : 'Created.'}{' '}
        <Link to="/tasks/$taskId" params={{ taskId: answer.taskId }} className="link">
          Follow the task
        </Link>
      </p>
      <Block label="What was sent">{SNIPPETS.curl(location.origin, sent)}</Block>
    </section>
  );
}
