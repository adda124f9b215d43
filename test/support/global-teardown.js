import './typescript-hooks.js';

export default async function globalTeardown() {
  const { stopSharedCluster } = await import('./postgres.ts');
  await stopSharedCluster();
}
