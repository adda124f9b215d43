/**
 * The directions of imports. Each rule says why it exists; a rule that is in the way is changed here, in the open, with
 * its reason, never worked around. Rooms from the lowest to the highest:
 *
 *   json, auth < observability < database, http < replicas < ownership < uploads < tasks < follow-tokens, schedules, bulk, console, live-log, following < streaming
 *   < execution < health < system < app.module < boot < main
 *
 * Within tasks: domain < store, ports < use-cases < http. A module wires its room, and so may import all of it.
 */

/** What every room above may import: what an error, a deadline, a round and a drain are, what JSON is, and how to be observed. */
const EVERYWHERE = [
  '^src/(build|errors|deadline|rounds|drain-state)\\.ts$',
  '^src/json/',
  '^src/observability/',
  // What a module asks when it decides whether its default stands; hosted-is-for-modules keeps it to modules.
  '^src/hosted\\.ts$',
];

const USE_CASES = '^src/tasks/(?!tasks\\.module)[^/]+\\.ts$';

/** Where the graph begins: entry points (of a thread, too), the list of modules, what a host module imports as `taskbridge`. */
const ROOTS =
  '^(src/(main|migrate|repair|retention|rollback|app\\.module|host-api|telemetry/register|json/json-thread-entry)|packages/worker/src/worker-api|packages/conformance/src/cli|packages/client/src/client-api)\\.ts$';

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
      comment:
        'A run of a handler is one lease holder of two; all others see its events only. Who catches what foreign code throws shares one look at it.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/execution/', '^src/(host-api|boot/host-ports)\\.ts$'] },
      to: { path: '^packages/handler/', pathNot: '^packages/handler/src/tangible\\.ts$' },
    },
    {
      name: 'worker-sdk-stands-alone',
      comment: 'It is installed without the service: what it needs is compiled into it, or is in Node.',
      severity: 'error',
      from: { path: '^packages/worker/src/' },
      to: { pathNot: '^packages/(worker|handler|protocol)/src/', dependencyTypesNot: ['core'] },
    },
    {
      name: 'client-stands-alone',
      comment: 'It runs in browsers, without a dependency: of the protocol it has types, and the fold of output.',
      severity: 'error',
      from: { path: '^packages/client/src/' },
      to: { pathNot: '^packages/(client|protocol)/src/' },
    },
    {
      name: 'client-loads-little',
      comment: 'What it loads of the protocol counts in each page: the tables are many times its size.',
      severity: 'error',
      from: { path: '^packages/client/src/' },
      to: {
        path: '^packages/protocol/src/',
        pathNot: '^packages/protocol/src/output-fold\\.ts$',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'conformance-kit-stands-alone',
      comment:
        'It checks any implementation from outside: it has the words and numbers of the wire from the table, and nothing of this service.',
      severity: 'error',
      from: { path: '^packages/conformance/src/' },
      to: {
        pathNot: ['^packages/(conformance|protocol)/src/', '^(packages/conformance/)?node_modules/(@types/)?ws/'],
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
      name: 'what-is-for-everybody-knows-nobody',
      comment: 'Every room imports these: an import of theirs would be one of every room.',
      severity: 'error',
      from: { path: '^src/(errors|deadline|rounds|drain-state|hosted)\\.ts$' },
      to: { path: '^src/' },
    },
    {
      name: 'json-knows-errors-only',
      comment: 'The domain, the edge and a thread read JSON; the thread loads nothing else.',
      severity: 'error',
      from: { path: '^src/json/' },
      to: { path: '^src/', pathNot: ['^src/json/', '^src/errors\\.ts$'] },
    },
    {
      name: 'domain-is-pure',
      comment:
        'The rules of a task are decided without a database, a framework or a clock; so they can be tested exhaustively.',
      severity: 'error',
      from: { path: '^src/tasks/domain/' },
      // What JSON is, where it is not walked, needs nothing of the kind either.
      to: {
        pathNot: ['^src/tasks/domain/', '^packages/protocol/src/', '^src/errors\\.ts$', '^src/json/json-text\\.ts$'],
      },
    },
    withinSrc(
      'store-knows-domain-and-database',
      'SQL statements obey the domain and know nothing of who asked.',
      '^src/tasks/store/',
      ['^src/tasks/(store|domain)/', '^src/database/[^/]+\\.ts$'],
    ),
    withinSrc(
      'ports-know-the-domain',
      'What brings events to readers, and tasks to executors, is behind these two: use-cases call them, higher rooms provide them.',
      '^src/tasks/ports/',
      ['^src/tasks/(ports|domain)/'],
    ),
    withinSrc(
      'use-cases-know-no-transport',
      'A use-case serves WebSocket, HTTP, inline handlers and workers alike: it knows ports, store and domain, no DTO; and what all replicas know.',
      USE_CASES,
      [
        USE_CASES,
        // What a policy may say, and what a schema may cost.
        '^src/tasks/(store|domain|ports|policies)/',
        '^src/database/[^/]+\\.ts$',
        '^src/(auth|ownership|uploads)/',
        '^src/replicas/live-replicas\\.ts$',
      ],
    ),
    withinSrc(
      'routes-know-use-cases',
      'A route of tasks calls a use-case; who follows a task, or runs it, is a matter of higher rooms.',
      '^src/tasks/(http/|tasks\\.module)',
      ['^src/(tasks|auth|ownership|uploads|http)/'],
    ),
    withinSrc(
      'dto-is-a-shape',
      'A DTO says what a body looks like; it may take its words from what is stored, and decides nothing.',
      '^src/tasks/http/dto/',
      // What the id of a principal looks like.
      ['^src/tasks/(http/dto|domain|store)/', '^src/http/', '^src/auth/auth-context\\.ts$'],
    ),
    {
      name: 'auth-stands-alone',
      comment: 'Who is asking is known before anything else is; log lines name the caller, so logging is above.',
      severity: 'error',
      from: { path: '^src/auth/' },
      to: { path: '^src/', pathNot: ['^src/auth/', '^src/(errors|hosted)\\.ts$'] },
    },
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
      ['^src/(uploads|ownership|auth|http)/', '^src/database/[^/]+\\.ts$'],
    ),
    withinSrc('database-knows-no-tasks', 'Pool, roles and migrations serve whatever is stored.', '^src/database/', [
      '^src/database/',
    ]),
    {
      name: 'connections-know-no-schema',
      comment:
        'A connection is the same for embedded PostgreSQL, for migrations and for the check of roles, which stand on it.',
      severity: 'error',
      from: { path: '^src/database/[^/]+\\.ts$' },
      to: { path: '^src/database/[^/]+/' },
    },
    {
      name: 'rooms-of-the-database-are-apart',
      comment:
        'Starting a server, changing a schema and judging a role are three jobs; main and boot put them in order.',
      severity: 'error',
      from: { path: '^src/database/([^/]+)/' },
      to: { path: '^src/database/[^/]+/', pathNot: '^src/database/$1/' },
    },
    withinSrc('http-is-an-edge', 'Filters and parsers work for every route, so they know none.', '^src/http/', [
      '^src/http/',
      // A foreign origin is refused as a principal is, the proxy's word on the scheme counts with its proof, and probes are answered
      // whatever they accept.
      '^src/auth/(auth\\.errors|proxy-proof|route\\.decorators)\\.ts$',
    ]),
    {
      name: 'observability-knows-nobody',
      comment: 'It is imported everywhere; whatever it imported, everybody would depend on.',
      severity: 'error',
      from: { path: '^src/observability/' },
      to: {
        path: '^src/',
        pathNot: [
          '^src/observability/',
          '^src/(errors|deadline|hosted)\\.ts$',
          '^src/auth/(auth-context|route\\.decorators)\\.ts$',
        ],
      },
    },
    withinSrc('replicas-know-no-task', 'Which builds serve is the same whatever they serve.', '^src/replicas/', [
      '^src/(replicas|auth|http)/',
      '^src/database/[^/]+\\.ts$',
    ]),
    withinSrc(
      'follow-tokens-are-minted-apart',
      'auth judges a token, and streams read with it: minting needs tasks and their owners, and no stream.',
      '^src/follow-tokens/',
      [
        '^src/(follow-tokens|auth|http|ownership)/',
        '^src/tasks/(domain|store)/',
        '^src/tasks/demand-task\\.ts$',
        '^src/database/[^/]+\\.ts$',
      ],
    ),
    withinSrc(
      'bulks-are-many-requests',
      'A bulk is many requests of one principal: it needs the use-cases of one.',
      '^src/bulk/',
      ['^src/(bulk|auth|http)/', '^src/tasks/', '^src/database/[^/]+\\.ts$'],
    ),
    withinSrc(
      'the-console-is-files',
      'The console uses the public API, as every client does: the service only sends its files.',
      '^src/console/',
      ['^src/(console|auth|http)/'],
    ),
    withinSrc(
      'schedules-make-tasks-alone',
      'A schedule is a caller that comes by the clock: it needs what a create needs, and no executor and no stream.',
      '^src/schedules/',
      [
        '^src/(schedules|auth|http|ownership)/',
        '^src/tasks/',
        '^src/uploads/owned-bytes\\.ts$',
        '^src/database/[^/]+\\.ts$',
      ],
    ),
    withinSrc(
      'live-log-knows-its-port',
      'It carries committed events between replicas, and knows neither who wrote them nor who reads them.',
      '^src/live-log/',
      ['^src/live-log/', '^src/tasks/(ports|domain)/'],
    ),
    withinSrc(
      'following-knows-no-transport',
      'A subscription is the same over every transport, and over every live log: it knows the log of a task, its text and the port.',
      '^src/following/',
      [
        '^src/following/',
        '^src/tasks/(domain|store|ports)/',
        // The one place where a right to a task is judged.
        '^src/tasks/demand-task\\.ts$',
        // And the one where it is judged whose tasks a caller may see.
        '^src/tasks/scope-for\\.ts$',
        '^src/tasks/read-output\\.ts$',
        '^src/tasks/(task-policies|waiting-for)\\.ts$',
        '^src/tasks/tasks\\.config\\.ts$',
        '^src/(auth|ownership|replicas)/',
        '^src/database/[^/]+\\.ts$',
      ],
    ),
    withinSrc(
      'streaming-is-not-execution',
      'Readers follow the log, for every writer, and may begin with a snapshot; streams never learn how a task runs, and which live log there is.',
      '^src/streaming/(?!streaming\\.module)',
      [
        '^src/(streaming|following|auth|http)/',
        '^src/tasks/(domain|store)/',
        // A task has one form, in a snapshot, a list and a feed.
        '^src/tasks/http/dto/task-snapshot\\.ts$',
        // A feed and a list say in the same words whose tasks they show.
        '^src/tasks/http/dto/scope\\.dto\\.ts$',
        '^src/database/[^/]+\\.ts$',
      ],
    ),
    {
      name: 'streams-know-no-web-socket',
      comment:
        'Feeds, caps and the drain are the same for all transports; what a client may say on a WebSocket is on top.',
      severity: 'error',
      from: { path: '^src/streaming/(?!streaming\\.module)[^/]+\\.ts$' },
      to: { path: '^src/streaming/[^/]+/' },
    },
    withinSrc(
      'execution-is-not-streaming',
      'Executors write through use-cases and never speak to a reader.',
      '^src/execution/',
      [
        '^src/execution/',
        '^src/tasks/(?!http/)',
        // A worker gets inputs in the shape in which clients send them.
        '^src/tasks/http/dto/',
        '^src/(auth|uploads|http|replicas)/',
        '^src/database/[^/]+\\.ts$',
      ],
    ),
    {
      name: 'executors-are-apart',
      comment: 'Inline and remote workers share claims and appends, and neither may lean on the other.',
      severity: 'error',
      from: { path: '^src/execution/([^/]+)/' },
      to: { path: '^src/execution/[^/]+/', pathNot: '^src/execution/$1/' },
    },
    {
      name: 'execution-knows-no-executor',
      comment: 'What executors share, and the reaper that ends what they lost, is the same for all of them.',
      severity: 'error',
      from: { path: '^src/execution/(?!execution\\.module)[^/]+\\.ts$' },
      to: { path: '^src/execution/[^/]+/' },
    },
    withinSrc(
      'system-looks-into-rooms',
      'What operators see of an installation is in every room below; who runs a task is none of it.',
      '^src/system/',
      [
        '^src/(system|auth|http|replicas|health)/',
        '^src/streaming/[^/]+\\.ts$',
        '^src/tasks/(?!http/)',
        '^src/database/[^/]+\\.ts$',
      ],
    ),
    {
      name: 'health-is-asked-by-the-top',
      comment: 'Its probes look into every room, so no room may look at them.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/(app\\.module|host-api)\\.ts$', '^src/(boot|health|system)/'] },
      to: { path: '^src/health/' },
    },
    {
      name: 'boot-is-the-top',
      comment:
        'It sees everything, so only what is started by hand may see it: configuration is handed down as a value, never fetched.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot: ['^src/(main|migrate|repair|retention|rollback|telemetry/register)\\.ts$', '^src/boot/'],
      },
      to: { path: '^src/boot/' },
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
