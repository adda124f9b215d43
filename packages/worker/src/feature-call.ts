import { Unavailable } from '../../handler/src/holder-errors.js';
import { type Service, ServiceRefused } from './service.js';

/** A replica of another release answers so to what the others know. It will be gone, or know it, in a while. */
const UNKNOWN_THERE: ReadonlySet<number> = new Set([400, 404, 422]);

/** The replica does not know a call that all should know. */
export class UnknownThere extends Unavailable {}

/**
 * Makes a call that not every release knows. Where a replica does not, that counts as "later", and what the service knows is asked anew.
 * @throws ServiceRefused, Unavailable
 */
export async function unlessUnknown<T>(service: Service, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof ServiceRefused) || !UNKNOWN_THERE.has(error.status)) throw error;
    service.forgetFeatures();
    throw new UnknownThere(error.message, 0, error);
  }
}
