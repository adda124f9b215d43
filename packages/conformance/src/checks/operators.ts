import { type Check } from '../clause.js';
import { NotChecked } from '../outcomes.js';
import { demand, shown } from '../demands.js';

/** The request shows no credentials. Where a proxy keeps the path from strangers, the clause is not checked. */
const open =
  (path: string, statuses: readonly number[], holds: (text: string) => boolean): Check =>
  async (scene) => {
    const answer = await scene.stranger.request('GET', path);
    if ([401, 403, 404].includes(answer.status)) {
      throw new NotChecked(`${path} is answered with ${answer.status}: it may be kept from strangers`);
    }
    demand(statuses.includes(answer.status), shown(answer));
    demand(holds(answer.text), shown(answer));
  };

export const health = open('/health', [200], () => true);
export const ready = open('/ready', [200, 503], (text) => typeof JSON.parse(text) === 'object');
export const metrics = open('/metrics', [200], (text) => /^# TYPE \S+ \S+$/m.test(text));
export const openApi = open('/openapi.json', [200], (text) => 'paths' in JSON.parse(text));
