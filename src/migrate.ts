import { parseArgs } from 'node:util';
import { ConfigError, readMigrationConfig } from './boot/config.js';
import { migrate } from './database/migrations/apply-migrations.js';
import { MigrationRefused } from './database/migrations/migration-refused.js';

// Each refusal is one line that an operator can act on, without a stack.
try {
  const { ownerUrl, waitSeconds } = readMigrationConfig();
  const online = !isOfflineOnly(process.argv.slice(2));
  const { applied } = await migrate(ownerUrl, { waitSeconds, online, log: (line) => console.log(line) });
  if (applied.length === 0) console.log('nothing to do');
} catch (error) {
  if (!(error instanceof ConfigError || error instanceof MigrationRefused)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

function isOfflineOnly(args: string[]): boolean {
  try {
    return parseArgs({ args, options: { 'skip-online': { type: 'boolean' } } }).values['skip-online'] === true;
  } catch {
    throw new MigrationRefused(`the only option is --skip-online, not ${args.join(' ')}`);
  }
}
