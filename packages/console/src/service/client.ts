import { createClient } from '@taskbridge/client';

/** Follows tasks over one connection, for all screens. The proxy in front knows who the reader is, so there is no token. */
export const client = createClient({ credentials: 'same-origin' });
