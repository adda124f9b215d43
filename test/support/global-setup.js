// Before the first test: the build that tests start as a service, and one PostgreSQL with the migrated template.
import './typescript-hooks.js';
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const changedAt = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;

export default async function globalSetup() {
  buildIfStale();
  const [{ startSharedCluster }, { migrate }] = await Promise.all([
    import('./postgres.ts'),
    import('../../src/database/migrate.ts'),
  ]);
  await startSharedCluster(migrate);
}

/**
 * Tests that start `dist/main.js` must neither pass nor fail because of what was there yesterday. Where src does not build
 * there is no main.js: those tests fail, and all others can still be run by whoever is in the middle of a change.
 */
function buildIfStale() {
  const sources = readdirSync(join(root, 'src'), { recursive: true }).map((file) => `src/${file}`);
  const newest = Math.max(...[...sources, 'tsconfig.json', 'nest-cli.json'].map(changedAt));
  if (changedAt('dist/main.js') > newest) return;
  const build = spawnSync(process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', 'build'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (build.status === 0) return;
  rmSync(join(root, 'dist/main.js'), { force: true });
  console.error(`src does not build:\n${build.stdout}${build.stderr}`);
}
