/** How this replica reaches PostgreSQL. */
export abstract class DatabaseConfig {
  /** The app role's connection URL; absent: the embedded PostgreSQL under `dataDirectory`. From DATABASE_URL. */
  abstract readonly url?: string;
  /** Where the embedded PostgreSQL and filesystem attachments live. From DATA_DIR. Defaults to `.taskbridge`. */
  abstract readonly dataDirectory: string;
  /** Connections per replica, whatever the number of streams. From DATABASE_POOL_MAX. Defaults to 10. */
  abstract readonly poolMax: number;
  /** How long PostgreSQL may take to answer at boot. From BOOT_WAIT_SECONDS. Defaults to 30. */
  abstract readonly bootWaitSeconds: number;
}
