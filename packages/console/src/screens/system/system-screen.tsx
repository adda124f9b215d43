import { Link, useSearch } from '@tanstack/react-router';
import { Heading } from '../../parts/heading.js';
import { type SystemView, viewOf } from '../../addresses.js';
import { LogView } from './log-view.js';
import { Overview } from './overview.js';
import { SettingsView } from './settings-view.js';
import { StreamsView } from './streams-view.js';
import { WorkersView } from './workers-view.js';

const VIEWS = {
  overview: { name: 'Overview', View: Overview },
  workers: { name: 'Workers', View: WorkersView },
  streams: { name: 'Streams', View: StreamsView },
  settings: { name: 'Settings', View: SettingsView },
  log: { name: 'Log', View: LogView },
} as const satisfies Readonly<Record<SystemView, object>>;

/** The service itself. Each view is a part of its own in the address. */
export function SystemScreen() {
  const { view = 'overview' } = viewOf(useSearch({ from: '/system' }));
  const { View } = VIEWS[view];
  return (
    <>
      <Heading title="System">
        <nav aria-label="Views of the system" className="flex flex-wrap gap-1">
          {Object.entries(VIEWS).map(([one, { name }]) => (
            <Link
              key={one}
              to="/system"
              search={{ view: one as SystemView }}
              className={`rounded-full border px-3 py-1 ${one === view ? 'border-accent text-accent' : 'border-line text-soft hover:text-ink'}`}
              aria-current={one === view ? 'page' : undefined}
            >
              {name}
            </Link>
          ))}
        </nav>
      </Heading>
      <View />
    </>
  );
}
