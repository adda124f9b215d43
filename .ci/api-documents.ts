// Writes /openapi.json and /asyncapi.json of a service with default settings into the folder that is named. No database, no build.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import 'reflect-metadata';
import { AuthContextResolver } from '../src/auth/auth-context-resolver.js';
import { waysToCall } from '../src/auth/security-schemes.js';
import { createApplication } from '../src/boot/application.js';
import { readConfig } from '../src/boot/config.js';
import { openApi } from '../src/boot/open-api.js';
import { Database } from '../src/database/database.js';
import { createPool } from '../src/database/pool.js';
import { asyncApi } from '../src/delivery/asyncapi/document.js';
import { createLogger } from '../src/observability/log.js';

const [folder = '.'] = process.argv.slice(2);
const databaseUrl = 'postgresql://nobody@localhost:1/none';
const config = readConfig({ DATABASE_URL: databaseUrl, DATA_DIR: folder, LOG_LEVEL: 'silent' });
const parts = {
  config,
  database: new Database(createPool(databaseUrl, { max: 1 })),
  logger: createLogger(config.observability),
  host: { modules: [], hosted: new Set<never>() },
};
const app = await createApplication(parts);
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, 'openapi.json'), JSON.stringify(openApi(app, config.auth), null, 2));
writeFileSync(join(folder, 'asyncapi.json'), JSON.stringify(asyncApi(waysToCall(app.get(AuthContextResolver), config.auth)), null, 2));
await app.close();
