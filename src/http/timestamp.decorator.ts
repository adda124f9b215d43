import { ValidateBy } from 'class-validator';
import { patternOf } from '#protocol/ids.js';
import { sentTimestamp } from '#protocol/json-schema.js';

const TIMESTAMP = patternOf(sentTimestamp());

/** A moment that PostgreSQL accepts, too: it refuses 30 February, which `Date` reads as 2 March. */
export const Timestamp = () =>
  ValidateBy({
    name: 'timestamp',
    validator: { validate: isTimestamp, defaultMessage: () => '$property must be a timestamp of RFC 3339' },
  });

function isTimestamp(value: unknown): boolean {
  const [, year, month, day] = (typeof value === 'string' && TIMESTAMP.exec(value)) || [];
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  return Number(day) >= 1 && Number(day) <= lastDay;
}
