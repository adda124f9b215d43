import { useMutation } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import type { TaskAccepted, TaskSnapshot } from '../../../../protocol/src/snapshots.js';
import { Buttons, Dialog } from '../../parts/dialog.js';
import { Refused } from '../../parts/states.js';
import { isOver } from '../../parts/status.js';
import { send } from '../../service/ask.js';
import { useMay } from '../../service/me.js';
import { queries } from '../../service/queries.js';
import { taskSnapshot } from '../../service/tasks.js';

interface Given {
  readonly snapshot: TaskSnapshot;
}

/** What one can do with the task. */
export function Actions({ snapshot }: Given) {
  const { write, operate } = useMay();
  const [open, setOpen] = useState<'cancel' | 'again'>();
  if (!write && !operate) return null;
  return (
    <div className="flex gap-2">
      {isOver(snapshot) ? (
        <button type="button" className="button" onClick={() => setOpen('again')}>
          Run again…
        </button>
      ) : (
        <button type="button" className="button" onClick={() => setOpen('cancel')}>
          Cancel…
        </button>
      )}
      {open === 'cancel' && <Cancel snapshot={snapshot} onClose={() => setOpen(undefined)} />}
      {open === 'again' && <RunAgain snapshot={snapshot} onClose={() => setOpen(undefined)} />}
    </div>
  );
}

function Cancel({ snapshot: { taskId }, onClose }: Given & { onClose(): void }) {
  const [reason, setReason] = useState('');
  const cancel = useMutation({
    mutationFn: () => send('POST', `/tasks/${taskId}/cancel`, reason.trim() ? { reason: reason.trim() } : {}),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: taskSnapshot(taskId).queryKey });
      onClose();
    },
  });
  return (
    <Dialog title="Cancel this task" onClose={onClose}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          cancel.mutate();
        }}
      >
        <label className="block">
          <span className="text-xs text-soft">Reason (optional)</span>
          <input className="field" maxLength={1024} value={reason} onChange={({ target }) => setReason(target.value)} />
        </label>
        <Refused error={cancel.error} />
        <Buttons>
          <button type="button" className="button" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" className="button button-bad" disabled={cancel.isPending}>
            Cancel the task
          </button>
        </Buttons>
      </form>
    </Dialog>
  );
}

function RunAgain({ snapshot: { taskId, input }, onClose }: Given & { onClose(): void }) {
  const navigate = useNavigate();
  const before = JSON.stringify(input, null, 2);
  const [text, setText] = useState(before);
  const [keepSteps, setKeepSteps] = useState(false);
  const [clientRequestId] = useState(() => `again-${crypto.randomUUID()}`);
  const again = useMutation({
    mutationFn: () =>
      send<TaskAccepted>('POST', `/tasks/${taskId}/retry`, {
        clientRequestId,
        keepSteps,
        ...(text !== before && { input: JSON.parse(text) as object }),
      }),
    onSuccess: async (made) => {
      onClose();
      await navigate({ to: '/tasks/$taskId', params: { taskId: made.taskId } });
    },
  });
  return (
    <Dialog title="Run this task again" onClose={onClose}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          again.mutate();
        }}
      >
        <label className="block">
          <span className="text-xs text-soft">Input, as JSON</span>
          <textarea
            className="field min-h-40 font-mono text-xs"
            spellCheck={false}
            value={text}
            onChange={({ target }) => setText(target.value)}
          />
        </label>
        <label className="flex items-center gap-2">
          <input
            type="checkbox"
            className="size-4 accent-accent"
            checked={keepSteps}
            onChange={({ target }) => setKeepSteps(target.checked)}
          />
          Keep the results of finished steps
        </label>
        <Refused error={again.error} />
        <Buttons>
          <button type="button" className="button" onClick={onClose}>
            Leave it
          </button>
          <button type="submit" className="button button-main" disabled={again.isPending}>
            Run again
          </button>
        </Buttons>
      </form>
    </Dialog>
  );
}
