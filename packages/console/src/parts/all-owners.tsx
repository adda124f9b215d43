import { useMay } from '../service/me.js';

interface Given {
  /** What is listed, such as `Tasks`. */
  readonly what: string;
  readonly areAll: boolean;
  onChange(areAll: boolean): void;
}

/** For operators, who see more than what is their own. */
export function AllOwners({ what, areAll, onChange }: Given) {
  const { readAll } = useMay();
  if (!readAll && !areAll) return null;
  return (
    <label className="inline-flex items-center gap-2">
      <input
        type="checkbox"
        className="size-4 accent-accent"
        checked={areAll}
        onChange={({ target }) => onChange(target.checked)}
      />
      {what} of all owners
    </label>
  );
}
