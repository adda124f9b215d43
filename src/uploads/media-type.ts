import { fileTypeFromBuffer, supportedMimeTypes } from 'file-type';

/** Enough for every signature; the library's own recommendation. */
export const SAMPLE_BYTES = 4100;

const UNKNOWN = 'application/octet-stream';
/** The type of any bytes. */
const GENERIC = new Set([UNKNOWN, 'binary/octet-stream', 'application/unknown']);

/** Signatures with which no text begins, of files that may have no other byte that a text does not have: PNG, JPEG, PDF, GIF. */
const SIGNATURES = ['\x89PNG\r\n\x1a\n', '\xff\xd8\xff', '%PDF-', 'GIF87a', 'GIF89a'];
const BYTE_ORDER_MARK = '\xef\xbb\xbf';

/** A text has no signature, and may begin like something that has one: "BM" is a bitmap's, "MZ" a program's. */
const TEXT =
  /^text\/|^application\/(json|xml|javascript|ecmascript|x?-?ndjson|x?-?yaml|toml|sql|graphql|rtf|x-sh|x-httpd-php)$|\+(json|xml|yaml)$/;

/** Further names by which clients call a type, without `x-`: those of shared-mime-info, which desktops use. */
const OTHER_NAMES: Readonly<Record<string, readonly string[]>> = {
  'application/apple-diskimage': ['application/dmg'],
  'application/bzip2': ['application/bzip'],
  'application/deb': ['application/vnd.debian.binary-package', 'application/debian-package'],
  'application/gzip': ['application/compressed', 'application/gunzip', 'gzip/document'],
  'application/iso9660-image': ['application/cd-image', 'application/iso-image'],
  'application/java-archive': ['application/jar'],
  'application/msdownload': [
    'application/msdos-program',
    'application/dosexec',
    'application/exe',
    'application/ms-dos-executable',
    'application/vnd.microsoft.portable-executable',
  ],
  'application/pdf': ['application/acrobat', 'application/nappdf', 'image/pdf'],
  'application/rar-compressed': ['application/vnd.rar', 'application/rar'],
  'application/rpm': ['application/redhat-package-manager'],
  'application/shockwave-flash': ['application/vnd.adobe.flash.movie', 'application/futuresplash'],
  'application/sqlite3': ['application/vnd.sqlite3', 'application/sqlite'],
  'application/tar': ['application/gtar'],
  'application/vnd.ms-cab-compressed': ['application/cab', 'application/cab-compressed'],
  'application/vnd.apache.parquet': ['application/parquet'],
  'application/zip': ['application/zip-compressed', 'multipart/zip'],
  'audio/aiff': ['audio/aif', 'sound/aiff'],
  'audio/midi': ['audio/mid', 'application/midi'],
  'audio/mpeg': ['audio/mp3', 'audio/mpg', 'audio/mpeg3', 'audio/mpeg-3'],
  'audio/wav': ['audio/wave', 'audio/vnd.wave', 'audio/pn-wav'],
  'font/otf': ['application/font-otf', 'application/vnd.ms-opentype'],
  'font/ttf': ['application/font-ttf', 'application/font-truetype'],
  'font/woff': ['application/font-woff'],
  'font/woff2': ['application/font-woff2'],
  'image/bmp': ['image/ms-bmp', 'image/windows-bmp', 'image/win-bitmap', 'application/bmp'],
  'image/icon': ['image/ico', 'image/vnd.microsoft.icon', 'application/ico'],
  'image/jp2': ['image/jpeg2000', 'image/jpeg2000-image'],
  'image/jpeg': ['image/jpg', 'image/pjpeg', 'application/jpg'],
  'image/png': ['application/png'],
  'image/tiff': ['image/tif', 'application/tiff'],
  'image/vnd.adobe.photoshop': [
    'application/photoshop',
    'application/psd',
    'image/photoshop',
    'image/psd',
    'application/vnd.adobe.photoshop',
  ],
  'image/vnd.dwg': ['application/acad', 'application/dwg', 'application/autocad_dwg', 'image/dwg', 'drawing/dwg'],
  'image/vnd.ms-photo': ['image/jxr'],
  'video/vnd.avi': ['video/avi', 'video/msvideo', 'application/avi'],
};
const ALIASES: ReadonlyMap<string, string> = new Map(
  Object.entries(OTHER_NAMES).flatMap(([type, names]) => names.map((name) => [name, type] as const)),
);

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

/** Types by the ending of a name: texts, and documents of which only the container has a signature. */
const BY_EXTENSION: Readonly<Record<string, string>> = {
  txt: 'text/plain',
  log: 'text/plain',
  csv: 'text/csv',
  tsv: 'text/tab-separated-values',
  md: 'text/markdown',
  html: 'text/html',
  htm: 'text/html',
  css: 'text/css',
  js: 'text/javascript',
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  xml: 'application/xml',
  svg: 'image/svg+xml',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  toml: 'application/toml',
  sql: 'application/sql',
  rtf: 'application/rtf',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  odt: 'application/vnd.oasis.opendocument.text',
  ods: 'application/vnd.oasis.opendocument.spreadsheet',
  odp: 'application/vnd.oasis.opendocument.presentation',
};

/**
 * The type of a file for which none is claimed: that of its name, when the bytes agree, else that of the bytes. A name is no claim,
 * so it is never a lie.
 */
export function foundType(filename: string, sniffed: string | undefined, sample: Uint8Array): string {
  const named = BY_EXTENSION[/\.([a-z]{1,6})$/i.exec(filename)?.[1]?.toLowerCase() ?? ''];
  const agreed = named && agreedType(named, sniffed, sample);
  if (agreed && !(TEXT.test(named) && sample.some(isBinaryByte))) return agreed;
  return agreedType(UNKNOWN, sniffed, sample) ?? UNKNOWN;
}

/** The type that a claim and the bytes agree on; undefined when the claim is a lie. */
export function agreedType(claim: string, sniffed: string | undefined, sample: Uint8Array): string | undefined {
  const claimed = withoutParameters(claim);
  if (GENERIC.has(claimed)) return sniffed === undefined ? UNKNOWN : withoutParameters(sniffed);
  if (TEXT.test(claimed)) {
    const isOther = sniffed !== undefined && !TEXT.test(withoutParameters(sniffed));
    return isSigned(sample) || (isOther && sample.some(isBinaryByte)) ? undefined : claimed;
  }
  if (sniffed === undefined) return SIGNED.has(canonical(claimed)) ? undefined : claimed;
  const [said, seen] = [canonical(claimed), canonical(sniffed)];
  if (said === seen) return withoutParameters(sniffed);
  return FAMILIES.some((family) => family.test(said) && family.test(seen)) ? claimed : undefined;
}

/** Also of a file that ends there: `file-type` looks for what follows. */
function isSigned(sample: Uint8Array): boolean {
  const beginning = Buffer.from(sample.subarray(0, 16)).toString('latin1');
  const bare = beginning.startsWith(BYTE_ORDER_MARK) ? beginning.slice(BYTE_ORDER_MARK.length) : beginning;
  return SIGNATURES.some((signature) => bare.startsWith(signature));
}

/** A byte that no text has, by the standard by which browsers sniff (https://mimesniff.spec.whatwg.org/#binary-data-byte). */
function isBinaryByte(byte: number): boolean {
  return byte <= 0x08 || byte === 0x0b || (byte >= 0x0e && byte <= 0x1a) || (byte >= 0x1c && byte <= 0x1f);
}

function withoutParameters(type: string): string {
  return (type.split(';', 1)[0] ?? '').trim().toLowerCase();
}

/** `x-` only means that the name was not registered when it was chosen. */
function canonical(type: string): string {
  const bare = withoutParameters(type).replace('/x-', '/');
  return ALIASES.get(bare) ?? bare;
}
