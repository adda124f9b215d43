/**
 * `attachment` with the name in both forms of RFC 6266: `filename*` in UTF-8 for all clients of this century, and before it an
 * approximation in ASCII for the others. Quotes, backslashes and per cent signs are left out of the latter, because clients disagree
 * about what they mean there.
 */
export function attachmentDisposition(filename: string): string {
  const ascii = filename.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  if (ascii === filename) return `attachment; filename="${filename}"`;
  return `attachment; filename="${ascii}"; filename*=UTF-8''${extendedValue(filename)}`;
}

/** RFC 8187: the characters that `encodeURIComponent` keeps and that are no attr-char. */
function extendedValue(text: string): string {
  return encodeURIComponent(text).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
