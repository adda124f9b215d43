import { ValidateBy } from 'class-validator';

/** RFC 3339, with seconds and an offset; without the leap second, and without offsets that no place on earth has. */
const TIMESTAMP =
  /^(?!0000)(\d{4})-(0[1-9]|1[0-2])-(\d{2})T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-](0\d|1[0-5]):[0-5]\d)$/;

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
