import { Text } from './text.js';

/** Requests that need no principal and name none. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

export function Owner({ id }: { readonly id: string }) {
  return id === NOBODY ? 'no login' : <Text short={60}>{id}</Text>;
}
