import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { normalisedFilename } from '../../src/uploads/filename.js';
import { agreedType, foundType, sniffedType } from '../../src/uploads/media-type.js';
import { PartHeads } from '../../src/uploads/part-heads.js';
import { attachmentDisposition, requestedRange } from '../../src/uploads/send-attachment.js';
import { field, file, formOf } from '../support/form.js';

describe('the name of an attachment', () => {
  it.each<[string, string | undefined, string]>([
    ['stays as it is when it is harmless', 'Übersicht (final) v2.pdf', 'Übersicht (final) v2.pdf'],
    ['is composed', 'Cafe\u0301.txt', 'Caf\u00e9.txt'],
    ['loses the path that traverses', '../../etc/passwd', 'passwd'],
    ['loses the path of Windows', 'C:\\Windows\\system32\\evil.dll', 'evil.dll'],
    ['loses a mixed path', 'a/b\\c.txt', 'c.txt'],
    ['loses NUL, which ends a name in C', 'report.pdf\u0000.exe', 'report.pdf.exe'],
    ['loses line ends, which end a header', 'a\r\nSet-Cookie: b.txt', 'aSet-Cookie: b.txt'],
    ['loses the RTL override that turns an extension round', 'photo_\u202egpj.exe', 'photo_gpj.exe'],
    ['loses isolates and marks', '\u2066a\u2069\u200eb\u200f.txt', 'ab.txt'],
    ['loses a byte order mark and zero-width spaces', '\ufeffa\u200bb.txt', 'ab.txt'],
    ['keeps the joiners of scripts and emoji', 'नमस्\u200dते 👩\u200d🚀.txt', 'नमस्\u200dते 👩\u200d🚀.txt'],
    ['has single spaces, and none around it', '  a \t\u00a0 b.txt ', 'a b.txt'],
    ['is not a directory', '..', 'unnamed'],
    ['is not the current directory', 'a/b/.', 'unnamed'],
    ['is not empty', '', 'unnamed'],
    ['is not empty behind a slash', 'folder/', 'unnamed'],
    ['is there when none was given', undefined, 'unnamed'],
    ['may begin with a dot', '.env', '.env'],
  ])('%s', (_what, given, name) => {
    expect(normalisedFilename(given)).toBe(name);
  });

  it('has at most 255 bytes, and keeps its extension', () => {
    const name = normalisedFilename(`${'ä'.repeat(300)}.tar.gz`);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
    expect(name).toMatch(/^ä+\.gz$/);
    expect(Buffer.byteLength(normalisedFilename('😀'.repeat(200)))).toBe(252);
  });

  it('is whole, and the same again, whatever is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (given) => {
        const name = normalisedFilename(given);
        expect(name).not.toMatch(/[\p{Cc}\p{Cs}/\\\u202a-\u202e\u2066-\u2069]/u);
        expect(name).not.toMatch(/^\.*$/);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
        expect(normalisedFilename(name)).toBe(name);
      }),
    );
  });
});

const PNG = Buffer.from('89504e470d0a1a0a0000000d4948445200000001000000010806000000', 'hex');
const ZIP = Buffer.concat([Buffer.from('504b0304140000000800', 'hex'), Buffer.alloc(60)]);
const EXE = Buffer.concat([Buffer.from('MZ\x90\0\x03\0\0\0', 'latin1'), Buffer.alloc(80)]);
const text = (content: string) => Buffer.from(content);

describe('the type of an attachment', () => {
  it.each<[string, string, Buffer, string]>([
    ['agrees with its bytes', 'image/png', PNG, 'image/png'],
    ['is spelled in one way', 'IMAGE/X-PNG; q=1', PNG, 'image/png'],
    ['is what the bytes are when nothing is claimed', 'application/octet-stream', PNG, 'image/png'],
    ['is unknown when neither knows', 'application/octet-stream', Buffer.from([1, 2, 3]), 'application/octet-stream'],
    ['is believed when the bytes have no signature', 'application/x-my-format', text('abc'), 'application/x-my-format'],
    ['is the text that is claimed', 'text/csv', text('a,b\n1,2\n'), 'text/csv'],
    ['is the text that is claimed, though a bitmap begins so', 'text/plain', text('BMW builds cars'), 'text/plain'],
    ['is JSON', 'application/json', text('{"a":1}'), 'application/json'],
    ['is an SVG, which is XML', 'image/svg+xml', text('<?xml version="1.0"?><svg/>'), 'image/svg+xml'],
    [
      'is a document, of which only the container shows',
      'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
      ZIP,
      'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
    ],
    ['is an archive', 'application/x-zip-compressed', ZIP, 'application/zip'],
    ['is Photoshop’s', 'application/x-photoshop', Buffer.from('8BPS\0\x01'), 'image/vnd.adobe.photoshop'],
    ['is a font’s', 'application/x-font-woff2', Buffer.from('wOF2\0\x01\0\0'.padEnd(40, '\0')), 'font/woff2'],
    ['is text in UTF-16', 'text/csv', Buffer.from('\ufeffBM,a', 'utf16le'), 'text/csv'],
    ['is text with an escape of a terminal', 'text/plain', text('\u001b[1mBM'), 'text/plain'],
    [
      'is an image by its common misspelling',
      'image/jpg',
      Buffer.from('ffd8ffe000104a464946000101', 'hex'),
      'image/jpeg',
    ],
  ])('%s', async (_what, claim, bytes, type) => {
    expect(agreedType(claim, await sniffedType(bytes), bytes)).toBe(type);
  });

  it.each<[string, string, Buffer]>([
    ['a program that claims to be an image', 'image/png', EXE],
    ['a page that claims to be an image', 'image/png', text('<!doctype html><script>alert(1)</script>')],
    ['an image that claims to be a document', 'application/pdf', PNG],
    ['an image that claims to be text', 'text/plain', PNG],
    ['the signature of a PNG that claims to be a page', 'text/html', PNG.subarray(0, 8)],
    ['a PDF that claims to be text, though its first bytes are printable', 'text/plain', text('%PDF-1.7\n1 0 obj\n')],
    ['a PDF behind a byte order mark', 'text/csv', text('\ufeff%PDF-1.7\n')],
    ['a GIF of printable bytes that claims to be a page', 'text/html', text('GIF89aAAAA<script>')],
    ['a JPEG without a byte that is no text’s', 'text/html', Buffer.from('\xff\xd8\xff\xe1<html>', 'latin1')],
    ['an image by another name that claims to be a document', 'application/acrobat', PNG],
    ['a program that claims to be text', 'text/html', EXE],
    ['a program that claims to be JSON', 'application/json', EXE],
    ['an archive that claims to be an image', 'image/gif', ZIP],
    ['nothing that claims to be an image', 'image/png', Buffer.alloc(0)],
    ['text that claims to be a font', 'font/woff2', text('not a font')],
  ])('is not that of %s', async (_what, claim, bytes) => {
    expect(agreedType(claim, await sniffedType(bytes), bytes)).toBeUndefined();
  });
});

describe('the type of an attachment for which none is claimed', () => {
  it.each<[string, string, Buffer, string]>([
    ['what the bytes are', 'f', PNG, 'image/png'],
    ['what the bytes are, whatever the name', 'notes.txt', PNG, 'image/png'],
    ['what the bytes are, and no page', 'page.html', EXE, 'application/x-msdownload'],
    ['that of the name, for a text', 'Table.CSV', text('a,b\n'), 'text/csv'],
    ['that of the name, for a text that begins like a bitmap', 'cars.txt', text('BMW builds cars'), 'text/plain'],
    ['that of the name, for a document in a container', 'a.odt', ZIP, 'application/vnd.oasis.opendocument.text'],
    ['unknown, for bytes with the name of a text', 'a.txt', Buffer.from([1, 2, 3]), 'application/octet-stream'],
    ['unknown, for a text with the name of an image', 'a.png', text('abc'), 'application/octet-stream'],
    ['unknown, when neither knows', 'README', text('abc'), 'application/octet-stream'],
    ['unknown, for nothing', 'a', Buffer.alloc(0), 'application/octet-stream'],
    ['unknown, for a name that is no ending', 'a.constructor', text('abc'), 'application/octet-stream'],
  ])('is %s', async (_what, filename, bytes, type) => {
    expect(foundType(filename, await sniffedType(bytes), bytes)).toBe(type);
  });
});

describe('a range', () => {
  it.each<[string | undefined, ReturnType<typeof requestedRange>]>([
    [undefined, undefined],
    ['bytes=0-0', { first: 0, last: 0 }],
    ['bytes=2-5', { first: 2, last: 5 }],
    ['Bytes=2-5', { first: 2, last: 5 }],
    ['bytes=2-', { first: 2, last: 9 }],
    ['bytes=2-99', { first: 2, last: 9 }],
    ['bytes=-3', { first: 7, last: 9 }],
    ['bytes=-99', { first: 0, last: 9 }],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=10-20', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-2', undefined],
    ['bytes=-', undefined],
    ['bytes=a-b', undefined],
    ['bytes=0-1,3-4', undefined],
    ['bytes=1.5-2', undefined],
    ['lines=0-1', undefined],
    [`bytes=${'9'.repeat(400)}-`, undefined],
  ])('%j of ten bytes is %j', (header, range) => {
    expect(requestedRange(header, 10)).toEqual(range);
  });

  it('of an empty file cannot be satisfied', () => {
    expect([requestedRange('bytes=0-', 0), requestedRange('bytes=-5', 0)]).toEqual(['unsatisfiable', 'unsatisfiable']);
  });
});

describe('Content-Disposition', () => {
  it.each([
    ['report.pdf', 'attachment; filename="report.pdf"'],
    ['a b.txt', 'attachment; filename="a b.txt"'],
    ['say "hi".txt', `attachment; filename="say _hi_.txt"; filename*=UTF-8''say%20%22hi%22.txt`],
    ['Übersicht.pdf', `attachment; filename="_bersicht.pdf"; filename*=UTF-8''%C3%9Cbersicht.pdf`],
    ['100%.txt', `attachment; filename="100_.txt"; filename*=UTF-8''100%25.txt`],
    [`it's (1)*.txt`, `attachment; filename="it's (1)*.txt"`],
    ['€ (1)*.txt', `attachment; filename="_ (1)*.txt"; filename*=UTF-8''%E2%82%AC%20%281%29%2A.txt`],
  ])('of %j names it in both forms of RFC 6266 where they differ', (filename, header) => {
    expect(attachmentDisposition(filename)).toBe(header);
  });
});

describe('the parts of a body', () => {
  const contents = fc.array(fc.constantFrom('\r', '\n', '-', '--', 'taskbridge', '-test', '-boundary', 'x'), {
    maxLength: 12,
  });

  it('are counted, wherever the body is cut into chunks', () => {
    fc.assert(
      fc.property(fc.array(contents, { maxLength: 6 }), fc.array(fc.nat(200)), (values, cuts) => {
        // Other contents may have a delimiter in them, which is another body.
        const texts = values
          .map((value) => value.join(''))
          .filter((text) => !text.includes('--taskbridge-test-boundary'));
        const { body } = formOf(texts.map((text, n) => (n % 2 === 0 ? field(`f${n}`, text) : file(`f${n}`, text))));
        const count = new PartHeads('taskbridge-test-boundary');
        let at = 0;
        for (const length of cuts) {
          count.take(body.subarray(at, at + length));
          at += length;
        }
        count.take(body.subarray(at));
        expect([count.isExactly(texts.length), count.isExactly(texts.length + 1)]).toEqual([true, false]);
      }),
    );
  });

  it('have heads that say what busboy does not, wherever the body is cut', () => {
    const named = 'form-data; name="a"; filename=';
    const { body } = formOf([
      { value: 'x', disposition: `${named}"; filename*=UTF-8''a"` },
      { value: 'x', disposition: `${named}"a"; FileName*=UTF-8''a`, type: 'TEXT/plain; charset=utf-8' },
      { value: 'Content-Type: text/plain', disposition: `${named}"a"`, type: 'text/plainer' },
      { value: '', disposition: `form-data; name="a";\r\n filename*=UTF-8''a`, type: 'text/plain' },
    ]);
    for (const length of [1, 7, 64, body.length]) {
      const heads = new PartHeads('taskbridge-test-boundary');
      for (let at = 0; at < body.length; at += length) heads.take(body.subarray(at, at + length));
      expect([0, 1, 2, 3, 4].map((n) => heads.at(n))).toEqual([
        { saysText: false, hasExtendedName: false },
        { saysText: true, hasExtendedName: true },
        { saysText: false, hasExtendedName: false },
        { saysText: true, hasExtendedName: true },
        undefined,
      ]);
      expect(heads.isExactly(4)).toBe(true);
    }
  });

  it('are never exactly any number before the end, or when a delimiter is part of a line', () => {
    const { body } = formOf([field('a', 'b')]);
    const unfinished = new PartHeads('taskbridge-test-boundary');
    unfinished.take(body.subarray(0, -4));
    const odd = new PartHeads('taskbridge-test-boundary');
    odd.take(Buffer.from('--taskbridge-test-boundaryX\r\n\r\n--taskbridge-test-boundary--'));
    expect([unfinished, odd].map((count) => [0, 1, 2].map((n) => count.isExactly(n)))).toEqual(
      Array(2).fill([false, false, false]),
    );
  });
});
