/** With it an event's envelope has about 325 bytes. */
export const TEXT = 'x'.repeat(150);
