import type { Feature } from '../../protocol/src/features.js';
import { NotChecked } from './outcomes.js';
import type { Scene } from './scene.js';

/** @throws NotChecked where the service does not have it */
export async function demandFeature(scene: Scene, feature: Feature): Promise<void> {
  const answer = await scene.a.service();
  if (!answer.body.features?.includes(feature))
    throw new NotChecked(`the service does not have the feature \`${feature}\``);
}
