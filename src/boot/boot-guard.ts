import { connectionOptions } from '../database/connection.js';
import { connectWithin, NotConnected } from '../database/connect-within.js';
import { DatabaseUnavailable, translated } from '../database/database.errors.js';
import { judgeRole } from '../database/role-check.js';
import { checkSchema } from '../database/schema-version.js';

/** The service must not listen. One line a rule, each beginning with the setting to look at, none with a secret. */
export class BootRefused extends Error {
  override readonly name = 'BootRefused';

  constructor(
    readonly lines: readonly string[],
    options?: ErrorOptions,
  ) {
    super(lines.join('\n'), options);
  }
}

export interface BootWait {
  /** How long PostgreSQL may take to answer. */
  readonly bootWaitSeconds: number;
  /** Told once, when PostgreSQL is not there at the first try. */
  readonly onWait?: (reason: string) => void;
}

/** Returns when this database may be served, by this role, with this build. The embedded one is judged no more mildly. */
export async function checkBoot(databaseUrl: string, { bootWaitSeconds, onWait }: BootWait): Promise<void> {
  try {
    const client = await connectWithin(bootWaitSeconds, connectionOptions(databaseUrl), onWait);
    try {
      const violations = [...(await judgeRole(client)), ...(await checkSchema(client))];
      if (violations.length > 0) throw new BootRefused(violations.map(({ message }) => message));
    } finally {
      await client.end();
    }
  } catch (error) {
    if (error instanceof NotConnected) throw new BootRefused([`DATABASE_URL: ${error.message}`], { cause: error });
    if (translated(error) instanceof DatabaseUnavailable) {
      throw new BootRefused(['DATABASE_URL: PostgreSQL went away while it was examined'], { cause: error });
    }
    throw error;
  }
}
