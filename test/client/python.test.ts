import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { pythonPackage, pythonsHere, pythonWithClient } from '../support/python.js';
import { chaosInPython } from './chaos-python.js';
import { type Stage, startStage } from './stage.js';

const RUNS = 20;
const run = promisify(execFile);

describe('The client for Python', () => {
  let stage: Stage;
  let python: string;

  beforeAll(async () => {
    [stage, python] = await Promise.all([startStage(), pythonWithClient()]);
  }, 300_000);

  afterAll(() => stage.end());

  it('does what its own tests on a service want', async () => {
    const env = {
      PATH: process.env['PATH'],
      TASKBRIDGE_URL: `http://127.0.0.1:${stage.nginx.port}`,
      AUTHORIZATION: stage.headersOf('bob').Authorization,
    };
    // The wheel, and not the sources.
    const options = ['--override-ini', 'pythonpath=', '-p', 'no:cacheprovider', '-q'];
    const tests = join(pythonPackage, 'tests/service');
    const { stdout } = await run(python, ['-m', 'pytest', ...options, tests], { env }).catch(
      (error: { stdout: string }) => error,
    );
    expect(stdout).toMatch(/^\d+ passed in /m);
    expect(stdout).not.toMatch(/failed|error/);
  }, 120_000);

  it('sees each event once in a bad network, no void text, and ends with what is stored', async () => {
    const { port } = stage.nginx;
    const sizes = { port, headers: stage.headersOf('alice'), runs: RUNS, seed: Date.now() % 100_000, atATime: RUNS };
    const verdicts = await chaosInPython(python, sizes);
    expect(verdicts.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
    expect(verdicts).toHaveLength(RUNS);
    // The network was bad.
    expect(verdicts.filter(({ faults }) => /cut|swallow|50\d/.test(faults)).length).toBeGreaterThan(RUNS / 2);
  }, 200_000);

  it('runs on each version of Python that it is declared for and this machine has', async () => {
    const here = await pythonsHere();
    expect(Object.keys(here).length).toBeGreaterThan(0);
    for (const [version, base] of Object.entries(here)) {
      const other = await pythonWithClient(undefined, base);
      const { port } = stage.nginx;
      const sizes = { port, headers: stage.headersOf('alice'), runs: 4, seed: Date.now() % 100_000, atATime: 4 };
      const verdicts = await chaosInPython(other, sizes, (verdict) =>
        expect({ version, ...verdict }.wrong).toEqual([]),
      );
      expect({ version, runs: verdicts.length }).toEqual({ version, runs: 4 });
      const units = ['-m', 'pytest', '--override-ini', 'pythonpath=', '-p', 'no:cacheprovider', '-q'];
      await run(other, units, { cwd: pythonPackage });
    }
  }, 400_000);
});
