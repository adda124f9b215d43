import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Absent } from '../../parts/states.js';
import { Table } from '../../parts/table.js';
import { Text } from '../../parts/text.js';
import { settings } from '../../service/system.js';

/** The settings of the replica that answers. A secret is never sent. */
export function SettingsView() {
  const query = useQuery(settings);
  const [isGivenOnly, setGivenOnly] = useState(false);
  if (!query.data) return <Absent query={query} what="settings" needs="tasks:admin" />;
  const shown = query.data.items.filter(({ origin }) => !isGivenOnly || origin !== 'default');
  return (
    <>
      <label className="mb-3 inline-flex items-center gap-2">
        <input
          type="checkbox"
          className="size-4 accent-accent"
          checked={isGivenOnly}
          onChange={({ target }) => setGivenOnly(target.checked)}
        />
        Only those that somebody has set
      </label>
      <Table caption="Settings" heads={['Setting', 'Value', 'From', 'Meaning']}>
        {shown.map(({ name, value, origin, isSet, isHidden, meaning }) => (
          <tr key={name}>
            <td className="font-mono text-xs">{name}</td>
            <td className="max-w-60">
              {isHidden && isSet ? (
                <span className="text-soft">hidden</span>
              ) : (
                <code className="text-xs">
                  <Text short={120}>{value ?? ''}</Text>
                </code>
              )}
            </td>
            <td className={origin === 'default' ? 'text-soft' : 'font-medium'}>{origin}</td>
            <td className="min-w-60 text-soft">
              <Text>{meaning}</Text>
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}
