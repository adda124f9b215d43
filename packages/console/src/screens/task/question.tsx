import type { AskedQuestion, Task } from '@taskbridge/client';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { type Entry, SchemaForm, valueOf } from '../../parts/schema-form.js';
import { Refused } from '../../parts/states.js';
import { Json, Text } from '../../parts/text.js';
import { duration, useNow } from '../../parts/time.js';
import { useMay } from '../../service/me.js';
import { queries } from '../../service/queries.js';

interface Given {
  readonly task: Pick<Task, 'answer'>;
  readonly question: AskedQuestion;
}

/** The open question, with a form for the chosen answer. */
export function Question({ task, question }: Given) {
  const { suspendId, reasonCode, allowedActions, actionSchemas = {}, interaction, expiresAt } = question;
  const { write, operate } = useMay();
  const [action, setAction] = useState(allowedActions[0] ?? '');
  const [entry, setEntry] = useState<Entry>({});
  const schema = (actionSchemas as Readonly<Record<string, object>>)[action];
  const answer = useMutation({
    mutationFn: () => task.answer(action, valueOf(schema, entry) as object, { suspendId }),
    onSuccess: () => queries.invalidateQueries(),
  });
  const { question: words, ...more } = (interaction ?? {}) as Readonly<Record<string, unknown>>;
  return (
    <div className="panel border-warn p-4">
      <div className="flex flex-wrap items-baseline justify-between gap-2">
        <h2 className="font-semibold">
          <Text short={300}>{typeof words === 'string' ? words : reasonCode}</Text>
        </h2>
        {expiresAt && <Countdown to={expiresAt} />}
      </div>
      <p className="text-xs text-soft">
        <Text>{reasonCode}</Text>
      </p>
      {Object.keys(more).length > 0 && (
        <div className="mt-2">
          <Json label="What it shows" value={more} />
        </div>
      )}
      {(write || operate) && (
        <form
          className="mt-3 space-y-3"
          onSubmit={(event) => {
            event.preventDefault();
            answer.mutate();
          }}
        >
          <fieldset className="flex flex-wrap gap-2">
            <legend className="sr-only">Answer</legend>
            {allowedActions.map((one) => (
              <label
                key={one}
                className="button max-w-full whitespace-normal has-checked:border-accent has-checked:text-accent has-focus-visible:outline-2 has-focus-visible:outline-accent"
              >
                <input
                  type="radio"
                  name={`action ${suspendId}`}
                  className="accent-accent"
                  checked={one === action}
                  onChange={() => {
                    setAction(one);
                    setEntry({});
                  }}
                />
                <Text short={60}>{one}</Text>
              </label>
            ))}
          </fieldset>
          {schema ? (
            <SchemaForm key={action} label="Payload" schema={schema} entry={entry} onChange={setEntry} />
          ) : (
            <details>
              <summary className="w-fit cursor-pointer text-soft hover:text-ink">Say more</summary>
              <SchemaForm label="Payload" schema={schema} entry={entry} onChange={setEntry} />
            </details>
          )}
          <Refused error={answer.error} />
          {answer.data && answer.data !== 'accepted' && (
            <p role="status" className="text-warn">
              {answer.data === 'expired' ? 'The question has expired.' : 'Somebody else has answered it.'}
            </p>
          )}
          <button
            type="submit"
            className="button button-main max-w-full text-left whitespace-normal"
            disabled={answer.isPending}
          >
            Answer with <Text short={40}>{action}</Text>
          </button>
        </form>
      )}
    </div>
  );
}

function Countdown({ to }: { readonly to: string }) {
  const ms = Date.parse(to) - useNow();
  return (
    <span className={`tabular-nums ${ms < 60_000 ? 'text-bad' : 'text-soft'}`} title={`${to} UTC`}>
      {ms > 0 ? `${duration(ms)} left` : `overdue by ${duration(-ms)}`}
    </span>
  );
}
