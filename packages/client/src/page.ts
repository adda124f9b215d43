import type { Link } from './link.js';

/** What of a link a page needs: that of a tab may be another tab's. */
export type Wakeable = Pick<Link, 'wake' | 'leave' | 'resume'>;

/** Tells the link what browsers say of the page and the network. Outside of a browser nothing happens. */
export function watchPage(link: () => Wakeable): () => void {
  const page = globalThis as unknown as Window;
  if (typeof page.addEventListener !== 'function' || typeof document === 'undefined') return () => {};
  const network = (navigator as { connection?: EventTarget }).connection;
  const listeners: [EventTarget | undefined, string, (event: Event) => void][] = [
    [page, 'online', () => link().wake(true)],
    [network, 'change', () => link().wake(true)],
    [document, 'visibilitychange', () => document.visibilityState === 'visible' && link().wake(false)],
    // A page with an open connection would not be kept for "back".
    [page, 'pagehide', () => link().leave()],
    [page, 'pageshow', (event) => (event as PageTransitionEvent).persisted && link().resume()],
  ];
  for (const [target, name, listener] of listeners) target?.addEventListener(name, listener);
  return () => listeners.forEach(([target, name, listener]) => target?.removeEventListener(name, listener));
}
