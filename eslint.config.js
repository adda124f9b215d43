import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** What a file must not contain, and why. The keys are for the exemptions below. */
const BANS = {
  environment: [
    {
      selector: "MemberExpression[object.name='process'][property.name='env']",
      message:
        'Only src/boot/config.ts reads the environment: there every setting is validated once, and reported by name. Take a config value instead.',
    },
    {
      selector: "ImportDeclaration[source.value=/^(node:)?process$/] ImportSpecifier[imported.name='env']",
      message: 'Only src/boot/config.ts reads the environment. Take a config value instead.',
    },
  ],
  wholeEnvironmentOnly: [
    {
      selector: "MemberExpression > MemberExpression.object[object.name='process'][property.name='env']",
      message: 'An entry point hands the environment to src/boot/config.ts and reads nothing from it.',
    },
  ],
  console: [
    {
      selector: "MemberExpression[object.name='console']",
      message:
        'Logs are JSON lines with a correlation id, made by the logger; only the entry points talk to a terminal.',
    },
  ],
  always: [
    {
      selector: 'MemberExpression[property.name=/^may(Read|Control)$/]',
      message:
        'Only src/tasks/demand-task.ts asks for the right to a task: it also judges how far a follow token reaches. Call demandTask.',
    },
    {
      selector: 'TSEnumDeclaration',
      message: 'An enum is a value that no JSON has and that cannot be erased. Use an `as const` object.',
    },
    {
      selector: ":matches(CallExpression[callee.name='forwardRef'], ImportSpecifier[imported.name='forwardRef'])",
      message: 'forwardRef hides a cycle. Turn the dependency around: a port, or a function that both use.',
    },
    {
      selector: "MemberExpression[object.name='Scope'][property.name='REQUEST']",
      message: 'Request scope rebuilds every provider above it for each request. Pass what a request knows as a value.',
    },
    {
      selector:
        ":matches(ImportDeclaration[importKind='type'], ImportDeclaration:has(ImportSpecifier[importKind='type']))[source.value=/\\.dto\\.js$/]",
      message: 'A DTO imported as a type compiles and is not validated: Nest sees Object. Import it as a value.',
    },
  ],
};

const ban = (...kinds) => ['error', ...kinds.flatMap((kind) => BANS[kind])];

/**
 * Nest finds what to inject, and what to validate, by the class that stands as the type of a parameter. Behind an
 * `import type` that class is gone, everything compiles, and injection breaks or validation is off.
 */
const injectedByValue = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      typeOnly:
        '{{name}} is injected or validated by its class, and `import type` takes the class away. Import it as a value.',
    },
  },
  create(context) {
    const typeOnly = new Set();
    const decoratorNames = (node) =>
      (node.decorators ?? []).map(({ expression }) => (expression.callee ?? expression).name);
    const check = (parameter) => {
      const target = parameter.type === 'TSParameterProperty' ? parameter.parameter : parameter;
      const type = (target.left ?? target).typeAnnotation?.typeAnnotation;
      if (type?.type !== 'TSTypeReference' || !typeOnly.has(type.typeName.name)) return;
      context.report({ node: type, messageId: 'typeOnly', data: { name: type.typeName.name } });
    };
    return {
      ImportDeclaration(node) {
        for (const specifier of node.specifiers) {
          if (node.importKind === 'type' || specifier.importKind === 'type') typeOnly.add(specifier.local.name);
        }
      },
      MethodDefinition(node) {
        if (node.kind === 'constructor' && decoratorNames(node.parent.parent).length > 0) {
          // With a decorator of its own a parameter has a token, and its type may be an interface.
          node.value.params.filter((parameter) => decoratorNames(parameter).length === 0).forEach(check);
        } else {
          const validated = new Set(['Body', 'Query', 'Param', 'MessageBody']);
          node.value.params
            .filter((parameter) => decoratorNames(parameter).some((name) => validated.has(name)))
            .forEach(check);
        }
      },
    };
  },
};

export default defineConfig(
  { ignores: ['**/dist/', '**/.next/', '**/next-env.d.ts', 'coverage/', 'node_modules/', '.taskbridge/', '.cache/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.{js,mjs,cjs,ts,tsx}'],
    extends: [tseslint.configs.recommended],
    rules: {
      // tsc answers this better, and knip finds unused exports.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', ignoreRestSiblings: true }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
  {
    // With types. No rule here may turn an import into `import type`: see injectedByValue.
    files: ['src/**/*.ts', 'test/**/*.ts', 'packages/*/src/**/*.{ts,tsx}'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-for-in-array': 'error',
      '@typescript-eslint/no-base-to-string': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
      '@typescript-eslint/restrict-plus-operands': 'error',
      '@typescript-eslint/return-await': ['error', 'in-try-catch'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { taskbridge: { rules: { 'injected-by-value': injectedByValue } } },
    rules: {
      'taskbridge/injected-by-value': 'error',
      'no-restricted-syntax': ban('always', 'environment', 'console'),
    },
  },
  {
    files: ['src/{main,migrate,repair,retention,rollback}.ts', 'src/boot/owner-command.ts'],
    rules: { 'no-restricted-syntax': ban('always', 'wholeEnvironmentOnly') },
  },
  { files: ['src/boot/config.ts'], rules: { 'no-restricted-syntax': ban('always', 'console') } },
  { files: ['**/*.cjs'], rules: { '@typescript-eslint/no-require-imports': 'off' } },
);
