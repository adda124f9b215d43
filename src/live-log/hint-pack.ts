const MARK = 'hints\n';
/** Stands for all channels, and for the events of all tasks: its writer may have lost any of them. */
export const GAP = 'gap';

/** Channels, each a line of text, as one text. Builds that know only packs of events read nothing in it. */
export function hintPack(channels: Iterable<string>): string {
  return MARK + [...channels].join('\n');
}

/** The channels of a pack of hints; undefined for any other pack. */
export function hintsIn(pack: Buffer): readonly string[] | undefined {
  if (pack.toString('latin1', 0, MARK.length) !== MARK) return undefined;
  return pack.toString('utf8', MARK.length).split('\n');
}
