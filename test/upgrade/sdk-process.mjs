// A worker of the SDK whose module the argument names, as a process of its own: appends, asks and obeys as the input says, and completes.
import { setTimeout as delay } from 'node:timers/promises';

const { module, url, token, taskTypes } = JSON.parse(process.argv[2] ?? '{}');
const { TaskFailure, Worker } = await import(module);

async function handle(input, { attempt, attachments, output, progress, message, suspend, signal }) {
  await progress(10, { stage: 'begun' });
  for (const piece of input.pieces ?? []) await output(piece);
  await message(`attempt ${attempt}`, 'debug');
  const asked = input.ask
    ? await suspend({ key: 'go-on', reasonCode: 'ASKED', allowedActions: ['yes', 'no'] })
    : undefined;
  if (input.wait) await delay(600_000, undefined, { signal });
  if (input.fail === attempt) throw new TaskFailure('BUSY', 'Again, please.', { retryable: true, retryAfterMs: 0 });
  let bytes = 0;
  for (const file of attachments) for await (const chunk of await file.open()) bytes += chunk.length;
  return { attempt, bytes, ...(asked && { answer: asked.actionType, said: asked.payload }) };
}

const handlers = Object.fromEntries(taskTypes.map((taskType) => [taskType, handle]));
new Worker({ url, token, handlers }).start();
