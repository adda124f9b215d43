import { CLOSE_CODES } from '../../../protocol/src/close-codes.js';
import { MULTIPLEX } from '../../../protocol/src/frames.js';
import type { Check } from '../clause.js';
import { demand, demandSame } from '../demands.js';

const SLACK_MS = 5_000;

export const maximalAge: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const begun = performance.now();
  const withinMs = scene.streamMaxSeconds * 1000 + SLACK_MS;
  const plain = await scene.socket();
  plain.subscribe(taskId);
  const many = await scene.socket({ protocols: [MULTIPLEX] });
  many.subscribe(taskId);
  const closed = await Promise.all([plain, many].map((socket) => socket.close(withinMs)));
  demandSame(
    'the close codes of one that follows one task, and of one with the multiplex',
    closed.map(({ code }) => code),
    [CLOSE_CODES.maxAgeOfOne.code, CLOSE_CODES.maxAge.code],
  );
  const tookMs = performance.now() - begun;
  demand(tookMs > scene.streamMaxSeconds * 900 - 100, `they were closed after ${Math.round(tookMs)} ms`);
};

export const maximalAgeOfSse: Check = async (scene) => {
  const { taskId } = await scene.waiting();
  const stream = scene.follow('sse', taskId);
  const { how, saysOver } = await stream.ended(scene.streamMaxSeconds * 1000 + SLACK_MS);
  demandSame('how it ended, and whether it said that the task is over', [how, saysOver], ['ended', false]);
};
