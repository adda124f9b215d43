import { describe, expect, it } from '@jest/globals';
import { DrainState } from '../../src/drain-state.js';

const STAGES = ['announced', 'streams end', 'work ends'] as const;

const reached = (drain: DrainState) => STAGES.filter((stage) => drain.has(stage));

describe('The state of the drain', () => {
  it('has reached no stage at first', () => {
    expect(reached(new DrainState())).toEqual([]);
  });

  it.each(STAGES.map((stage, i) => [stage, STAGES.slice(0, i + 1)] as const))(
    'has reached every earlier stage with "%s"',
    (stage, all) => {
      const drain = new DrainState();
      drain.reach(stage);
      expect(reached(drain)).toEqual(all);
    },
  );

  it('never goes back', () => {
    const drain = new DrainState();
    drain.reach('streams end');
    drain.reach('announced');
    expect(reached(drain)).toEqual(['announced', 'streams end']);
  });

  it('aborts what waits for work with the last stage, and not before', () => {
    const drain = new DrainState();
    drain.reach('streams end');
    expect(drain.workEnds.aborted).toBe(false);
    drain.reach('work ends');
    expect(drain.workEnds.aborted).toBe(true);
  });
});
