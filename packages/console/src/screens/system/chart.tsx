import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Line<P> {
  readonly name: string;
  /** A custom property of the page, which is another one in the dark. */
  readonly color: string;
  of(point: P): number | undefined;
}

interface Given<P> {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly Line<P>[];
  readonly points: readonly P[];
}

const HEIGHT_PX = 140;
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit', second: '2-digit' });

/** Lines over time, and the newest values as text: for who does not see the picture, and for who wants the number. */
export function Chart<P extends { readonly at: string }>({ title, unit, lines, points }: Given<P>) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(element, lines), dataOf(lines, points), element);
    };
    draw();
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    sizes.observe(element);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', draw);
    return () => {
      dark.removeEventListener('change', draw);
      sizes.disconnect();
      plot.current?.destroy();
    };
    // It is drawn once. Newer points come below.
  }, []);
  useEffect(() => plot.current?.setData(dataOf(lines, points)), [lines, points]);
  const last = points.at(-1);
  return (
    <section aria-label={title} className="panel min-w-0 p-4">
      <div className="mb-2 flex flex-wrap items-baseline justify-between gap-x-4">
        <h2 className="font-semibold">{title}</h2>
        <ul className="flex flex-wrap gap-x-3 text-xs text-soft">
          {lines.map(({ name, color, of }) => {
            const value = last && of(last);
            return (
              <li key={name} className="flex items-center gap-1.5 tabular-nums">
                <span aria-hidden className="h-0.5 w-3" style={{ background: `var(${color})` }} />
                {name} {value === undefined ? 'none' : `${Number(value.toPrecision(3))} ${unit}`}
              </li>
            );
          })}
        </ul>
      </div>
      <div ref={box} aria-hidden style={{ height: HEIGHT_PX }} />
    </section>
  );
}

function optionsOf<P>(element: HTMLElement, lines: readonly Line<P>[]): uPlot.Options {
  const colorOf = (name: string) => {
    // A canvas does not know light-dark(): an element resolves it.
    element.style.color = `var(${name})`;
    const { color } = getComputedStyle(element);
    element.style.color = '';
    return color;
  };
  const axis: uPlot.Axis = {
    stroke: colorOf('--color-soft'),
    grid: { stroke: colorOf('--color-line'), width: 1 },
    ticks: { show: false },
    font: '11px system-ui, sans-serif',
    space: 60,
  };
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    axes: [
      { ...axis, size: 28, values: (_, seconds) => seconds.map((one) => CLOCK.format(one * 1_000)) },
      { ...axis, space: 30, size: 44 },
    ],
    scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
    series: [
      {},
      ...lines.map(({ name, color }) => ({ label: name, stroke: colorOf(color), width: 1.5, points: { show: false } })),
    ],
  };
}

function dataOf<P extends { readonly at: string }>(lines: readonly Line<P>[], points: readonly P[]): uPlot.AlignedData {
  return [
    points.map(({ at }) => Date.parse(at) / 1_000),
    ...lines.map(({ of }) => points.map((point) => of(point) ?? null)),
  ];
}
