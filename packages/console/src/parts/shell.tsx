import { Link, Outlet } from '@tanstack/react-router';
import { useIsAway } from '../service/use-is-away.js';
import { Who } from './who.js';

const SCREENS = [
  ['/tasks', 'Tasks'],
  ['/questions', 'Questions'],
  ['/stuck', 'Stuck'],
  ['/types', 'Task types'],
  ['/schedules', 'Schedules'],
  ['/system', 'System'],
  ['/try', 'Try it'],
] as const;

/** What all screens have around them. */
export function Shell() {
  return (
    <div className="min-h-screen md:grid md:grid-cols-[13rem_1fr]">
      <a
        href="#content"
        className="button sr-only focus:not-sr-only focus:absolute focus:top-2 focus:left-2 focus:z-10 focus:inline-flex"
      >
        Skip to content
      </a>
      <header className="border-b border-line bg-panel md:sticky md:top-0 md:h-screen md:border-r md:border-b-0">
        <div className="flex h-full flex-col">
          <div className="flex items-center gap-2.5 px-4 pt-3 pb-2 md:pt-5 md:pb-4">
            <img src={`${import.meta.env.BASE_URL}mark.svg`} alt="" className="size-6" />
            <span className="text-base font-semibold tracking-tight">TaskBridge</span>
            <div className="ml-auto text-right text-xs text-soft md:hidden">
              <Who />
            </div>
          </div>
          <nav aria-label="Screens" className="flex gap-1 overflow-x-auto px-2 pb-2 md:flex-col md:px-3">
            {SCREENS.map(([to, name]) => (
              <Link
                key={to}
                to={to}
                className="rounded-md px-3 py-1.5 whitespace-nowrap text-soft hover:bg-sunk hover:text-ink aria-[current=page]:bg-sunk aria-[current=page]:font-medium aria-[current=page]:text-ink"
              >
                {name}
              </Link>
            ))}
          </nav>
          <div className="mt-auto hidden space-y-1 border-t border-line px-4 py-3 text-xs text-soft md:block">
            <Who />
          </div>
        </div>
      </header>
      <main id="content" tabIndex={-1} className="min-w-0 px-4 py-5 outline-none md:px-8 md:py-6">
        <Outlet />
        <ConnectionNotice />
      </main>
    </div>
  );
}

/** Says that what is shown stands still, while the connection is away. */
function ConnectionNotice() {
  const isAway = useIsAway();
  return (
    <div role="status" className="pointer-events-none fixed inset-x-0 bottom-4 flex justify-center">
      {isAway && (
        <p className="panel border-warn px-4 py-2 text-warn shadow-lg">
          The service is away. This page comes back by itself.
        </p>
      )}
    </div>
  );
}
