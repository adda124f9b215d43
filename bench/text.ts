/** An event with this text has an envelope of about 325 bytes. */
export const TEXT = 'x'.repeat(150);
