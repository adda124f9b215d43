import type { Goal } from './goal.js';
import { APPEND } from './goals/append.goals.js';
import { CREATE } from './goals/create.goals.js';
import { FAN_OUT } from './goals/fan-out.goals.js';
import { QUEUE } from './goals/queue.goals.js';
import { SCALE } from './goals/scale.goals.js';
import { STEPS } from './goals/steps.goals.js';
import { TOKENS } from './goals/tokens.goals.js';
import { WORK } from './goals/work.goals.js';

export const GOALS: readonly Goal[] = [
  ...FAN_OUT,
  ...APPEND,
  ...CREATE,
  ...SCALE,
  ...QUEUE,
  ...TOKENS,
  ...WORK,
  ...STEPS,
];
