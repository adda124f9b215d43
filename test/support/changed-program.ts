import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** One text of a file of the checkout in the place of another. */
export interface Change {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

/** The sources of the service as `npm run check:types` sees them, with changes that nobody writes to a disk. */
export class ChangedProgram {
  readonly #options: ts.CompilerOptions;
  readonly #files: readonly string[];
  #last: ts.Program | undefined;

  constructor() {
    const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
    const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root);
    this.#options = options;
    this.#files = fileNames;
  }

  /** What does not compile: by file, the messages. @throws when the file does not have `from` once */
  complaints(...changes: readonly Change[]): Readonly<Record<string, readonly string[]>> {
    const host = ts.createCompilerHost(this.#options);
    const { getSourceFile } = host;
    host.getSourceFile = (name, language, ...rest) => {
      const here = changes.filter(({ file }) => name === root + file);
      if (here.length > 0) return ts.createSourceFile(name, changed(ts.sys.readFile(name) ?? '', here), language);
      // Parsed once, for all programs.
      return this.#last?.getSourceFile(name) ?? getSourceFile(name, language, ...rest);
    };
    const program = ts.createProgram(this.#files, this.#options, host);
    if (changes.length === 0) this.#last = program;
    const found: Record<string, string[]> = {};
    for (const { file, messageText } of ts.getPreEmitDiagnostics(program)) {
      const name = file?.fileName.replace(root, '') ?? '';
      (found[name] ??= []).push(ts.flattenDiagnosticMessageText(messageText, '\n'));
    }
    return found;
  }

  /** The names that others can import from a file, of types too. */
  exportsOf(file: string): readonly string[] {
    const program = ts.createProgram(this.#files, this.#options);
    const checker = program.getTypeChecker();
    const source = program.getSourceFile(root + file);
    const module = source && checker.getSymbolAtLocation(source);
    return module === undefined ? [] : checker.getExportsOfModule(module).map(({ name }) => name);
  }
}

function changed(text: string, changes: readonly Change[]): string {
  return changes.reduce((made, { file, from, to }) => {
    if (made.split(from).length !== 2) throw new Error(`${file} does not have once: ${from}`);
    return made.replace(from, () => to);
  }, text);
}
