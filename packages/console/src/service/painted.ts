/** Resolves when the reader sees something: only the first request of a screen comes before. */
export const painted = new Promise<void>((resolve) => {
  new PerformanceObserver(() => resolve()).observe({ type: 'paint', buffered: true });
  // A tab in the background paints nothing.
  setTimeout(resolve, 3_000);
});
