import { connectionOptions } from '../database/session-settings.js';
import { examineWithin, NotConnected } from '../database/connect-within.js';
import { sqlStateOf } from '../database/database.errors.js';
import { reasonOf } from '../database/connect-refusal.js';
import { judgeRole } from '../database/roles/role-check.js';
import { checkSchema, unfinishedOnline } from '../database/migrations/schema-version.js';

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
  /** Called once, when PostgreSQL does not answer the first try. */
  readonly onWait?: (reason: string) => void;
  /** Called when migrations of the online kind are not finished, with their numbers. The service serves meanwhile. */
  readonly onUnfinished?: (versions: readonly number[]) => void;
}

/**
 * Returns when this build may serve this database with this role. The rules for the embedded one are the same. It waits out
 * interruptions, such as a restart or a slow statement, like an absent PostgreSQL.
 */
export async function checkBoot(
  databaseUrl: string,
  { bootWaitSeconds, onWait, onUnfinished }: BootWait,
): Promise<void> {
  try {
    const { violations, unfinished } = await examineWithin(
      bootWaitSeconds,
      connectionOptions(databaseUrl),
      async (client) => ({
        violations: [...(await judgeRole(client)), ...(await checkSchema(client))],
        unfinished: await unfinishedOnline(client),
      }),
      onWait,
    );
    if (violations.length > 0) throw new BootRefused(violations.map(({ message }) => message));
    if (unfinished.length > 0) onUnfinished?.(unfinished);
  } catch (error) {
    if (error instanceof NotConnected) throw new BootRefused([`DATABASE_URL: ${error.message}`], { cause: error });
    if (sqlStateOf(error) === undefined) throw error;
    throw new BootRefused([`DATABASE_URL: PostgreSQL cannot be examined: ${reasonOf(error)}`], { cause: error });
  }
}
