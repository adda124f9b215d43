import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { Buttons, Dialog } from '../../parts/dialog.js';
import { Refused } from '../../parts/states.js';
import { send } from '../../service/ask.js';
import { useMay } from '../../service/me.js';
import { queries } from '../../service/queries.js';

export function DeleteSchedule({ name }: { readonly name: string }) {
  const { write } = useMay();
  const [isOpen, setOpen] = useState(false);
  const remove = useMutation({
    mutationFn: () => send('DELETE', `/schedules/${encodeURIComponent(name)}`),
    onSuccess: async () => {
      setOpen(false);
      await queries.invalidateQueries({ queryKey: ['schedules'] });
    },
  });
  if (!write) return null;
  return (
    <>
      <button type="button" className="button" onClick={() => setOpen(true)}>
        Delete…
      </button>
      {isOpen && (
        <Dialog title={`Delete ${name}`} onClose={() => setOpen(false)}>
          <p>It makes no task any more. Its tasks stay.</p>
          <Refused error={remove.error} />
          <Buttons>
            <button type="button" className="button" onClick={() => setOpen(false)}>
              Leave it
            </button>
            <button
              type="button"
              className="button button-bad"
              disabled={remove.isPending}
              onClick={() => remove.mutate()}
            >
              Delete the schedule
            </button>
          </Buttons>
        </Dialog>
      )}
    </>
  );
}
