import { type Feature, FEATURE_NAMES } from '#protocol/features.js';
import type { Seen, SeenReplica } from './replica-rows.js';

/** Sessions of 0.1.0 have this name. Later builds add theirs: `taskbridge/0.2.0`. */
const SESSION_OF_0_1_0 = 'taskbridge';

export interface CommonFeatures {
  readonly features: readonly Feature[];
  /** The live builds that lack a feature of this one, by version. */
  readonly lacking: readonly string[];
}

/** What this replica and all others that live know. A build that is seen by a session only, and by no row, knows nothing. */
export function commonFeatures(me: SeenReplica, { replicas, sessions }: Seen): CommonFeatures {
  const builds = new Set([me.build, ...replicas.map(({ build }) => build)]);
  const silent = sessions
    .map((name) => (name === SESSION_OF_0_1_0 ? '0.1.0' : buildOf(name)))
    .filter((build) => !builds.has(build))
    .map((build) => ({ build, features: [] as readonly string[] }));
  const others = [...replicas, ...silent];
  const mine = FEATURE_NAMES.filter((name) => me.features.includes(name));
  const lacking = others.filter(({ features }) => mine.some((name) => !features.includes(name)));
  return {
    features: mine.filter((name) => others.every(({ features }) => features.includes(name))),
    lacking: [...new Set(lacking.map(({ build }) => build))].sort(),
  };
}

/** Operators may add a name of their own behind it: `taskbridge/0.2.0 billing`. */
function buildOf(session: string): string {
  return session.replace(/^taskbridge\//, '').split(' ', 1)[0] ?? '';
}
