import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { pythonWithClient } from '../support/python.js';
import { chaosInPython } from './chaos-python.js';
import { type Stage, startStage } from './stage.js';

const RUNS = 20;

describe('The client for Python', () => {
  let stage: Stage;
  let python: string;

  beforeAll(async () => {
    [stage, python] = await Promise.all([startStage(), pythonWithClient()]);
  }, 300_000);

  afterAll(() => stage.end());

  it('sees each event once in a bad network, no void text, and ends with what is stored', async () => {
    const { port } = stage.nginx;
    const sizes = { port, headers: stage.headersOf('alice'), runs: RUNS, seed: Date.now() % 100_000, atATime: RUNS };
    const verdicts = await chaosInPython(python, sizes);
    expect(verdicts.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
    expect(verdicts).toHaveLength(RUNS);
    // The network was bad.
    expect(verdicts.filter(({ faults }) => /cut|swallow|50\d/.test(faults)).length).toBeGreaterThan(RUNS / 2);
  }, 200_000);
});
