import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { OutputFold } from '../../packages/protocol/src/output-fold.js';
import { textsOf } from '../support/texts.js';

const OUTPUT = fc.record({
  type: fc.constant('TASK_OUTPUT'),
  payload: fc.record({
    channel: fc.constantFrom('text', 'log'),
    op: fc.constantFrom('append', 'append', 'append', 'replace'),
    data: fc.string({ minLength: 1, maxLength: 3 }),
  }),
});
/** An event that voids this many events before it. */
const VOID = fc.record({ type: fc.constant('TASK_RETRYING'), back: fc.nat(15) });

describe('A fold that joins old pieces of text', () => {
  it('shows the same text, or says that it does not know it', () => {
    let known = 0;
    let unknown = 0;
    fc.assert(
      fc.property(
        fc.array(fc.oneof(OUTPUT, OUTPUT, OUTPUT, VOID), { minLength: 20, maxLength: 60 }),
        fc.nat(2),
        (story, kept) => {
          const fold = new OutputFold();
          const log: { type: string; payload: Record<string, unknown> }[] = [];
          story.forEach((said, index) => {
            const payload =
              'payload' in said ? said.payload : { supersedesAfterEventId: String(Math.max(0, index - said.back)) };
            log.push({ type: said.type, payload });
            fold.add(index + 1, said.type, payload);
            if (index % 3 === 0) fold.join(kept + 1);
            if (!fold.isExact) return;
            const texts = Object.entries(textsOf(log)).filter(([, text]) => text !== '');
            const shown = Object.entries(fold.texts()).filter(([, text]) => text !== '');
            expect(shown.sort()).toEqual(texts.sort());
          });
          if (fold.isExact) known += 1;
          else unknown += 1;
        },
      ),
      { numRuns: 500 },
    );
    expect([known > 50, unknown > 50]).toEqual([true, true]);
  });
});
