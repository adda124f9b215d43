import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What the compiler knows of the names that the service logs. */
export interface LogCalls {
  /** Names of events that a call of a log, or of what logs for its caller, may be given. */
  readonly events: ReadonlySet<string>;
  /** Names of use-cases that an Observer may be given. */
  readonly useCases: ReadonlySet<string>;
  /** Classes, or files, that are given a name or make one of two parts. */
  readonly relays: ReadonlySet<string>;
}

/** The methods by the class or the interface that declares them, with the place of the name among the arguments. */
const CALLS: Readonly<Record<string, { readonly names: readonly number[]; readonly of: 'events' | 'useCases' }>> = {
  'Log.debug': { names: [1], of: 'events' },
  'Log.info': { names: [1], of: 'events' },
  'Log.warn': { names: [1], of: 'events' },
  'Log.error': { names: [1], of: 'events' },
  // pino's own, before there is a container: `info`, `warn` and so on are properties of this type.
  LogFn: { names: [1], of: 'events' },
  Trouble: { names: [1, 2], of: 'events' },
  'Observer.command': { names: [0], of: 'useCases' },
  'Observer.query': { names: [0], of: 'useCases' },
};

/** Reads the types of the arguments, so a name from a table counts as much as a literal. */
export function logCalls(): LogCalls {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile);
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const program = ts.createProgram(fileNames, options);
  const checker = program.getTypeChecker();
  const found = { events: new Set<string>(), useCases: new Set<string>(), relays: new Set<string>() };

  const take = (call: ts.CallExpression | ts.NewExpression) => {
    const signature = checker.getResolvedSignature(call);
    const rule = CALLS[nameOf(signature?.declaration)];
    if (rule === undefined) return;
    for (const name of rule.names.flatMap((place) => call.arguments?.[place] ?? [])) {
      const type = checker.getTypeAtLocation(name);
      const parts = type.isUnion() ? type.types : [type];
      for (const part of parts) {
        if (part.isStringLiteral()) found[rule.of].add(part.value);
        else found.relays.add(enclosing(name));
      }
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) take(node);
    ts.forEachChild(node, visit);
  };
  for (const file of program.getSourceFiles()) if (file.fileName.startsWith(`${root}src/`)) visit(file);
  return found;
}

function nameOf(declaration: ts.Node | undefined): string {
  if (declaration === undefined) return '';
  const { parent } = declaration;
  if (ts.isConstructorDeclaration(declaration)) return ts.isClassLike(parent) ? (parent.name?.text ?? '') : '';
  if (ts.isCallSignatureDeclaration(declaration)) return ts.isInterfaceDeclaration(parent) ? parent.name.text : '';
  const named = ts.isMethodDeclaration(declaration) && ts.isClassLike(parent) && ts.isIdentifier(declaration.name);
  return named ? `${parent.name?.text}.${(declaration.name as ts.Identifier).text}` : '';
}

function enclosing(node: ts.Node): string {
  const within = ts.findAncestor(node, (at) => ts.isClassDeclaration(at) || ts.isSourceFile(at));
  return within && ts.isClassDeclaration(within) ? (within.name?.text ?? '') : node.getSourceFile().fileName;
}
