import { readFileSync } from 'node:fs';

const description = readFileSync(new URL('../package.json', import.meta.url), 'utf8');

/** The version of this build: `0.2.0-dev`. */
export const VERSION = (JSON.parse(description) as { version: string }).version;
