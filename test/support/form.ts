/** One part of a form; with a `filename` or `file` it is a file. */
export interface Part {
  readonly name?: string;
  readonly value: string | Buffer;
  /** Written as it is, in quotes. */
  readonly filename?: string;
  readonly type?: string;
  /** Instead of the header that is made of the name and the file name. */
  readonly disposition?: string;
}

export interface Form {
  readonly headers: Record<string, string>;
  readonly body: Buffer<ArrayBuffer>;
}

const BOUNDARY = 'taskbridge-test-boundary';

/** A multipart body, byte for byte as it goes over the wire. */
export function formOf(parts: readonly Part[]): Form {
  const pieces = parts.flatMap((part) => [`--${BOUNDARY}\r\n${headOf(part)}\r\n\r\n`, part.value, '\r\n']);
  return {
    headers: { 'Content-Type': `multipart/form-data; boundary=${BOUNDARY}` },
    body: Buffer.concat([...pieces, `--${BOUNDARY}--\r\n`].map((piece) => Buffer.from(piece as string))),
  };
}

function headOf({ name, filename, type, disposition }: Part): string {
  const named = `form-data${name === undefined ? '' : `; name="${name}"`}`;
  const lines = [
    `Content-Disposition: ${disposition ?? `${named}${filename === undefined ? '' : `; filename="${filename}"`}`}`,
    ...(type === undefined ? [] : [`Content-Type: ${type}`]),
  ];
  return lines.join('\r\n');
}

export const field = (name: string, value: string): Part => ({ name, value });

export const file = (filename: string, value: string | Buffer, type = 'text/plain', name = 'attachment'): Part => ({
  name,
  filename,
  type,
  value,
});
