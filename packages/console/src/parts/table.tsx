import type { ReactNode } from 'react';

/** Rows under headings. On a narrow screen it scrolls by itself, and never the page. */
export function Table({
  caption,
  heads,
  children,
}: {
  readonly caption: string;
  readonly heads: readonly string[];
  readonly children: ReactNode;
}) {
  return (
    <div className="panel overflow-x-auto" tabIndex={0} role="group" aria-label={caption}>
      <table className="w-full text-left [&_td]:px-3 [&_td]:py-2 [&_td]:align-top [&_th]:px-3 [&_th]:py-2">
        <caption className="sr-only">{caption}</caption>
        <thead className="border-b border-line bg-sunk text-xs text-soft">
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col" className="font-medium whitespace-nowrap">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody className="divide-y divide-line">{children}</tbody>
      </table>
    </div>
  );
}
