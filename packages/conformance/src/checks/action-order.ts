import type { Check } from '../clause.js';
import { demandSame, refusal } from '../demands.js';
import { question } from '../driven-task.js';
import type { Action } from '../wire.js';

export const orderOfJudgements: Check = async (scene) => {
  const task = await scene.begin();
  await task.suspend(question('q'));
  const judged = async (action: Partial<Action>) => {
    const sent = { clientActionId: scene.newId(), suspendId: 'q', actionType: 'yes', ...action };
    const { status, body } = await scene.a.act(task.taskId, sent);
    return [status, (body as { code?: string }).code ?? body.status];
  };
  await judged({ clientActionId: 'winner' });
  const whileItRuns = {
    'a repeat of the accepted one': await judged({ clientActionId: 'winner' }),
    'other content, under an id that was accepted, for a question that was never asked': await judged({
      clientActionId: 'winner',
      suspendId: 'never',
    }),
    'an action that is not allowed, for a question that is answered': await judged({ actionType: 'perhaps' }),
    'an action that is not allowed, for a question that was never asked': await judged({
      suspendId: 'never',
      actionType: 'perhaps',
    }),
  };
  demandSame('while the task runs', whileItRuns, {
    'a repeat of the accepted one': [200, 'DEDUPLICATED'],
    'other content, under an id that was accepted, for a question that was never asked':
      refusal('IDEMPOTENCY_CONFLICT'),
    'an action that is not allowed, for a question that is answered': [200, 'REJECTED_ALREADY_RESOLVED'],
    'an action that is not allowed, for a question that was never asked': refusal('NOT_FOUND'),
  });
  await task.resume();
  await task.complete();
  const whenItIsOver = {
    'a repeat of the accepted one': await judged({ clientActionId: 'winner' }),
    'a question that was never asked': await judged({ suspendId: 'never' }),
    'a question that is answered': await judged({}),
    'an action that is not allowed': await judged({ actionType: 'perhaps' }),
  };
  demandSame('when the task is over', whenItIsOver, {
    'a repeat of the accepted one': [200, 'DEDUPLICATED'],
    'a question that was never asked': refusal('NOT_FOUND'),
    'a question that is answered': [200, 'REJECTED_ALREADY_RESOLVED'],
    'an action that is not allowed': [200, 'REJECTED_ALREADY_RESOLVED'],
  });
  const cancelled = await scene.begin();
  await cancelled.suspend(question('q'));
  await scene.a.cancel(cancelled.taskId);
  const { status, body } = await scene.a.act(cancelled.taskId, {
    clientActionId: scene.newId(),
    suspendId: 'q',
    actionType: 'perhaps',
  });
  demandSame(
    'an action that is not allowed, for a question that the end of the task closed',
    [status, (body as { code?: string }).code],
    refusal('TASK_ALREADY_TERMINAL'),
  );
};
