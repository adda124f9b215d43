/** The tests of parts that most users do not need. They run where they are named, as in `npm run test:parts`, and in `npm run test:full`. */
const PARTS = ['test/client', 'test/console', 'test/python'];
const areWanted =
  process.env['FULL'] === '1' || process.argv.some((argument) => PARTS.some((part) => argument.includes(part)));

/** Jest on ES modules: TypeScript is compiled file by file by swc, types are checked by `npm run check`. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', ...(areWanted ? [] : PARTS.map((part) => `<rootDir>/${part}/`))],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', swcOptions()] },
  // Sources import './x.js', as Node wants it after the build; before the build the file is x.ts.
  moduleNameMapper: {
    '^(\\.{1,2}/.*)\\.js$': ['$1.js', '$1.ts'],
    '^#(protocol|handler)/(.*)\\.js$': '<rootDir>/packages/$1/src/$2.ts',
  },
  setupFiles: ['<rootDir>/test/support/load-nest.js'],
  globalSetup: '<rootDir>/test/support/global-setup.js',
  globalTeardown: '<rootDir>/test/support/global-teardown.js',
  reporters: ['default', '<rootDir>/test/support/closing-line-reporter.js'],
  // Two: tests start databases and services of their own, and the smallest machine this runs on has two cores.
  maxWorkers: 2,
  // Each file that loads the application leaves about 20 MB behind in its worker.
  workerIdleMemoryLimit: '512MB',
  testTimeout: 90_000,
  coverageProvider: 'v8',
  collectCoverageFrom: ['src/**/*.ts'],
};

/** The same semantics as tsconfig.json; Nest needs the decorator metadata. */
export function swcOptions() {
  return {
    jsc: {
      target: 'es2024',
      keepClassNames: true,
      parser: { syntax: 'typescript', decorators: true },
      transform: {
        legacyDecorator: true,
        decoratorMetadata: true,
        useDefineForClassFields: false,
        verbatimModuleSyntax: true,
      },
    },
  };
}
