// `npm run check:api`: redocly and spectral find nothing wrong with what a service says of itself for programs. Needs no database and no
// build. With a folder as its argument it leaves both documents there.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuthContextResolver } from '../src/auth/auth-context-resolver.js';
import { waysToCall } from '../src/auth/security-schemes.js';
import { createApplication } from '../src/boot/application.js';
import { readConfig } from '../src/boot/config.js';
import { openApi } from '../src/boot/open-api.js';
import { Database } from '../src/database/database.js';
import { createPool } from '../src/database/pool.js';
import { asyncApi } from '../src/streaming/asyncapi/document.js';
import { createLogger } from '../src/observability/log.js';
import { apiTool } from './api-tools.js';

/** The paths of both documents of a service with default settings. */
async function writeDocuments(folder: string): Promise<string[]> {
  // The pool connects when it is asked, and nobody asks.
  const databaseUrl = 'postgresql://nobody@localhost/none';
  const config = readConfig({ DATABASE_URL: databaseUrl, DATA_DIR: folder, LOG_LEVEL: 'silent' });
  const app = await createApplication({
    config,
    database: new Database(createPool(databaseUrl, { max: 1 })),
    logger: createLogger(config.observability),
    host: { modules: [], hosted: new Set<never>() },
  });
  const documents = {
    'openapi.json': openApi(app, config.auth),
    'asyncapi.json': asyncApi(waysToCall(app.get(AuthContextResolver), config.auth)),
  };
  await app.close();
  return Promise.all(
    Object.entries(documents).map(async ([name, document]) => {
      const path = join(folder, name);
      await writeFile(path, JSON.stringify(document, null, 2));
      return path;
    }),
  );
}

const [given] = process.argv.slice(2);
const folder = given ?? (await mkdtemp(join(tmpdir(), 'taskbridge-api-')));
try {
  await mkdir(folder, { recursive: true });
  const documents = await writeDocuments(folder);
  await apiTool('redocly', ['lint', '--config', 'redocly.yaml', ...documents]);
  await apiTool('spectral', ['lint', '--ruleset', 'spectral.yaml', '--fail-severity', 'warn', ...documents]);
} catch (error) {
  const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
  console.error(`${stdout}${stderr}` || message);
  process.exitCode = 1;
} finally {
  if (given === undefined) await rm(folder, { recursive: true });
}
