import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../test/support/locked-folder.js';

const FOLDER = fileURLToPath(new URL('peers/', import.meta.url));

/** Installs the packages of bench/peers where they are not installed, and says so. */
export function installPeers(): Promise<void> {
  return installLocked(FOLDER, () => console.error(`installing the peers: npm ci in ${FOLDER}`));
}

// The settings of the peers, as their vendors give them.

/** 0.18: the concurrency and the pool of the performance page, and otherwise the defaults. */
export const GRAPHILE = { concurrentJobs: 24, maxPoolSize: 25 } as const;
/** The batching of the performance page. */
export const GRAPHILE_BATCHING = {
  ...GRAPHILE,
  localQueue: { size: 500 },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
} as const;
export const PG_BOSS = { batchSize: 500, burstWhenBatchFull: true } as const;
export const BULLMQ = { concurrency: 50 } as const;
/** So that an acknowledged job outlives a crash, as in PostgreSQL. */
export const BULLMQ_REDIS = { appendonly: 'yes', appendfsync: 'always' } as const;

const { dependencies } = JSON.parse(readFileSync(`${FOLDER}package.json`, 'utf8')) as {
  readonly dependencies: Readonly<Record<string, string>>;
};

/** A peer with its version and its settings, as one line. */
export function settingsOf(name: string, ...settings: readonly object[]): string {
  const given = settings.map((some) => JSON.stringify(some).replaceAll('"', '').slice(1, -1));
  return `${name} ${dependencies[name]}: ${given.join(', ')}`;
}
