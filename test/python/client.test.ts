import { execFile } from 'node:child_process';

import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { pythonPackage, pythonsHere, pythonWithClient } from '../support/python.js';
import { WORKER_TOKEN } from '../support/worker-client.js';
import { chaosInPython } from '../client/chaos-python.js';
import { type Stage, startStage } from '../client/stage.js';

const RUNS = 20;
const run = promisify(execFile);

describe('The client for Python', () => {
  let stage: Stage;
  let python: string;

  beforeAll(async () => {
    [stage, python] = await Promise.all([
      startStage({ EXECUTOR: 'inline,worker', WORKER_TOKENS: WORKER_TOKEN }),
      pythonWithClient(),
    ]);
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

  it('does what its own tests want, on each version of Python that it is declared for and this machine has', async () => {
    const env = {
      PATH: process.env['PATH'],
      TASKBRIDGE_URL: `http://127.0.0.1:${stage.nginx.port}`,
      SERVICE_URL: stage.service.url,
      WORKER_TOKEN,
      AUTHORIZATION: stage.headersOf('bob').Authorization,
    };
    // The wheel, and not the sources.
    const pytest = ['-m', 'pytest', '--override-ini', 'pythonpath=', '-p', 'no:cacheprovider', '-q'];
    const here = Object.entries(await pythonsHere());
    expect(here.length).toBeGreaterThan(0);
    const said = await Promise.all(
      here.map(async ([version, base]) => {
        const { stdout } = await run(await pythonWithClient(undefined, base), [...pytest, 'tests', 'tests/service'], {
          env,
          cwd: pythonPackage,
        }).catch((error: { stdout: string }) => error);
        return { version, stdout };
      }),
    );
    for (const one of said) {
      expect({ ...one, stdout: one.stdout.trim().split('\n').at(-1) }).toEqual({
        version: one.version,
        stdout: expect.stringMatching(/^\d+ passed in /),
      });
    }
  }, 300_000);
});
