import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from '@tanstack/react-router';
import { filterOf, typeOf, viewOf } from './addresses.js';
import { Empty } from './parts/states.js';
import { Shell } from './parts/shell.js';
import { TasksScreen } from './screens/tasks/tasks-screen.js';

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => <Empty title="There is no such page" />,
});

const home = createRoute({
  getParentRoute: () => root,
  path: '/',
  beforeLoad: () => redirect({ to: '/tasks', replace: true, throw: true }),
});

const tasksRoute = createRoute({
  getParentRoute: () => root,
  path: '/tasks',
  validateSearch: filterOf,
  component: TasksScreen,
});

const taskRoute = createRoute({
  getParentRoute: () => root,
  path: '/tasks/$taskId',
  component: lazyRouteComponent(() => import('./screens/task/task-screen.js'), 'TaskScreen'),
});

const questions = createRoute({
  getParentRoute: () => root,
  path: '/questions',
  component: lazyRouteComponent(() => import('./screens/questions/questions-screen.js'), 'QuestionsScreen'),
});

const tryRoute = createRoute({
  getParentRoute: () => root,
  path: '/try',
  validateSearch: typeOf,
  component: lazyRouteComponent(() => import('./screens/try/try-screen.js'), 'TryScreen'),
});

const schedules = createRoute({
  getParentRoute: () => root,
  path: '/schedules',
  component: lazyRouteComponent(() => import('./screens/schedules/schedules-screen.js'), 'SchedulesScreen'),
});

const types = createRoute({
  getParentRoute: () => root,
  path: '/types',
  component: lazyRouteComponent(() => import('./screens/types/types-screen.js'), 'TypesScreen'),
});

const stuck = createRoute({
  getParentRoute: () => root,
  path: '/stuck',
  component: lazyRouteComponent(() => import('./screens/stuck/stuck-screen.js'), 'StuckScreen'),
});

const system = createRoute({
  getParentRoute: () => root,
  path: '/system',
  validateSearch: viewOf,
  component: lazyRouteComponent(() => import('./screens/system/system-screen.js'), 'SystemScreen'),
});

export const router = createRouter({
  routeTree: root.addChildren([home, tasksRoute, taskRoute, questions, stuck, system, tryRoute, schedules, types]),
  basepath: '/console',
  defaultPreload: 'intent',
  // A newer build has other files than those that this page knows.
  defaultErrorComponent: () => (
    <Empty title="This screen cannot be shown">
      <p>The service may have another version now.</p>
      <button type="button" className="button" onClick={() => location.reload()}>
        Load the page again
      </button>
    </Empty>
  ),
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
