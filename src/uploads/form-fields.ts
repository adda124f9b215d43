import { PayloadTooLarge, RequestValidationError } from '../errors.js';
import { checkedText } from '../json/json-body.js';
import type { JsonText } from '../json/json-text.js';
import { UploadInvalid } from './uploads.errors.js';

/** The names that a form may have. */
export interface FormLayout {
  /** Fields read as text. */
  readonly text: readonly string[];
  /** Fields read as a number in decimal digits; other text stays text, and the route refuses it. */
  readonly numbers: readonly string[];
  /** Fields read as JSON text. */
  readonly json: readonly string[];
  /** Names of files, any number of each. */
  readonly files: readonly string[];
}

/** The character by which busboy replaces bytes that are not UTF-8: two fields could become equal. */
const REPLACEMENT = '\ufffd';

/** The parts of a form that are no files. A DTO validates the fields; this class only reads them. */
export class FormFields {
  /** Undefined while the text is being read. */
  readonly #values = new Map<string, string | number | JsonText | undefined>();
  #bytes = 0;

  constructor(
    private readonly layout: FormLayout,
    private readonly maxBytes: number,
  ) {}

  /** Resolves when the field is read. @throws UploadInvalid, PayloadTooLarge, MalformedJson, RequestValidationError, ServiceUnavailable */
  async take(name: string, text: string): Promise<void> {
    const { json, files, numbers } = this.layout;
    if (files.includes(name)) throw new UploadInvalid('An attachment needs a file name.');
    this.demandKnown(name);
    if (this.#values.has(name)) throw new UploadInvalid('A field is given more than once.');
    if (text.includes(REPLACEMENT)) throw new UploadInvalid('A field is not UTF-8. U+FFFD is written as an escape.');
    this.#bytes += Buffer.byteLength(text);
    if (this.#bytes > this.maxBytes) throw new PayloadTooLarge(this.maxBytes, 'The fields are too large');
    if (numbers.includes(name)) return void this.#values.set(name, /^\d{1,15}$/.test(text) ? Number(text) : text);
    if (!json.includes(name)) return void this.#values.set(name, text);
    this.#values.set(name, undefined);
    this.#values.set(name, await checkedText(text));
  }

  /** @throws UploadInvalid, RequestValidationError */
  takeFile(name: string, filename: string | undefined): void {
    if (this.layout.files.includes(name)) {
      // Browsers send such a part when the user chose no file.
      if (filename === undefined) throw new UploadInvalid('An attachment needs a file name.');
      return;
    }
    this.demandKnown(name);
    throw new UploadInvalid('A field that is no attachment must not be a file.');
  }

  get values(): Readonly<Record<string, string | number | JsonText | undefined>> {
    return Object.fromEntries(this.#values);
  }

  /** Refused like an unknown member of a JSON body. No other name passes, `__proto__` included. */
  private demandKnown(name: string): void {
    const { text, numbers, json } = this.layout;
    if ([text, numbers, json].some((names) => names.includes(name))) return;
    throw new RequestValidationError([{ path: name.slice(0, 64), message: 'is not a known member' }]);
  }
}
