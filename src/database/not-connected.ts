/** No connection, and waiting would not help, or did not. The message is one line without a password. */
export class NotConnected extends Error {
  override readonly name = 'NotConnected';

  constructor(line: string, options?: ErrorOptions) {
    super(line.replaceAll(/\s+/g, ' '), options);
  }
}
