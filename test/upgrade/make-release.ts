import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { migrateTo, run } from '../support/builds.js';
import { connected } from '../support/fold.js';
import { startTestCluster } from '../support/postgres.js';
import { startService, temporaryDirectory } from '../support/service.js';
import { WITH_WORKERS } from '../support/worker-client.js';
import { cleanUp } from '../support/without-jest.js';
import { dumpOf } from './dump.js';
import { HOST_MODULE, Installation } from './installation.js';
import { FIXTURE, release } from './release-0.1.0.js';

// `npm run make:release-0.1.0`: runs 0.1.0 from git, makes tasks in every state, kills it, and writes what is left to the fixture.

async function make(): Promise<void> {
  const { dist, folder } = await release();
  const cluster = await startTestCluster();
  try {
    await cluster.createDatabase('installation');
    const ownerUrl = cluster.ownerUrl('installation');
    await migrateTo(dist, ownerUrl);
    const directory = await temporaryDirectory();
    const service = await startService(
      { ...WITH_WORKERS, DATABASE_URL: cluster.appUrl('installation'), DATA_DIR: directory, HOST_MODULE },
      { build: folder, lifetime: 'file' },
    );
    const told = await new Installation(service.url).fill();
    service.kill('SIGKILL');
    await service.exited;
    await clear();
    await writeFile(join(FIXTURE, 'told.json'), `${JSON.stringify(told, undefined, 1)}\n`);
    const schema = await schemaOf(folder);
    const rows = await connected(ownerUrl, dumpOf);
    await writeFile(join(FIXTURE, 'installation.sql'), `${schema}\n${rows}`);
    await cp(join(directory, 'attachments'), join(FIXTURE, 'attachments'), { recursive: true });
    await run(join(folder, 'packages/worker'), 'npm', 'pack', '--pack-destination', FIXTURE);
  } finally {
    await cluster.stop();
  }
}

/** The README stays. */
async function clear(): Promise<void> {
  await mkdir(FIXTURE, { recursive: true });
  for (const name of await readdir(FIXTURE))
    if (name !== 'README.md') await rm(join(FIXTURE, name), { recursive: true });
}

/** What `npm run migrate` of 0.1.0 runs on an empty database. */
async function schemaOf(folder: string): Promise<string> {
  const migrations = (await readdir(join(folder, 'migrations'))).sort();
  const files = migrations.map((name) => readFile(join(folder, 'migrations', name), 'utf8'));
  return [GROUND, ...(await Promise.all(files))].join('\n');
}

const GROUND = `-- An installation of release 0.1.0. Made by \`npm run make:release-0.1.0\`: see README.md.
-- Run it as the owner of an empty database, in one transaction. It has no commands of psql.
-- First the schema: the roles and the ground of migration-groundwork.ts, and then the migrations as they were.
DO $$ BEGIN CREATE ROLE taskbridge_app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE taskbridge_retention LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database()); END $$;
CREATE SCHEMA taskbridge;
REVOKE ALL ON SCHEMA taskbridge FROM PUBLIC;
CREATE TABLE taskbridge.schema_migrations (
  version      integer        PRIMARY KEY,
  name         text           NOT NULL,
  checksum     text           NOT NULL,
  oldest_build integer        NOT NULL,
  applied_at   timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON taskbridge.schema_migrations TO taskbridge_app;
`;

try {
  await make();
} catch (error) {
  console.error(error instanceof Error ? error.stack : error);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
