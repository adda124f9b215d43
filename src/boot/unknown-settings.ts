import { isAdopted } from './setting-files.js';
import { SETTINGS } from './settings.js';

export interface UnknownSetting {
  readonly name: string;
  readonly why: string;
}

const NAMES = Object.keys(SETTINGS);
/** Another file judges OpenTelemetry's own variables. */
const OWN = NAMES.filter((name) => !name.startsWith('OTEL_'));
/** From this length on, two similar names count as the same setting. PORT and HOST resemble too many names. */
const LONG_ENOUGH = 6;

/**
 * Families of settings. The first two words of three, and words that nothing else begins with: TASK_ and WORKER_ belong to Nomad and
 * others, EXECUTOR_ to Jenkins, DATABASE_ and REDIS_ to platforms that set one variable for each part of an address.
 */
const PREFIXES = [
  ...OWN.map((name) => name.split('_')).flatMap((words) => (words.length > 2 ? [`${words[0]}_${words[1]}_`] : [])),
  ...['ATTACHMENT_', 'HEARTBEAT_', 'INLINE_', 'LEASE_', 'OWNERSHIP_', 'READINESS_', 'REQUIRE_', 'RETENTION_', 'S3_'],
  'UPLOAD_',
];

/** Variables that Kubernetes sets in every container, for each service of the namespace. */
const SERVICE_LINK = /_SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/;
const LINK_TARGET = /^(tcp|udp|sctp):\/\//;

/** Variables that look like misspelt settings, which would have no effect. */
export function unknownSettings(env: NodeJS.ProcessEnv): readonly UnknownSetting[] {
  return Object.entries(env).flatMap(([name, value = '']) => {
    if (value.trim() === '' || isKnown(name) || !/^[A-Za-z][\w.-]*$/.test(name) || name.startsWith('npm_')) return [];
    if (SERVICE_LINK.test(name) || (name.endsWith('_PORT') && LINK_TARGET.test(value))) return [];
    const base = name.replace(/_FILES$/i, '') in SETTINGS ? name.replace(/_FILES$/i, '') : name.replace(/_FILE$/i, '');
    const meant = meantBy(base);
    if (meant === undefined) return [];
    const suggestion = base === name ? meant : `${meant}_FILE`;
    return [{ name, why: `is no setting; did you mean ${suggestion}?` }];
  });
}

function isKnown(name: string): boolean {
  const base = name.replace(/_FILE$/, '');
  return name in SETTINGS || base in SETTINGS || isAdopted(base);
}

function meantBy(name: string): string | undefined {
  const spelling = (text: string) => text.replace(/[^A-Za-z0-9]/g, '').toUpperCase();
  const plain = name.replace(/^TASKBRIDGE_/, '');
  const same = NAMES.find(
    (known) => spelling(known) === spelling(plain) && (known.length >= LONG_ENOUGH || plain !== name),
  );
  if (same !== undefined) return same;
  if (name.startsWith('OTEL_') && isStandard(name)) return undefined;
  const near = NAMES.map((known) => ({ known, edits: distance(plain.toUpperCase(), known) })).sort(
    (a, b) => a.edits - b.edits,
  );
  const [nearest] = near;
  if (nearest && nearest.edits <= tolerance(nearest.known)) return nearest.known;
  const part = OWN.find(
    (known) =>
      // Without its first words, or without its last, such as the unit.
      (plain.includes('_') && (known.endsWith(`_${plain}`) || known.startsWith(`${plain}_`))) ||
      (known.includes('_') && plain.startsWith(known) && /^[A-Z]+$/.test(plain.slice(known.length))),
  );
  const prefix = PREFIXES.find((one) => plain.startsWith(one));
  return part ?? (prefix && near.find(({ known }) => known.startsWith(prefix))?.known);
}

/** OpenTelemetry's own variables are no misspelt settings of ours. */
const isStandard = (name: string) =>
  /^OTEL_(ATTRIBUTE|BLRP|BSP|CONFIG|ENTITIES|EVENT|EXPERIMENTAL|EXPORTER_(JAEGER|OTLP|PROMETHEUS|ZIPKIN)|GO|JAVA|LINK|LOG|LOGRECORD|LOGS|METRIC|METRICS|NODE|PROPAGATORS|PYTHON|RESOURCE|SDK|SEMCONV|SPAN|TRACES)/.test(
    name,
  );

function tolerance(known: string): number {
  if (known.length < LONG_ENOUGH) return 0;
  return known.length < 9 ? 1 : known.length < 20 ? 2 : 3;
}

/** How many letters to add, remove, change, or swap with their neighbour. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : changed;
      row.push(Math.min(changed, swapped, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    [before, last] = [last, row];
  }
  return last[b.length] ?? 0;
}
