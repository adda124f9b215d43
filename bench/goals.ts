import type { Goal } from './goal.js';
import { FAN_OUT } from './goals/fan-out.goals.js';

export const GOALS: readonly Goal[] = [...FAN_OUT];
