import { creating } from '../creating.js';
import type { Goal, Side } from '../goal.js';
import type { Stage } from '../stage.js';

async function rawCreates(stage: Stage): Promise<Side> {
  const database = await stage.database();
  const child = stage.child('yardsticks/raw-create.ts');
  const url = await child.call<string>('start', database.appUrl);
  return creating(stage, { url, database, cpuSeconds: () => child.cpuSeconds() });
}

export const CREATE: readonly Goal[] = [
  {
    name: 'G10',
    title: 'create a task, 64 clients',
    against: 'raw http and pg, the same row',
    unit: 'creates/s',
    judged: 'ratio',
    gate: { atLeast: 0.5 },
    stretch: { atLeast: 0.75 },
    ours: async (stage) => creating(stage, await stage.service()),
    yardstick: rawCreates,
  },
];
