/** Why a string cannot be stored; undefined when it can. PostgreSQL has no U+0000, and UTF-8 no half characters. */
export function textFault(text: string): string | undefined {
  if (text.includes('\0')) return 'has U+0000';
  return text.isWellFormed() ? undefined : 'has half a character';
}

/** Cut to `maxLength` UTF-16 units, never within a character; what cannot be stored becomes U+FFFD. */
export function storableText(text: string, maxLength: number): string {
  const end = cutsCharacter(text, maxLength) ? maxLength - 1 : maxLength;
  return text.slice(0, end).replaceAll('\0', '\ufffd').toWellFormed();
}

function cutsCharacter(text: string, at: number): boolean {
  return (text.codePointAt(at - 1) ?? 0) > 0xffff && text.length > at;
}
