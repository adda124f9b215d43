/** Nothing more was migrated. The message is one line for the operator, without a URL or a secret. */
export class MigrationRefused extends Error {
  override readonly name = 'MigrationRefused';

  constructor(line: string, options?: ErrorOptions) {
    super(line.replaceAll(/\s+/g, ' '), options);
  }
}
