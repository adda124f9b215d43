const PLAIN = /^[\x20-\x7e]*$/;
/** Control, format (bidirectional overrides, zero width), unassigned, lone surrogates; line and paragraph separators. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * A client's text for a log: cut, and without characters that mislead a terminal or a person (JSON escapes C0 only; C1 begins
 * escape sequences, too).
 */
export function boundedText(text: string, maxLength = 256): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
  if (PLAIN.test(cut)) return cut;
  return cut.replace(UNPRINTABLE, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}
