/** The limit of file systems, in bytes of UTF-8. */
const MAX_BYTES = 255;
const FALLBACK = 'unnamed';

/**
 * Controls (NUL and line ends among them), and the invisible characters of Unicode: an RTL override makes `gpj.exe` out of
 * `exe.jpg` on a screen. The two joiners stay, since scripts and emoji are written with them.
 */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/gu;

/** A name that is safe in a header, a log of an operator, and on a disk. The same name gives the same result each time. */
export function normalisedFilename(given: string | undefined): string {
  const base = (given ?? '').replace(UNSEEN, '').split(/[/\\]/).at(-1) ?? '';
  const name = base.normalize('NFC').replace(/\s+/gu, ' ').trim();
  // A name of dots only is a directory.
  return /^\.*$/.test(name) ? FALLBACK : bounded(name);
}

/** Keeps the extension, by which people and programs recognise the type. */
function bounded(name: string): string {
  if (Buffer.byteLength(name) <= MAX_BYTES) return name;
  const extension = /\.[A-Za-z0-9]{1,16}$/.exec(name)?.[0] ?? '';
  let stem = '';
  for (const character of name.slice(0, name.length - extension.length)) {
    if (Buffer.byteLength(stem + character + extension) > MAX_BYTES) break;
    stem += character;
  }
  return `${stem.trimEnd()}${extension}`;
}
