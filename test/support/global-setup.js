// Before the first test: the builds that tests start as a service and as workers, and one PostgreSQL with the migrated template.
import './typescript-hooks.js';
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const changedAt = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;

export default async function globalSetup() {
  buildPackageIfStale('protocol', 'events.js');
  buildPackageIfStale('handler', 'attempt.js', ['packages/protocol/src']);
  buildIfStale(['src'], ['tsconfig.json', 'tsconfig.build.json', 'nest-cli.json'], 'dist/main.js', [
    'node_modules/@nestjs/cli/bin/nest.js',
    'build',
  ]);
  buildPackageIfStale('worker', 'worker/src/worker-api.js', ['packages/protocol/src', 'packages/handler/src']);
  buildPackageIfStale('conformance', 'conformance/src/cli.js', ['packages/protocol/src']);
  buildPackageIfStale('client', 'client/src/client-api.js', ['packages/protocol/src']);
  const [{ startSharedCluster }, { migrate }] = await Promise.all([
    import('./postgres.ts'),
    import('../../src/database/migrations/apply-migrations.ts'),
  ]);
  await startSharedCluster(migrate);
}

/** `output`: one of its files. `carried`: sources of other packages that its build contains. */
function buildPackageIfStale(name, output, carried = []) {
  const folder = `packages/${name}`;
  const sources = [`${folder}/src`, ...carried];
  const command = ['node_modules/typescript/bin/tsc', '-p', folder];
  buildIfStale(sources, [`${folder}/tsconfig.json`], `${folder}/dist/${output}`, command);
}

/**
 * An old build must not decide whether tests pass. When the sources do not build, there is no build: tests that start it fail,
 * and all others still run.
 */
function buildIfStale(folders, settings, output, command) {
  const sources = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((file) => `${folder}/${file}`),
  );
  const newest = Math.max(...[...sources, ...settings].map(changedAt));
  if (changedAt(output) > newest) return;
  const build = spawnSync(process.execPath, command, { cwd: root, encoding: 'utf8' });
  if (build.status === 0) return;
  rmSync(join(root, output), { force: true });
  console.error(`${folders[0]} does not build:\n${build.stdout}${build.stderr}`);
}
