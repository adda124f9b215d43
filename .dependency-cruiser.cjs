/**
 * The directions of imports. Each rule says why it exists; a rule that is in the way is changed here, in the open, with
 * its reason, never worked around.
 *
 *   domain <- store <- use-cases <- (delivery, execution, controllers) <- modules <- boot, main
 *   auth <- ownership <- uploads <- tasks
 */

/** What every folder may import: what it is configured with, what an error and a deadline are, what JSON is, and how to be observed. */
const EVERYWHERE = [
  '^src/(taskbridge-error|deadline)\\.ts$',
  '\\.config\\.ts$',
  '^src/http/(http\\.errors|strict-json|canonical-json|json-text)\\.ts$',
  '^src/observability/',
  // What a module asks when it decides whether its default stands; hosted-is-for-modules keeps it to modules.
  '^src/hosted\\.ts$',
];

/** Use-cases publish and hand over through these two ports; nothing else of delivery and execution is known to them. */
const TASK_PORTS = ['^src/delivery/live-log\\.ts$', '^src/execution/task-executor\\.ts$'];

/** Files with the suffix of a Nest role are the HTTP side of src/tasks; the others directly in it are its use-cases. */
const NEST_ROLES = '^src/tasks/[^/]+\\.(module|controller|decorator|pipe|guard|interceptor)\\.ts$';
const USE_CASES = '^src/tasks/(?![^/]+\\.(module|controller|decorator|pipe|guard|interceptor)\\.ts$)[^/]+\\.ts$';

/** Where the graph begins: entry points (of a thread, too), the list of modules, what a host module imports as `taskbridge`. */
const ROOTS =
  '^(src/(main|migrate|repair|retention|app\\.module|host-api|telemetry/register|http/json-thread-entry)|packages/worker/src/worker-api|packages/conformance/src/cli)\\.ts$';

const withinSrc = (name, comment, from, allowed) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^src/', pathNot: [...EVERYWHERE, ...allowed] },
});

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment:
        'Circular class imports crash at start (a decorator reads a class that is not there yet) and hide who knows whom.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-orphans',
      comment: 'A file that nothing reaches is dead, or not wired: both are mistakes.',
      severity: 'error',
      from: {
        orphan: true,
        path: '^(src|test|packages)/',
        // Jest loads the .js files of test/support by their names.
        pathNot: [ROOTS, '\\.test\\.ts$', '^test/support/[^/]+\\.js$'],
      },
      to: {},
    },
    {
      name: 'no-barrels',
      comment:
        'An index.ts makes every file behind it one node of the graph: cycles appear, and directions cannot be checked.',
      severity: 'error',
      from: {},
      to: { path: '/index\\.ts$', pathNot: 'node_modules' },
    },
    {
      name: 'resolvable',
      comment: 'An import that leads nowhere fails at start, not at build.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'src-never-imports-test',
      comment: 'The build contains src only; what tests need is of no use to a service.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|examples|bench)/' },
    },
    {
      name: 'protocol-imports-nothing',
      comment: 'The language of the wire is spoken in browsers, workers and the service alike.',
      severity: 'error',
      from: { path: '^packages/protocol/src/' },
      to: { pathNot: '^packages/protocol/src/' },
    },
    {
      name: 'runner-knows-its-port',
      comment: 'It runs in the service and in workers. What differs between the two is behind LeaseHolder.',
      severity: 'error',
      from: { path: '^packages/handler/src/' },
      to: { pathNot: '^packages/(handler|protocol)/src/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'runner-is-for-execution',
      comment: 'A run of a handler is one lease holder of two; all others see its events only.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/execution/', '^src/(host-api|boot/host-ports)\\.ts$'] },
      to: { path: '^packages/handler/' },
    },
    {
      name: 'worker-sdk-stands-alone',
      comment: 'It is installed without the service: what it needs is compiled into it, or is in Node.',
      severity: 'error',
      from: { path: '^packages/worker/src/' },
      to: { pathNot: '^packages/(worker|handler|protocol)/src/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'conformance-kit-stands-alone',
      comment:
        'It checks any implementation from outside: knowledge that it shared with this one would hide its faults.',
      severity: 'error',
      from: { path: '^packages/conformance/src/' },
      to: {
        pathNot: ['^packages/conformance/src/', '^(packages/conformance/)?node_modules/(@types/)?ws/'],
        dependencyTypesNot: ['core'],
      },
    },
    {
      name: 'no-development-packages-in-src',
      comment: 'The image is installed without development packages: such an import would fail there and nowhere else.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'domain-is-pure',
      comment:
        'The rules of a task are decided without a database, a framework or a clock; so they can be tested exhaustively.',
      severity: 'error',
      from: { path: '^src/tasks/domain/' },
      // What JSON is, where it is not walked, needs nothing of the kind either.
      to: {
        pathNot: [
          '^src/tasks/domain/',
          '^packages/protocol/src/',
          '^src/taskbridge-error\\.ts$',
          '^src/http/json-text\\.ts$',
        ],
      },
    },
    withinSrc(
      'store-knows-domain-and-database',
      'SQL statements obey the domain and know nothing of who asked.',
      '^src/tasks/store/',
      // The shape in which a stored event leaves the store is shared with its readers.
      ['^src/tasks/(store|domain)/', '^src/tasks/stored-event\\.ts$', '^src/database/'],
    ),
    withinSrc(
      'use-cases-know-no-transport',
      'A use-case serves WebSocket, HTTP, inline handlers and workers alike: it knows ports, store and domain, no DTO.',
      USE_CASES,
      [USE_CASES, '^src/tasks/(store|domain)/', '^src/(database|auth|ownership|uploads)/', ...TASK_PORTS],
    ),
    withinSrc(
      'tasks-know-two-ports-of-delivery-and-execution',
      'Delivery and execution are built on tasks; the way back is LiveLog and TaskExecutor, the two abstract ports.',
      NEST_ROLES,
      ['^src/tasks/', '^src/(database|auth|ownership|uploads|http)/', ...TASK_PORTS],
    ),
    withinSrc(
      'dto-is-a-shape',
      'A DTO says what a body looks like; it may take its words from what is stored, and decides nothing.',
      '^src/tasks/dto/',
      ['^src/tasks/(dto|domain|store)/', '^src/http/'],
    ),
    withinSrc('auth-stands-alone', 'Who is asking is known before anything else is.', '^src/auth/', [
      '^src/(auth|http)/',
    ]),
    withinSrc(
      'ownership-knows-auth',
      'May this actor: asked of an AuthContext, not of a task store.',
      '^src/ownership/',
      ['^src/(ownership|auth)/'],
    ),
    withinSrc(
      'uploads-know-ownership-and-auth',
      'Attachments are decided on before there is a task.',
      '^src/uploads/',
      ['^src/(uploads|ownership|auth|database|http)/'],
    ),
    withinSrc('database-knows-no-tasks', 'Pool, roles and migrations serve whatever is stored.', '^src/database/', [
      '^src/database/',
    ]),
    withinSrc('http-is-an-edge', 'Filters and parsers work for every route, so they know none.', '^src/http/', [
      '^src/http/',
      // A foreign origin is refused as a principal is, the proxy's word on the scheme counts with its proof, and probes are answered
      // whatever they accept.
      '^src/auth/(auth\\.errors|proxy-proof|public\\.decorator)\\.ts$',
    ]),
    withinSrc(
      'observability-knows-nobody',
      'It is imported everywhere; whatever it imported, everybody would depend on.',
      '^src/observability/',
      ['^src/auth/(auth-context|public\\.decorator)\\.ts$'],
    ),
    withinSrc(
      'delivery-is-not-execution',
      'Readers follow the log, for every writer; delivery never learns how a task runs.',
      '^src/delivery/',
      ['^src/(delivery|tasks|auth|ownership|database|http)/'],
    ),
    withinSrc(
      'execution-is-not-delivery',
      'Executors write through use-cases and never speak to a reader.',
      '^src/execution/',
      ['^src/(execution|tasks|auth|ownership|uploads|database|http)/', ...TASK_PORTS],
    ),
    {
      name: 'boot-and-health-are-the-top',
      comment: 'They see everything, so nobody may see them: configuration is handed down as a value, never fetched.',
      severity: 'error',
      from: { path: '^src/', pathNot: [ROOTS, '^src/(boot|health)/'] },
      to: { path: '^src/(boot|health)/' },
    },
    {
      name: 'hosted-is-for-modules',
      comment: 'Which default stands is decided where providers are listed, and nowhere else.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['\\.module\\.ts$', ROOTS, '^src/boot/'] },
      to: { path: '^src/hosted\\.ts$' },
    },
    {
      name: 'roots-are-not-imported',
      comment: 'Entry points do something when they are imported; app.module and host-api are lists for the outside.',
      severity: 'error',
      from: { path: '^src/', pathNot: [ROOTS, '^src/boot/'] },
      to: { path: ROOTS },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|coverage|\\.taskbridge)/' },
    // Types too: an `import type` from the wrong side is the same knowledge.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'test/tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['taskbridge-source', 'import', 'require', 'node', 'default', 'types'],
    },
    skipAnalysisNotInRules: true,
  },
};
