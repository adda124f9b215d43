/**
 * The rules of `isDatabaseUrl`, as a hint for a person who has to correct a URL. It repeats no part of the URL, because any part
 * may belong to a password.
 */
export const DATABASE_URL_FORM =
  'a URL that begins with postgres:// or postgresql:// and names one host; in a user or a password ' +
  'a space is written %20, # %23, % %25, / %2F, : %3A, ? %3F and @ %40';

/**
 * Whether a text is the URL of one PostgreSQL, with one reading for all parsers. WHATWG's parser takes a raw `/`, `?` or `#` in a
 * password for the end of the host, and `pg` then looks for a host or a database that is named as a part of the password.
 */
export function isDatabaseUrl(text: string): boolean {
  const [, authority, path, query] = /^postgres(?:ql)?:\/\/([^/?#\s]*)(\/[^?#\s]*)?(?:\?([^#\s]*))?$/.exec(text) ?? [];
  if (authority === undefined || (authority === '' && path === undefined && query === undefined)) return false;
  if (!authority.includes('@') && (path ?? query ?? '').includes('@')) return false;
  const parameters = new Map((query ?? '').split('&').map((part) => splitAt(part, part.indexOf('='))));
  const [credentials, host] = splitAt(authority, authority.lastIndexOf('@'));
  const [, name = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(host ?? credentials) ?? [];
  return (
    [...parameters.keys()].every((key) => /^\w*$/.test(key)) &&
    [authority, path ?? '', query ?? ''].every(isDecodable) &&
    [name, parameters.get('host'), parameters.get('hostaddr')].every(
      (one) => !decodeURIComponent(one ?? '').includes(','),
    ) &&
    [port, parameters.get('port') ?? ''].every(isPort) &&
    // libpq's form for sockets, user@/database?host=/directory, is no URL to WHATWG; pg reads it all the same.
    URL.canParse(text.replace(/^(\w+:\/\/(?:[^/?]*@)?)(?=[/?]|$)/, '$1socket'))
  );
}

/** Both sides of the character there; the whole and nothing where there is none. */
function splitAt(text: string, index: number): [string, string | undefined] {
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    return false;
  }
}

function isPort(text: string): boolean {
  return text === '' || (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65_536);
}
