/** The samples of one scrape. */
export class Metrics {
  private constructor(private readonly text: string) {}

  static async scrape(url: string): Promise<Metrics> {
    const response = await fetch(`${url}/metrics`);
    return new Metrics(await response.text());
  }

  /** The sum of the samples of this name (without `taskbridge_`) that have these labels; undefined when there is none. */
  find(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    const samples = this.text.split('\n').flatMap((line) => {
      const [, found, text = '', value] = /^taskbridge_(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      return found === name && wanted.every((label) => text.split(',').includes(label)) ? [Number(value)] : [];
    });
    return samples.length === 0 ? undefined : samples.reduce((sum, sample) => sum + sample, 0);
  }

  /** A missing sample was never counted. */
  of(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.find(name, labels) ?? 0;
  }

  /** Every name, with the labels that its samples have. */
  names(): ReadonlyMap<string, readonly string[]> {
    const names = new Map<string, readonly string[]>();
    for (const line of this.text.split('\n')) {
      const [, name = '', , labels = ''] = /^([a-z]\w*)(\{(.*)\})? \S+/.exec(line) ?? [];
      if (name !== '') names.set(name, [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label).sort());
    }
    return names;
  }
}
