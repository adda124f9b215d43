import { STATUSES, type TaskFilter } from './service/tasks.js';

// What the addresses of screens say. The router also hands on what it does not know, so screens read through these.

type Search = Readonly<Record<string, unknown>>;

/** What the address says of the list. Members that are wrong are left out. */
export function filterOf(search: Search): TaskFilter {
  const text = (name: string) => {
    const value = search[name];
    // The router reads digits as a number.
    const isText = (typeof value === 'string' && value !== '') || typeof value === 'number';
    return isText ? { [name]: String(value) } : {};
  };
  const flag = (name: string) => (search[name] === true ? { [name]: true as const } : {});
  const status = STATUSES.find((one) => one === search['status']);
  return {
    ...flag('all'),
    ...(status && { status }),
    ...flag('suspended'),
    ...['owner', 'tenant', 'taskType', 'failureCode', 'clientRequestId', 'createdAfter', 'createdBefore', 'tag']
      .map(text)
      .reduce((all, one) => ({ ...all, ...one }), {}),
  };
}

const SYSTEM_VIEWS = ['overview', 'workers', 'streams', 'settings', 'log'] as const;
export type SystemView = (typeof SYSTEM_VIEWS)[number];

export function viewOf(search: Search): { readonly view?: SystemView } {
  const view = SYSTEM_VIEWS.find((one) => one === search['view']);
  return view ? { view } : {};
}

export function typeOf(search: Search): { readonly type?: string } {
  return typeof search['type'] === 'string' ? { type: search['type'] } : {};
}
