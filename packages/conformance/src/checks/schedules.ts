import { SCHEMAS } from '../../../protocol/src/snapshots.js';
import type { Schedule } from '../../../protocol/src/schedules.js';
import type { Answer, ApiClient } from '../api-client.js';
import type { Check } from '../clause.js';
import { demandAnswer, demandMembers, demandRefusal, demandSame } from '../demands.js';
import { demandFeature } from '../demand-feature.js';
import type { Scene } from '../scene.js';

const put = (by: ApiClient, name: string, body: object): Promise<Answer<Schedule>> =>
  by.request('PUT', `/api/v1/schedules/${name}`, {
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });

const get = (by: ApiClient, name: string): Promise<Answer<Schedule>> => by.request('GET', `/api/v1/schedules/${name}`);

/** It is due next year at the earliest, and the scene deletes it. */
async function scheduled(scene: Scene, use: (name: string, times: object) => Promise<void>): Promise<void> {
  await demandFeature(scene, 'schedules');
  const name = scene.newId();
  const taskType = (await scene.waiting()).taskType;
  try {
    await use(name, { cron: '0 0 29 2 *', timeZone: 'Europe/Berlin', taskType });
  } finally {
    await scene.a.request('DELETE', `/api/v1/schedules/${name}`);
  }
}

export const kept: Check = (scene) =>
  scheduled(scene, async (name, times) => {
    const made = await put(scene.a, name, { ...times, input: { n: 1 } });
    demandAnswer(made, 201);
    demandMembers('a schedule', made.body, SCHEMAS.Schedule);
    demandSame('its members', [made.body.name, made.body.input, made.body.overlap], [name, { n: 1 }, 'skip']);
    demandAnswer(await put(scene.a, name, { ...times, overlap: 'queue' }), 200);
    const read = await get(scene.a, name);
    demandAnswer(read, 200);
    demandSame('what replaced it', [read.body.input, read.body.overlap], [{}, 'queue']);
    demandAnswer(await scene.a.request('DELETE', `/api/v1/schedules/${name}`), 204);
    demandRefusal(await get(scene.a, name), 'NOT_FOUND');
  });

export const paused: Check = (scene) =>
  scheduled(scene, async (name, times) => {
    const made = await put(scene.a, name, { ...times, paused: true });
    demandAnswer(made, 201);
    demandSame('a paused one', [made.body.paused, made.body.nextAt], [true, null]);
    const resumed = await put(scene.a, name, times);
    demandAnswer(resumed, 200);
    demandSame('a resumed one', [resumed.body.paused, typeof resumed.body.nextAt], [false, 'string']);
  });

export const refused: Check = (scene) =>
  scheduled(scene, async (name, times) => {
    for (const wrong of [
      { cron: '* * * * * *' },
      { cron: '0 0 30 2 *' },
      { timeZone: 'Mars/Olympus' },
      { catchUp: -1 },
    ])
      demandRefusal(
        await put(scene.a, name, { ...times, ...wrong }),
        'REQUEST_VALIDATION_ERROR',
        JSON.stringify(wrong),
      );
  });

export const reservedIds: Check = async (scene) => {
  await demandFeature(scene, 'schedules');
  const clientRequestId = `schedule:${scene.newId()}`;
  demandRefusal(await scene.create({ clientRequestId, taskType: scene.anyType }), 'REQUEST_VALIDATION_ERROR');
};
