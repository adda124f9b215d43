import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { judge } from '../faults/verdict.js';
import type { Service } from '../support/service.js';
import { TcpBalancer } from '../support/tcp-balancer.js';
import { migrateTo } from '../support/builds.js';
import { Load } from './load.js';
import { BUILD_MS, release } from './release-0.1.0.js';
import { Stage } from './stage.js';

const full = process.env['FULL'] === '1';
/** Between two creates, and readers that have to see an end in each phase. */
const [EVERY_MS, READERS] = [40, full ? 400 : 24];

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
}, BUILD_MS);

afterAll(() => stage?.stop());

describe('a rollout under load', () => {
  it('migrates, replaces the replicas, rolls them back and goes on, and loses nothing', async () => {
    const balancer = await TcpBalancer.start();
    const live = new Set<Service>();
    const start = async (side: 'old' | 'new') => {
      const replica = await stage.replica(side, { STREAMS_PER_PRINCIPAL: '0' });
      live.add(replica);
      balancer.add(replica.url);
      return replica;
    };
    const drain = async (replica: Service) => {
      balancer.remove(replica.url);
      live.delete(replica);
      expect(await replica.stop()).toEqual({ code: 0, signal: null });
    };
    const first = await start('old');
    const load = new Load(balancer.url, EVERY_MS);
    const phase = async (name: string, work?: () => Promise<unknown>) => {
      load.phase = name;
      await work?.();
      await load.through(READERS);
    };
    await phase('0.1.0 alone');
    await phase('0.1.0 during the migration', () => stage.migrate('new'));
    let second = first;
    await phase('side by side', async () => (second = await start('new')));
    await phase('this build alone', () => drain(first));
    let third = first;
    await phase('side by side, on the way back', async () => (third = await start('old')));
    await phase('0.1.0 alone, rolled back', () => drain(second));
    await phase('side by side again', () => start('new'));
    await phase('this build alone again', () => drain(third));
    const followed = await load.settle();
    const { report, violations } = await judge(stage.superuserUrl, load.taskIds, followed);
    console.log(`${report}\ncalls sent again, by phase: ${JSON.stringify(load.repeated)}`);
    expect(load.oddities).toEqual([]);
    expect(violations).toEqual([]);
    for (const replica of live) await replica.stop();
    await balancer.close();
  }, 600_000);
});

describe('a schema of this build', () => {
  it('is one that 0.1.0 migrates no further and starts on', async () => {
    await stage.migrate('new');
    const { dist } = await release();
    expect(await migrateTo(dist, stage.ownerUrl)).toMatch(/^the schema is newer than this build: .*\nnothing to do\n$/);
  });
});
