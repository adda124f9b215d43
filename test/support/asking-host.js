// A host module whose handlers ask. They output their knowledge at every step, so that a log shows what each invocation got.
// Nothing is imported: what is under test is what any deployment could mount.

const text = (answer) => (answer ? `${answer.suspendId}=${answer.actionType}` : 'none');

const handlers = {
  /** Two questions, the first by its key and the second by its place; fails after both while `failures` last. */
  'ask.twice': async ({ failures = 0 }, { attempt, message, resume, suspend }) => {
    await message(`begin, attempt ${attempt}, resume ${text(resume)}`);
    const colour = await suspend({ key: 'colour', reasonCode: 'COLOUR', allowedActions: ['red', 'blue'] });
    await message(`told ${text(colour)}`);
    const size = await suspend({ reasonCode: 'SIZE', allowedActions: ['small', 'large'] });
    await message(`told ${text(size)}`);
    if (attempt <= failures) throw new Error('fails on purpose');
    return { colour, size };
  },

  /** Asks two things at once: only one of them can be open. */
  'ask.together': async (_, { suspend }) => {
    const ask = (key) => suspend({ key, reasonCode: key, allowedActions: ['ok'] });
    const answers = await Promise.all([ask('A'), ask('B')]);
    return answers.map(({ suspendId }) => suspendId);
  },

  /** Catches the end of its invocation. */
  'ask.stubborn': async (_, { suspend }) => {
    const answer = await suspend({ reasonCode: 'HM', allowedActions: ['ok'] }).catch(() => undefined);
    return { answered: answer !== undefined };
  },

  /** Sends without an await: events before the question come before it in the log. */
  'ask.loud': async (_, { output, suspend }) => {
    for (let n = 0; n < 20; n += 1) void output(`${n},`);
    const { payload } = await suspend({ reasonCode: 'HM', allowedActions: ['ok'] });
    return payload;
  },

  /** A question that no event can hold. */
  'ask.too_much': async (_, { suspend }) => {
    const interaction = { text: 'x'.repeat(70_000) };
    return suspend({ reasonCode: 'HM', allowedActions: ['ok'], interaction }).catch((error) => {
      return { refused: error.code ?? error.name };
    });
  },
};

class AskingHost {}

export default {
  module: AskingHost,
  providers: [{ provide: Symbol.for('taskbridge:TASK_HANDLERS'), useValue: handlers }],
};
