// Task types of our own, which run in the service.
import { text } from 'node:stream/consumers';
import { type JsonObject, TASK_HANDLERS, type TaskContext, TaskFailure, type TaskHandlers } from 'taskbridge';
import { Asked } from './asked.js';

/** Counts the words of the files that came with the task, once its owner agrees. */
async function countWords(_input: JsonObject, { attachments, output, progress, suspend }: TaskContext) {
  if (attachments.length === 0) throw new TaskFailure('NO_FILES', 'There is nothing to count.');
  const answer = await suspend({ reasonCode: 'COUNT_THEM', allowedActions: ['yes', 'no'] });
  if (answer.actionType !== 'yes') return { words: null };
  let words = 0;
  for (const [n, file] of attachments.entries()) {
    words += (await text(await file.open())).split(/\s+/).length;
    await output(`${file.filename}\n`);
    await progress((100 * (n + 1)) / attachments.length);
  }
  return { words };
}

export const handlers = {
  provide: TASK_HANDLERS,
  useFactory: (asked: Asked): TaskHandlers => ({
    'acme.count': (input, context) => {
      asked.note('TASK_HANDLERS.acme.count');
      return countWords(input, context);
    },
  }),
  inject: [Asked],
};
