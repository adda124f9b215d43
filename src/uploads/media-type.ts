import { fileTypeFromBuffer, supportedMimeTypes } from 'file-type';

/** Enough for every signature; the library's own recommendation. */
export const SAMPLE_BYTES = 4100;

const UNKNOWN = 'application/octet-stream';
/** The type of any bytes. */
const GENERIC = new Set([UNKNOWN, 'binary/octet-stream', 'application/unknown']);

/** A text has no signature, and may begin like something that has one: "BM" is a bitmap's, "MZ" a program's. */
const TEXT =
  /^text\/|^application\/(json|xml|javascript|ecmascript|x?-?ndjson|x?-?yaml|toml|sql|graphql|rtf|x-sh|x-httpd-php)$|\+(json|xml|yaml)$/;

const ALIASES: Readonly<Record<string, string>> = {
  'application/compressed': 'application/gzip',
  'application/msdos-program': 'application/msdownload',
  'application/vnd.microsoft.portable-executable': 'application/msdownload',
  'application/vnd.rar': 'application/rar-compressed',
  'application/rar': 'application/rar-compressed',
  'application/vnd.sqlite3': 'application/sqlite3',
  'application/zip-compressed': 'application/zip',
  'audio/mp3': 'audio/mpeg',
  'audio/wave': 'audio/wav',
  'audio/vnd.wave': 'audio/wav',
  'image/jpg': 'image/jpeg',
  'image/pjpeg': 'image/jpeg',
  'image/ms-bmp': 'image/bmp',
  'image/vnd.microsoft.icon': 'image/icon',
  'video/avi': 'video/vnd.avi',
  'video/msvideo': 'video/vnd.avi',
};

/** Types that share a container: the beginning of a file does not tell them apart. */
const FAMILIES: readonly RegExp[] = [
  /^application\/(zip|java-archive|epub\+zip|xpinstall|vnd\..+)$|\+zip$|^model\/3mf$/,
  /^application\/(cfb|msword|vnd\..+)$/,
  /^application\/(gzip|gtar|tgz|compressed-tar)$|\+gzip$/,
  /^(video|audio)\/(mp4|quicktime|m4a|m4v|3gpp2?|aac)$|^image\/(hei[cf](-sequence)?|avif)$/,
  /^(video|audio)\/(matroska|webm)$/,
  /^(application|video|audio)\/(ogg|opus|vorbis)$/,
  /^(application|video|audio)\/(vnd\.ms-asf|ms-asf|ms-wm[av])$/,
  /^(video|audio)\/(mpeg|mp[12][ps]|mp2t)$/,
  /^image\/(png|apng)$/,
  /^image\/(tiff|x-.+|adobe-dng|canon-cr[23]|nikon-nef|sony-arw|olympus-orf)$/,
  /^application\/(postscript|eps|pdf|illustrator)$/,
];

/**
 * A file that claims one of these types without its signature is refused. Other types, such as MPEG audio, are not always
 * recognised.
 */
const SIGNED = new Set(
  [...supportedMimeTypes]
    .filter((type) => /^(image|font)\/|^application\/(pdf|zip|gzip)$|^video\/(mp4|webm|quicktime)$/.test(type))
    .map(canonical),
);

/** The type that `file-type` finds in the first bytes of a file. */
export async function sniffedType(sample: Uint8Array): Promise<string | undefined> {
  return (await fileTypeFromBuffer(sample))?.mime;
}

/** The type that a claim and the bytes agree on; undefined when the claim is a lie. */
export function agreedType(claim: string, sniffed: string | undefined, sample: Uint8Array): string | undefined {
  const claimed = withoutParameters(claim);
  if (GENERIC.has(claimed)) return sniffed === undefined ? UNKNOWN : withoutParameters(sniffed);
  if (TEXT.test(claimed)) {
    const isBinary = sniffed !== undefined && !TEXT.test(withoutParameters(sniffed)) && sample.includes(0);
    return isBinary ? undefined : claimed;
  }
  if (sniffed === undefined) return SIGNED.has(canonical(claimed)) ? undefined : claimed;
  const [said, seen] = [canonical(claimed), canonical(sniffed)];
  if (said === seen) return withoutParameters(sniffed);
  return FAMILIES.some((family) => family.test(said) && family.test(seen)) ? claimed : undefined;
}

function withoutParameters(type: string): string {
  return (type.split(';', 1)[0] ?? '').trim().toLowerCase();
}

/** `x-` only means that the name was not registered when it was chosen. */
function canonical(type: string): string {
  const bare = withoutParameters(type).replace('/x-', '/');
  return ALIASES[bare] ?? bare;
}
