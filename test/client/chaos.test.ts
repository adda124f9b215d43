import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startChromium } from '../support/chromium.js';
import { chaosInNode } from './chaos.js';
import { chaosInChromium } from './chaos-pages.js';
import { type Stage, startStage } from './stage.js';

const RUNS = 50;
const PAGES = 5;

describe('In a bad network', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await startStage();
  }, 300_000);

  afterAll(() => stage.end());

  it('a client in Node sees each event once, no void text, and ends with what is stored', async () => {
    const { port } = stage.nginx;
    const sizes = { port, headers: stage.headersOf('alice'), runs: RUNS, seed: Date.now() % 100_000, atATime: 25 };
    const verdicts = await chaosInNode(sizes);
    expect(verdicts.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
    expect(verdicts).toHaveLength(RUNS);
    // The network was bad.
    const happened = new Set(verdicts.flatMap(({ faults }) => faults.split(' ')));
    expect([...happened].sort()).toEqual(['502', '503', 'cut', 'delay', 'pass', 'swallow', 'throttle']);
  }, 400_000);

  it('a page in Chromium does, and leaves no socket, request or timer open', async () => {
    const { port } = stage.nginx;
    const sizes = { port, headers: stage.headersOf('alice'), runs: PAGES, seed: Date.now() % 100_000, atATime: PAGES };
    const verdicts = await chaosInChromium(await startChromium(), sizes);
    expect(verdicts.filter(({ wrong }) => wrong.length > 0)).toEqual([]);
    expect(verdicts).toHaveLength(PAGES);
  }, 400_000);
});
