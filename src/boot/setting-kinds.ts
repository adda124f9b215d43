import { isIP } from 'node:net';
import { DATABASE_URL_FORM, isDatabaseUrl } from '../database/database-url.js';

/** How the text of a setting becomes a value. */
export interface Kind<T> {
  /** What is accepted; completes "accepts …" in messages and in the generated documentation. */
  readonly accepts: string;
  /** Undefined when the text is not acceptable. It is trimmed and never empty. */
  parse(text: string): T | undefined;
  /** What is wrong with a text that `parse` does not accept, where `accepts` says too little. Never a part of the text. */
  problemOf?(text: string): string | undefined;
  /** The value of a setting that is unset and has no default. */
  readonly none?: T;
  /** A value may be a secret, or have one in it: it is never shown, also not in part. */
  readonly isHidden?: true;
}

export function text(accepts: string): Kind<string> {
  return { accepts, parse: (value) => (/\s/.test(value) ? undefined : value) };
}

/** Spaces are welcome: a path may have them. */
export function path(accepts: string): Kind<string> {
  return { accepts, parse: (value) => value };
}

export const flag: Kind<boolean> = {
  accepts: 'true or false',
  parse: (value) => (value === 'true' ? true : value === 'false' ? false : undefined),
};

/** Digits only, without a sign, exponent, leading zero or unit. So a value has one reading. */
export function integer(min: number, max: number): Kind<number> {
  return {
    accepts: `an integer from ${min} to ${max}`,
    parse: (value) => (/^(0|[1-9]\d*)$/.test(value) ? between(min, Number(value), max) : undefined),
  };
}

export function fraction(): Kind<number> {
  return {
    accepts: 'a number from 0 to 1, such as 0.25',
    parse: (value) => (/^\d(\.\d+)?$/.test(value) ? between(0, Number(value), 1) : undefined),
  };
}

export function choice<const Name extends string>(...names: readonly Name[]): Kind<Name> {
  return { accepts: alternatives(names), parse: (value) => names.find((name) => name === value) };
}

/** A choice that may be in capitals: `PROD` is `prod`, with the same strictness. */
export function choiceInAnyCase<const Name extends string>(...names: readonly Name[]): Kind<Name> {
  return { accepts: alternatives(names), parse: (value) => names.find((name) => name === value.toLowerCase()) };
}

/**
 * One bad or empty item refuses the list: a comma too many in a list of secrets must not be read as an empty secret. Repeated
 * items count once.
 */
export function commaList<T>(item: Kind<T>): Kind<readonly T[]> & { readonly none: readonly T[] } {
  return {
    none: [],
    ...(item.isHidden && { isHidden: true }),
    accepts: `a comma list, each item ${item.accepts}`,
    parse: (value) => {
      const items = value.split(',').map((part) => (part.trim() === '' ? undefined : item.parse(part.trim())));
      return items.every((parsed) => parsed !== undefined) ? [...new Set(items)] : undefined;
    },
  };
}

/** Visible ASCII only, which headers carry unchanged. */
export function secret(minLength: number): Kind<string> {
  return {
    isHidden: true,
    accepts: `of ${minLength} or more visible ASCII characters`,
    parse: (value) => (value.length >= minLength && /^[\x21-\x7e]+$/.test(value) ? value : undefined),
  };
}

/** Random text has as many different characters. */
const LEAST_DIFFERENT_CHARACTERS = 10;

/** A secret that nobody types. What a person makes up could be guessed from one signature, without asking the service. */
export const signingKey: Kind<string> = {
  isHidden: true,
  accepts: `of 32 or more visible ASCII characters, ${LEAST_DIFFERENT_CHARACTERS} or more of them different`,
  parse: (value) => (new Set(value).size >= LEAST_DIFFERENT_CHARACTERS ? secret(32).parse(value) : undefined),
};

/** Names of DNS, IPv4, IPv6 in brackets. A URL may have a host such as `*.example.com`, which no browser ever sends. */
const ORIGIN = /^https?:\/\/([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(:\d+)?$/;

/** An origin as browsers send it, so that comparing is equality. */
export const origin: Kind<string> = {
  accepts:
    'an origin as browsers send it, such as https://app.example.com: exact, without a wildcard, path, closing slash, default port or capital',
  parse: (value) => (ORIGIN.test(value) && URL.canParse(value) && new URL(value).origin === value ? value : undefined),
};

export const hostName: Kind<string> = {
  accepts: 'an address or host name to listen on, without a scheme or a port',
  parse: (value) =>
    isIP(value.split('%', 1).join()) > 0 || /^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$/i.test(value) ? value : undefined,
};

/** Lower case and without parameters, as attachments are kept. */
export const mediaType: Kind<string> = {
  accepts: 'a media type such as image/png or image/*',
  parse: (value) =>
    /^[a-z0-9][a-z0-9!#$&^_.+-]*\/(\*|[a-z0-9][a-z0-9!#$&^_.+-]*)$/i.test(value) ? value.toLowerCase() : undefined,
};

export const httpUrl: Kind<string> = {
  isHidden: true,
  accepts: 'a URL that begins with http:// or https://',
  parse: (value) => (/^https?:\/\/[^\s/@]+(\/\S*)?$/.test(value) && URL.canParse(value) ? value : undefined),
};

export const postgresUrl: Kind<string> = {
  isHidden: true,
  accepts: DATABASE_URL_FORM,
  parse: (value) => (isDatabaseUrl(value) ? value : undefined),
};

export const redisUrl: Kind<string> = {
  isHidden: true,
  accepts: 'a URL that begins with redis:// or rediss://',
  parse: (value) => (/^rediss?:\/\/[^\s/]/.test(value) && URL.canParse(value) ? value : undefined),
};

function between(min: number, value: number, max: number): number | undefined {
  return value >= min && value <= max ? value : undefined;
}

function alternatives(names: readonly string[]): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}
