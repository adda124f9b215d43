import type { Check, Clause } from './clause.js';
import type { Need } from './installation.js';
import * as answering from './checks/answering.js';
import { orderOfJudgements } from './checks/action-order.js';
import * as browsers from './checks/browsers.js';
import * as bulks from './checks/bulks.js';
import * as callers from './checks/callers.js';
import * as changes from './checks/changes.js';
import * as cancelling from './checks/cancelling.js';
import * as creating from './checks/creating.js';
import * as cursors from './checks/cursors.js';
import * as erasing from './checks/erasing.js';
import * as errors from './checks/errors.js';
import * as events from './checks/events.js';
import * as sse from './checks/event-streams.js';
import * as features from './checks/features.js';
import * as files from './checks/files.js';
import * as following from './checks/following.js';
import * as followTokens from './checks/follow-tokens.js';
import * as http from './checks/http.js';
import * as late from './checks/joining-late.js';
import * as leases from './checks/leases.js';
import * as limits from './checks/limits.js';
import * as lists from './checks/lists.js';
import * as age from './checks/maximal-age.js';
import * as multiplex from './checks/multiplexing.js';
import * as operators from './checks/operators.js';
import * as paging from './checks/paging.js';
import * as pollEnd from './checks/poll-at-the-end.js';
import * as again from './checks/running-again.js';
import * as schedules from './checks/schedules.js';
import * as snapshots from './checks/snapshots.js';
import * as spellings from './checks/spellings.js';
import * as steps from './checks/steps.js';
import * as additions from './checks/worker-additions.js';
import * as sockets from './checks/web-sockets.js';

type Row =
  | readonly [id: string, sentence: string, needs: readonly Need[], check: Check, waitsSeconds?: number]
  /** A clause that cannot be checked from outside, with the reason. */
  | readonly [id: string, sentence: string, reason: string];

const PROTOCOL = 'PROTOCOL.md';
const WORKERS = 'docs/workers.md';

const TASK: readonly Need[] = ['task'];
const WORKER: readonly Need[] = ['worker'];
const NOTHING: readonly Need[] = [];
const TOKENS: readonly Need[] = ['worker', 'follow-tokens'];

/** Every clause that is checked, in the order of the documents. */
export const CLAUSES: readonly Clause[] = [
  ...under(PROTOCOL, 'Words', [
    ['words.start', 'No cursor, an empty cursor and `"0"` mean "from the start".', TASK, cursors.startCursors],
  ]),
  ...under(PROTOCOL, 'Promises', [
    [
      'promises.durable',
      'What the service answered with 2xx is durable.',
      'it takes a kill of the service and of its PostgreSQL, which the tests of TaskBridge do',
    ],
    ['promises.ids', 'The ids of a task have no hole', WORKER, following.idsAreDense],
    ['promises.content-stays', 'An id never changes its content', WORKER, following.contentStays],
    [
      'promises.same-bytes',
      'An id never changes its content: live or replayed, on every transport and replica, the bytes of an event are the same.',
      WORKER,
      following.sameBytes,
    ],
    ...(['sse', 'websocket', 'multiplex', 'poll'] as const).flatMap((transport): Row[] => [
      [
        `${transport}.every-event`,
        'A client gets every event after its cursor, in order.',
        WORKER,
        following.everyEvent(transport),
      ],
      [`${transport}.once`, 'Within one connection it gets each event once.', WORKER, following.eachOnce(transport)],
      [
        `${transport}.resume`,
        'After a reconnect it gets exactly the events after the cursor that it sends.',
        WORKER,
        following.fromTheCursor(transport),
      ],
      [`${transport}.end`, 'Then every stream on the task ends', WORKER, following.endsAfterTheLast(transport)],
    ]),
    ['promises.only-stored', 'The service delivers only stored events.', WORKER, following.onlyWhatIsStored],
    [
      'promises.one-terminal',
      'A task that is over has one terminal event (`TASK_COMPLETED`, `TASK_FAILED` or `TASK_CANCELLED`), and it is the last event.',
      WORKER,
      following.oneTerminalEvent,
    ],
    ['promises.end-is-one-step', 'The service commits it together with the status.', WORKER, following.endIsOneStep],
    ['sse.cursor-malformed', 'The service checks every cursor and ignores none.', TASK, cursors.sseMalformed],
    ['sse.cursor-ahead', 'It does not start over on its own.', TASK, cursors.sseAhead],
    ['multiplex.cursor', 'The service checks every cursor and ignores none.', TASK, cursors.multiplexCursors],
    ['poll.cursor-malformed', 'The service checks every cursor and ignores none.', TASK, cursors.pollMalformed],
    ['poll.cursor-ahead', 'It does not start over on its own.', TASK, cursors.pollAhead],
  ]),
  ...under(PROTOCOL, 'Events', [
    ['events.members', 'An event is a JSON object of five members:', WORKER, events.fiveMembers],
    ['events.created-at', '`createdAt` is the clock of the database, UTC, in milliseconds.', WORKER, events.createdAt],
    ['events.payloads', 'Members with `?` may be absent, and are never `null`', WORKER, events.payloads],
    [
      'events.first',
      'The first event is `TASK_STARTED`, or a terminal event when the task never ran.',
      WORKER,
      events.firstEvent,
    ],
    [
      'events.supersedes',
      'In any event it voids progress and output with an id greater than `supersedesAfterEventId`.',
      WORKER,
      events.supersedes,
    ],
    [
      'events.not-before',
      '`notBefore` | The next attempt begins then or later, by the clock of the database.',
      WORKER,
      events.notBefore,
    ],
    [
      'events.line-ends',
      'U+0085, U+2028 and U+2029 are escapes in the text of an event',
      WORKER,
      events.withoutLineEnds,
    ],
    ['events.released', '`released` | The executor handed the task back', WORKER, events.releasedReason],
    ['events.suspended-runs', 'The status stays `RUNNING`.', WORKER, events.suspendedRuns],
  ]),
  ...under(PROTOCOL, 'Steps', [
    ['steps.once', 'A step is finished once in the life of its task.', WORKER, steps.finishedOnce],
    ['steps.boundary', 'Its `supersedesAfterEventId` is the boundary.', WORKER, steps.boundary],
    ['steps.retrying', 'The attempt tries the body of a step again.', WORKER, steps.retrying],
    [
      'steps.resumed',
      'It follows `TASK_ACTION_ACCEPTED` where progress or output lies after the boundary',
      WORKER,
      steps.resumed,
    ],
  ]),
  ...under(PROTOCOL, 'Who is calling', [
    [
      'callers.foreign-read',
      'The answer is the one for an id that was never given out, byte for byte.',
      ['task', 'other-principal'],
      callers.foreignIsAbsent,
    ],
    [
      'callers.foreign-control',
      'A policy may let a principal see a task and not control it: then cancelling and answering get that answer.',
      ['task', 'other-principal'],
      callers.foreignIsNotControlled,
    ],
    [
      'callers.foreign-websocket',
      'A task that a principal may not see does not exist for it',
      ['task', 'other-principal'],
      callers.foreignByWebSocket,
    ],
    [
      'callers.foreign-multiplex',
      'A task that a principal may not see does not exist for it',
      ['task', 'other-principal'],
      callers.foreignByMultiplex,
    ],
    [
      'callers.scopes',
      '`tasks:read` | read | | `tasks:write` | create, cancel, answer, run again, schedule | | `tasks:upload` | attach files | | `tasks:admin` | read tasks of others',
      'how credentials carry scopes is a matter of the deployment',
    ],
  ]),
  ...under(PROTOCOL, 'Follow tokens', [
    ['follow-tokens.shape', 'A token is up to 4 096 characters long.', TOKENS, followTokens.shape],
    [
      'follow-tokens.of-others',
      'It has no power over tasks of others',
      [...TOKENS, 'other-principal'],
      followTokens.ofOthers,
    ],
    ['follow-tokens.header', 'any | `Authorization: Bearer <token>`', TOKENS, followTokens.byHeader],
    ['follow-tokens.subprotocol', 'The service selects one of the latter two.', TOKENS, followTokens.bySubprotocol],
    [
      'follow-tokens.query',
      'the query parameter `token` of `GET /tasks/{taskId}/events/stream`',
      TOKENS,
      followTokens.byQuery,
    ],
    ['follow-tokens.query-elsewhere', 'No other route takes it.', TOKENS, followTokens.notByQuery],
    [
      'follow-tokens.forged',
      'The token is forged, cut, over or revoked, or there are two. | 401 `AUTHENTICATION_ERROR`',
      TOKENS,
      followTokens.forged,
    ],
    [
      'follow-tokens.two-principals',
      'The request also has valid credentials of another principal, or those of a worker. | 401 `AUTHENTICATION_ERROR`',
      [...TOKENS, 'other-principal'],
      followTokens.twoPrincipals,
    ],
    [
      'follow-tokens.another-task',
      'The token is for another task. | 404 `TASK_NOT_FOUND`, 4404',
      TOKENS,
      followTokens.anotherTask,
    ],
    [
      'follow-tokens.rights',
      '`may` lacks the right, or the token opens no such route. | 403 `ACCESS_DENIED`',
      TOKENS,
      followTokens.rights,
    ],
    [
      'follow-tokens.revoked',
      'Every replica refuses them within 2 s, and ends their streams.',
      TOKENS,
      followTokens.revoked,
    ],
  ]),
  ...under(PROTOCOL, 'Credentials that end', [
    ['credentials.ended', 'Nothing is read with them after that moment.', TOKENS, followTokens.ended],
    ['credentials.renewed', 'Every subscription goes on, and no event is missed.', TOKENS, followTokens.renewed],
  ]),
  ...under(PROTOCOL, 'HTTP', [
    ['http.correlation-id', 'Every answer has `X-Correlation-Id`', NOTHING, http.correlationId],
    [
      'http.traceparent',
      'The service continues a valid W3C `traceparent` header. The header then decides the correlation id.',
      NOTHING,
      http.traceparent,
    ],
    [
      'http.strict-query',
      'A parameter that the route does not know, or that the request gives twice, is refused with 400.',
      NOTHING,
      http.strictQuery,
    ],
    [
      'http.task-id',
      'Upper and lower case name the same task, also in frames of a WebSocket.',
      TASK,
      spellings.upperCaseInPaths,
    ],
    ['http.task-id-in-frames', 'Answers have the lower case.', TASK, spellings.upperCaseInFrames],
  ]),
  ...under(PROTOCOL, 'Version and features: `GET /api/v1`', [
    ['features.list', '`features` | What all live replicas know', [], features.service],
    [
      'features.workers',
      "`GET /worker/v1` answers the same to a worker's token.",
      ['worker'],
      features.serviceForWorkers,
    ],
  ]),
  ...under(PROTOCOL, 'Create: `POST /tasks`', [
    ['create.created', 'HTTP/1.1 201 Created', TASK, creating.created],
    ['create.task-id', '`taskId` is a UUID of version 7.', TASK, creating.taskId],
    [
      'create.repeated',
      'the same type, input and files | **200**, `Idempotent-Replayed: true`, `"deduplicated":true`',
      TASK,
      creating.repeated,
    ],
    [
      'create.empty-input',
      '`input?` | An object for the handler. Absent and `{}` are the same.',
      TASK,
      creating.emptyInput,
    ],
    ['create.repeated-status', 'and the present status of the task', WORKER, creating.repeatedStatus],
    ['create.canonical', 'The order of members and the spelling of numbers do not matter.', TASK, creating.canonical],
    [
      'create.concurrent',
      'The owner and `clientRequestId` name a request for as long as the task exists.',
      TASK,
      creating.concurrent,
    ],
    [
      'create.named-by-owner',
      'The owner and `clientRequestId` name a request',
      ['task', 'other-principal'],
      creating.namedByOwner,
    ],
    ['create.conflict', 'other content | 409 `IDEMPOTENCY_CONFLICT`', TASK, creating.conflict],
    [
      'create.metadata',
      '`metadata` does not count, nor do the members about when and how often the task runs.',
      TASK,
      creating.otherMetadata,
    ],
    [
      'create.later',
      'The task does not begin before: a timestamp, or seconds from its creation.',
      WORKER,
      creating.later,
    ],
    ['create.deadline', 'A task that is not over then fails with `EXPIRED`.', WORKER, creating.deadline, 12],
    ['create.schema', 'An input that is not as the schema of its type says is 422.', WORKER, creating.schema, 3],
    [
      'create.idempotency-key',
      'The header `Idempotency-Key` may replace it. When both are there, they must be equal: otherwise 400.',
      TASK,
      creating.idempotencyKey,
    ],
    ['create.members', '1 to 128 of `A-Z a-z 0-9 . _ : / -`.', WORKER, creating.membersOfCreate],
    ['create.other-members', 'Other members are refused.', TASK, creating.otherMembers],
    [
      'create.unknown-type',
      'A type without a known executor is 422, and the message lists the known types.',
      NOTHING,
      creating.unknownType,
    ],
  ]),
  ...under(PROTOCOL, 'The id of a request', [
    [
      'request-id.printable',
      'Letters, marks, numbers, punctuation, symbols and spaces of Unicode, and the joiners U+200C and U+200D.',
      TASK,
      spellings.printableIds,
    ],
    [
      'request-id.refused',
      'Control characters, other invisible format characters, line and paragraph separators, private use, and code points that Unicode has not assigned.',
      TASK,
      spellings.refusedIds,
    ],
    [
      'request-id.normalised',
      'The service stores and compares the normal form NFC. Answers have that form.',
      TASK,
      spellings.normalisedIds,
    ],
    ['request-id.quoted', 'The key is the text within the quotes', TASK, spellings.quotedKeys],
    [
      'request-id.release-0.1.0',
      'That release took the quotes for a part of the key. The service finds such a task, too.',
      'it takes a service of release 0.1.0 beside this one',
    ],
  ]),
  ...under(PROTOCOL, 'Create with files', [
    ['create.files', 'A request with files is sent as `multipart/form-data`:', WORKER, files.createdWithFiles],
    ['create.file-names', '`filename` in UTF-8 or ISO 8859-1, or `filename*` (RFC 8187).', WORKER, files.namedFiles],
    [
      'create.untyped-file',
      'a file without a `Content-Type` | Its type is what its first bytes say.',
      WORKER,
      files.untyped,
    ],
    [
      'create.type-names',
      'Other names of a type, such as `application/x-photoshop`, are read as that type.',
      WORKER,
      files.aliases,
    ],
    [
      'create.sniffed',
      'the first bytes are of another type than the declared one | 400 `UPLOAD_VALIDATION_ERROR`',
      WORKER,
      files.sniffed,
    ],
  ]),
  ...under(PROTOCOL, 'Snapshot: `GET /tasks/{taskId}`', [
    [
      'snapshot.waiting',
      '`progress`, `startedAt`, `finishedAt` | Absent until there is a value.',
      WORKER,
      snapshots.waitingSnapshot,
    ],
    ['snapshot.running', '`headEventId` | The id of the last event', WORKER, snapshots.runningSnapshot],
    [
      'snapshot.question',
      '`openSuspension` | The payload of `TASK_SUSPENDED`, while the question is open.',
      WORKER,
      snapshots.openQuestion,
    ],
    [
      'snapshot.ended',
      '`result` | Only with `COMPLETED`. | | `failure` | Only with `FAILED`: the payload of `TASK_FAILED`.',
      WORKER,
      snapshots.endedSnapshot,
    ],
    [
      'snapshot.completed',
      'That of the last `TASK_PROGRESS`, and 100 with `COMPLETED`.',
      WORKER,
      snapshots.completedProgress,
    ],
    ['snapshot.attempts-left', 'An attempt that was handed back does not count.', WORKER, snapshots.attemptsLeft],
    ['snapshot.attempt', '`attempt` | The number of attempts that began.', WORKER, snapshots.attempts],
    [
      'snapshot.etag',
      'The answer has an `ETag`. With `If-None-Match` it is 304 while nothing has changed.',
      WORKER,
      snapshots.entityTag,
    ],
  ]),
  ...under(PROTOCOL, 'What a task waits for', [
    [
      'snapshot.waiting-for',
      '`answer` | for its owner: `openSuspension` has the question',
      WORKER,
      snapshots.waitingFor,
    ],
    [
      'waiting.concurrency',
      '`concurrency` | for the end of other tasks: as many run as its type, its owner or its key may have at a time',
      WORKER,
      creating.limited,
      3,
    ],
  ]),
  ...under(PROTOCOL, 'Output so far: `GET /tasks/{taskId}?include=output`', [
    ['output.text', '`data` | The text as of `headEventId`.', WORKER, late.textSoFar],
    ['output.settled', '`settledEventId` | The [boundary](#steps) at this moment.', WORKER, late.settled],
    [
      'output.tail',
      'Where `truncated` is false, the text and the events after `headEventId` make up the same text as the whole log.',
      WORKER,
      late.snapshotAndTail,
    ],
    ['output.bounded', '512 KiB for the texts of all channels, as JSON.', WORKER, late.boundedText],
    ['output.include', 'other values of `include` | 400 `INVALID_REQUEST`', WORKER, late.includes],
    [
      'output.too-many',
      'snapshots with output wait for each other, so that they delay no event',
      'it takes more load than a kit should make; the tests of TaskBridge do that',
    ],
  ]),
  ...under(PROTOCOL, 'List: `GET /tasks`', [
    ['list.newest-first', 'newest first', WORKER, lists.newestFirst],
    ['list.own', "The caller's own tasks", ['worker', 'other-principal'], lists.ownOnly],
    [
      'list.filters',
      '`true`: only tasks with an open question. `false`: only tasks without one.',
      WORKER,
      lists.filters,
    ],
    ['list.request', '`clientRequestId` | Only the task of this', WORKER, late.listedByRequest],
    ['list.parameters', '1 to 100. Default: 50.', NOTHING, lists.parametersOfList],
    ['list.without-input', 'snapshots without `input`', WORKER, lists.withoutInput],
    ['list.pages', 'A task that is created meanwhile neither repeats nor hides another task.', WORKER, lists.pages],
  ]),
  ...under(PROTOCOL, 'Changes: `GET /tasks/changes`', [
    ['changes.each', 'States between two reads may be skipped, and no task is.', WORKER, changes.eachChange],
    [
      'changes.state',
      'The [snapshot](#snapshot-get-taskstaskid) without `input`, `result` and `attachments`.',
      WORKER,
      changes.state,
    ],
    ['changes.own', "The feed has the caller's own tasks", ['worker', 'other-principal'], changes.ownOnly],
    ['changes.left', 'Each changed task that does not match comes as `left`.', WORKER, changes.left],
    ['changes.filtered', 'A number or a boolean is compared as its JSON text.', WORKER, changes.filtered],
    ['changes.stream', '`event: heartbeat` begins the stream', WORKER, changes.streamed],
    ['changes.websocket', 'A connection has one feed at a time.', WORKER, changes.onWebSocket],
    ['changes.foreign-cursor', 'Another text is 400 `INVALID_CURSOR`.', NOTHING, changes.foreignCursor],
    [
      'changes.expired',
      'It is 410 `CURSOR_EXPIRED` when it is older than 23 hours, or when the database was restored, has failed over or is another one.',
      'it takes a restore of the database, which the tests of TaskBridge do',
    ],
  ]),
  ...under(PROTOCOL, 'Events, by page: `GET /tasks/{taskId}/events`', [
    ['poll.page', '`hasMore` | More events are stored already.', TASK, paging.pageMembers],
    [
      'poll.next',
      'The cursor for the next request: the last id of the page. On an empty page it is the cursor of the request, or absent when the request had none.',
      WORKER,
      paging.nextCursor,
    ],
    ['poll.waits', 'is at the last event | with the next event, or after `waitTimeoutMs`', WORKER, paging.waits],
    ['poll.wait-ends', '`waitTimeoutMs` | 0 to 60000. Default: 25000.', WORKER, paging.waitIsBounded],
    ['poll.parameters', '`maxEvents` | 1 to 500. Default: 100.', TASK, paging.parametersOfPage],
    [
      'poll.terminal',
      '`terminal` | The terminal event is on this page or before it. Do not ask again.',
      TASK,
      pollEnd.pollTerminal,
    ],
    ['poll.behind-the-end', 'is at the terminal event | after `waitTimeoutMs`.', TASK, pollEnd.pollBehindTheEnd],
    [
      'poll.without-wait',
      'A client that does not know whether the task is over sends `waitTimeoutMs=0` in its first request, and reads `terminal`.',
      TASK,
      pollEnd.pollWithoutWait,
    ],
    [
      'poll.before',
      'With `beforeEventId` the page has the last `maxEvents` events before that event, in order.',
      TASK,
      late.backwards,
    ],
    [
      'poll.before-cursor',
      'Greater: 409 `CURSOR_AHEAD`. Anything else: 400 `INVALID_CURSOR`.',
      TASK,
      late.backwardsCursor,
    ],
    ['poll.before-alone', 'With `afterEventId` or `waitTimeoutMs` it is 400', TASK, late.backwardsAlone],
    ['poll.head', 'A HEAD request is answered at once.', TASK, pollEnd.headOfPage],
  ]),
  ...under(PROTOCOL, 'Cancel: `POST /tasks/{taskId}/cancel`', [
    [
      'cancel.waiting',
      'has no running attempt | It ends with `TASK_CANCELLED` at once.',
      WORKER,
      cancelling.cancelledWaiting,
    ],
    [
      'cancel.running',
      'has a running attempt | The executor learns of the request.',
      WORKER,
      cancelling.workerLearnsOfCancel,
    ],
    ['cancel.over', 'The task was over before.', TASK, cancelling.alreadyOver],
    ['cancel.first-reason', 'The first reason counts.', WORKER, cancelling.firstReason],
    ['cancel.may-complete', 'the task may still complete or fail first', WORKER, cancelling.mayStillComplete],
    [
      'cancel.no-new-attempt',
      'Where a retry would follow, the task ends with `TASK_CANCELLED`.',
      WORKER,
      cancelling.noNewAttempt,
    ],
    [
      'cancel.question',
      'waits for an answer | It ends at once, and its question with it.',
      WORKER,
      cancelling.questionEnds,
    ],
    [
      'cancel.reason',
      'Without a `reason`, or with one that is `null` or empty, it is `cancelled_by_user`.',
      WORKER,
      cancelling.reasonOfCancel,
    ],
    [
      'cancel.forced',
      'It has `CANCEL_GRACE_SECONDS` (30) to end the task.',
      'it would take half a minute in which a worker disobeys; the tests of TaskBridge do that with a shorter grace',
    ],
  ]),
  ...under(PROTOCOL, 'Run again: `POST /tasks/{taskId}/retry`', [
    [
      'retry.linked',
      '`rerunOf` in the snapshot of the new task names the task. `reruns` in the snapshot of the task names new tasks',
      WORKER,
      again.linked,
    ],
    [
      'retry.repeated',
      'This request came before. | **200**, `Idempotent-Replayed: true`, and the same new task',
      WORKER,
      again.repeated,
    ],
    ['retry.over', 'The task is not over. | 409 `TASK_NOT_TERMINAL`', WORKER, again.onlyWhenOver],
    [
      'retry.steps',
      'The log of the new task begins with `TASK_STARTED` and a `TASK_STEP` for each kept step.',
      WORKER,
      again.stepsAreKept,
    ],
  ]),
  ...under(PROTOCOL, 'Many tasks at once', [
    ['bulk.shown', 'Runs what a `dryRun` showed: exactly these tasks.', WORKER, bulks.runsWhatItShowed],
    [
      'bulk.repeated',
      'A run with a `clientRequestId` of before is the same bulk, as far as it is.',
      WORKER,
      bulks.repeatedIsTheSame,
    ],
    ['bulk.one-of', 'Of `ids`, `filter` and `bulkId` a request has one.', TASK, bulks.oneOfThree],
  ]),
  ...under(PROTOCOL, 'Erase', [
    ['erase.gone', '204. Afterwards the task does not exist: 404.', WORKER, erasing.gone],
    ['erase.over', 'One that is not over is 409 `TASK_NOT_TERMINAL`', WORKER, erasing.onlyWhenOver],
  ]),
  ...under(PROTOCOL, 'Answer: `POST /tasks/{taskId}/actions`', [
    [
      'action.accepted',
      'Otherwise the action and its event are stored, and the task can continue. | 202 `ACCEPTED`',
      WORKER,
      answering.actionAccepted,
    ],
    ['action.repeated', '200 `DEDUPLICATED`, also after the end of the task', WORKER, answering.actionRepeated],
    ['action.conflict', '409 `IDEMPOTENCY_CONFLICT`', WORKER, answering.actionConflict],
    ['action.never-asked', 'The task never asked under this `suspendId`.', WORKER, answering.neverAsked],
    [
      'action.too-late',
      'The task is over, and its end closed the question. | 409 `TASK_ALREADY_TERMINAL`',
      WORKER,
      answering.actionTooLate,
    ],
    [
      'action.expired',
      'The question has expired, by the clock of the database. Within moments the task ends because of it.',
      WORKER,
      answering.questionExpires,
      15,
    ],
    ['action.resolved', 'Another action answered the question first.', WORKER, answering.somebodyWasFaster],
    ['action.one-accepted', '200 `REJECTED_ALREADY_RESOLVED`', WORKER, answering.oneIsAccepted],
    ['action.not-allowed', '409 `ACTION_NOT_ALLOWED`, with `details.allowedActions`', WORKER, answering.notAllowed],
    ['action.order', 'The first row that applies is the answer:', WORKER, orderOfJudgements],
    [
      'act.schema',
      'The question has a schema for `actionType`, and `payload` does not fit it. | 422 `REQUEST_VALIDATION_ERROR`',
      WORKER,
      answering.fitsTheSchema,
    ],
    ['act.who', '**Who answered** is in `questions` of the [snapshot]', WORKER, answering.whoAnswered],
  ]),
  ...under(PROTOCOL, 'Download: `GET /tasks/{taskId}/attachments/{attachmentId}`', [
    ['download.bytes', 'with `Range`, `ETag` and `Content-Disposition: attachment`', WORKER, files.downloaded],
  ]),
  ...under(PROTOCOL, 'Schedules', [
    [
      'schedules.kept',
      '`PUT /schedules/{name}` | 201, or 200 where it replaced one: the schedule',
      WORKER,
      schedules.kept,
    ],
    [
      'schedules.paused',
      'the schedule stays, and has no ticks. A later `PUT` with `false` begins it anew',
      WORKER,
      schedules.paused,
    ],
    [
      'schedules.refused',
      'So ticks are at least 60 s apart. A pattern without a next time is 422.',
      WORKER,
      schedules.refused,
    ],
    [
      'schedules.ids',
      'Others may not begin with `schedule:`: a create and a run again with such an id are 422.',
      TASK,
      schedules.reservedIds,
    ],
    [
      'schedules.once',
      'A tick makes one task, whatever replicas there are.',
      'it takes minutes of waiting, or the clock of the service, which the tests of TaskBridge move',
    ],
  ]),
  ...under(PROTOCOL, 'For operators', [
    ['operators.health', '`GET /health` | 200 as long as the process serves', NOTHING, operators.health],
    ['operators.ready', '`GET /ready` | 200 or 503, with the parts that decided it', NOTHING, operators.ready],
    ['operators.metrics', '`GET /metrics` | metrics for Prometheus', NOTHING, operators.metrics],
    ['operators.openapi', '`GET /openapi.json`', NOTHING, operators.openApi],
  ]),
  ...under(PROTOCOL, 'Server-Sent Events', [
    ['sse.retry', '`retry: 2000` is the first thing sent, at once.', WORKER, sse.retryFirst],
    ['sse.blocks', 'Each event is one block of `id` and one line of `data`.', TASK, sse.oneBlockEach],
    [
      'sse.last-event-id',
      'The cursor is the header `Last-Event-ID`, which an `EventSource` sends, or the query parameter `lastEventId`. The header wins.',
      TASK,
      sse.cursorOfSse,
    ],
    [
      'sse.settled-before',
      'Before the 200 the service checks the principal, the task and the cursor.',
      NOTHING,
      sse.settledBefore,
    ],
    [
      'sse.terminal-204',
      'An `EventSource` then reconnects with the last id. The answer is **204**, which makes it stop.',
      TASK,
      sse.noContentAtTheEnd,
    ],
    ['sse.heartbeat', 'It has a type of its own and no `id`. So it moves no cursor', WORKER, sse.heartbeatOfSse, 20],
    ['sse.maximal-age', 'any other end | Reconnect and resume.', ['worker', 'maximal-age'], age.maximalAgeOfSse, 60],
    [
      'sse.drain',
      'A draining service sends a new `retry:`, 1 to 5 s at random, before it ends the response.',
      'it takes a stop of the service',
    ],
  ]),
  ...under(PROTOCOL, 'Where a stream begins', [
    ['sse.from-snapshot', '`snapshot` | With one block `event: snapshot`.', WORKER, late.sseFromSnapshot],
    ['sse.from-now', '`now` | With the next event.', WORKER, late.sseFromNow],
    [
      'sse.snapshot-of-the-end',
      '`result` has room first, then the texts, then `metadata`.',
      WORKER,
      late.snapshotOfTheEnd,
    ],
    ['sse.cursor-wins', '`Last-Event-ID` and `lastEventId` win over `from`', TASK, late.cursorWins],
    ['sse.from-at-the-end', 'the response ends after the snapshot. `now`: 204.', TASK, late.fromAtTheEnd],
    ['sse.from-other', 'another value | 400 `INVALID_REQUEST`', WORKER, late.otherBeginnings],
  ]),
  ...under(PROTOCOL, 'What an EventSource does', [
    [
      'sse.in-browsers',
      'It gives up at the first answer that is not 200',
      'it is what browsers and the proxies in front do; the tests of TaskBridge drive Chromium and nginx',
    ],
  ]),
  ...under(PROTOCOL, 'WebSocket', [
    ['websocket.confirmed', 'It may be absent, empty or `null`.', TASK, sockets.confirmed],
    [
      'websocket.frames',
      'It confirms the subscription. Then it sends the events unchanged, beginning with those after the cursor:',
      TASK,
      sockets.framesOfOneTask,
    ],
    ['websocket.heartbeat', 'heartbeats | They come after 15 s of silence.', WORKER, sockets.heartbeatOfWebSocket, 20],
    [
      'websocket.unauthenticated',
      'A request without `Origin` gets 401 before the connection opens.',
      NOTHING,
      callers.unauthenticatedWebSocket,
    ],
    [
      'websocket.unauthenticated-browser',
      'A browser would hide that status from its page: its connection opens, and closes with 4401.',
      NOTHING,
      callers.unauthenticatedBrowser,
    ],
    ['websocket.slash', '`/api/v1/tasks/ws`, with or without a slash at its end.', TASK, spellings.slashAtTheEnd],
    [
      'websocket.pings',
      'The server pings every 20 s. It hangs up on a client that does not answer within 10 s.',
      WORKER,
      sockets.pings,
      40,
    ],
    [
      'websocket.over-at-once',
      'the task is over; at once when the cursor is at its terminal event',
      TASK,
      sockets.overAtOnce,
    ],
    [
      'websocket.protocol',
      'the client broke the rules of WebSocket frames (RFC 6455)',
      NOTHING,
      sockets.brokenProtocol,
    ],
    ['websocket.binary', 'the client sent a binary frame', NOTHING, sockets.binaryFrame],
    ['websocket.utf-8', 'the client sent invalid UTF-8', NOTHING, sockets.invalidUtf8],
    ['websocket.large-frame', 'the client sent more than 64 KiB', NOTHING, sockets.tooLargeFrame],
    [
      'websocket.maximal-age',
      'a connection that follows one task was as old as connections get (`STREAM_MAX_SECONDS`)',
      ['worker', 'maximal-age'],
      age.maximalAge,
      60,
    ],
    [
      'websocket.bad-frame',
      'a frame that is not understood, a second `subscribe` where one task is followed, a malformed cursor',
      TASK,
      sockets.badFrames,
    ],
    [
      'websocket.second-subscribe',
      'a frame that is not understood, a second `subscribe` where one task is followed, a malformed cursor',
      WORKER,
      sockets.secondSubscribe,
    ],
    [
      'websocket.cursor-malformed',
      'a frame that is not understood, a second `subscribe` where one task is followed, a malformed cursor',
      TASK,
      cursors.webSocketMalformed,
    ],
    ['websocket.cursor-ahead', 'the cursor is ahead of the task', TASK, cursors.webSocketAhead],
    ['websocket.absent', 'no such task for this principal', NOTHING, sockets.absentTask],
    ['websocket.no-subscribe', 'no `subscribe` within 10 s of opening', NOTHING, sockets.noSubscribe, 15],
    ['websocket.drain', 'the service shuts down or restarts', 'it takes a stop of the service'],
    [
      'websocket.overload',
      'the service cannot now, or the principal has too many streams',
      'it takes as many streams as the principal may have, and would take them from others',
    ],
    [
      'websocket.slow-client',
      'the client did not read',
      'it takes megabytes of events and a network in between that fills up',
    ],
  ]),
  ...under(PROTOCOL, 'Many tasks on one connection', [
    [
      'multiplex.selected',
      'A client offers the subprotocol `taskbridge.multiplex.v1`. When the server selects it',
      NOTHING,
      multiplex.selected,
    ],
    [
      'multiplex.from-snapshot',
      'it comes once, right after `SUBSCRIPTION_CONFIRMED`',
      WORKER,
      late.multiplexFromSnapshot,
    ],
    [
      'multiplex.from-alone',
      'Without the subprotocol a frame with `from` is not understood.',
      WORKER,
      late.fromWithoutSubprotocol,
    ],
    ['multiplex.order', '`SUBSCRIPTION_CONFIRMED` | It begins a subscription.', TASK, multiplex.order],
    [
      'multiplex.caught-up',
      '`CAUGHT_UP` | It comes once, right after the event with that head.',
      WORKER,
      multiplex.caughtUp,
    ],
    [
      'multiplex.caught-up-at-once',
      'The client has everything that was stored when it subscribed. What follows is live.',
      WORKER,
      multiplex.caughtUpAtOnce,
    ],
    [
      'multiplex.unsubscribed',
      'Nothing of the task comes after it until the client subscribes to the task again.',
      WORKER,
      multiplex.unsubscribed,
    ],
    ['multiplex.again', 'until the client subscribes to the task again', TASK, multiplex.subscribedAgain],
    [
      'multiplex.many',
      'The events of one task come in order, those of several tasks in any mixture.',
      WORKER,
      multiplex.manyTasks,
    ],
    [
      'multiplex.already-subscribed',
      '`ALREADY_SUBSCRIBED` | the first subscription continues; where it has no answer yet, that comes',
      WORKER,
      multiplex.alreadySubscribed,
    ],
    ['multiplex.not-subscribed', '`NOT_SUBSCRIBED` | there is none', WORKER, multiplex.notSubscribed],
    [
      'multiplex.only-its-own',
      'A task is gone or forbidden: only its own subscription ends.',
      WORKER,
      multiplex.onlyItsOwn,
    ],
    ['multiplex.stays-open', 'stays open | Its last subscription ends.', TASK, multiplex.staysOpen],
    [
      'multiplex.bad-frame',
      'closes, with the codes above | A frame is not understood.',
      WORKER,
      multiplex.badFrameEndsAll,
    ],
    ['multiplex.heartbeat', 'There was no event of any of the tasks for 15 s.', WORKER, multiplex.heartbeatOfMany, 20],
    [
      'multiplex.reconnect',
      'The service drains: the connection closes now, with 1012. Come back after `afterMs`.',
      'it takes a stop of the service',
    ],
  ]),
  ...under(PROTOCOL, 'Browsers', [
    [
      'browsers.foreign',
      'any other origin | GET and HEAD; every stream, WebSocket and other method gets 403',
      WORKER,
      browsers.foreignOrigin,
    ],
    [
      'browsers.foreign-websocket',
      'any other origin | GET and HEAD; every stream, WebSocket and other method gets 403',
      NOTHING,
      browsers.foreignWebSocket,
    ],
    ['browsers.no-cors', 'for other origins | There are none', NOTHING, browsers.noCorsForForeign],
    ['browsers.same-origin', 'the same origin | what its principal may do', TASK, browsers.sameOrigin],
    [
      'browsers.cors',
      'for allowed origins | They are on every answer, with credentials.',
      NOTHING,
      browsers.originIsAllowed,
    ],
  ]),
  ...under(PROTOCOL, 'Errors', [
    ['errors.shape', 'Every refusal over HTTP has one shape:', NOTHING, errors.shapeOfErrors],
    ['errors.malformed', 'malformed JSON, headers or parameters', NOTHING, errors.malformed],
    [
      'errors.list-cursor',
      'a cursor that no event id looks like, or that no list gave out',
      NOTHING,
      lists.foreignCursor,
    ],
    ['errors.unauthenticated', '`AUTHENTICATION_ERROR`', NOTHING, callers.unauthenticated],
    ['errors.no-such-task', 'no such task for this principal', NOTHING, errors.noSuchTask],
    ['errors.nothing-there', 'nothing at this address', NOTHING, errors.nothingThere],
    ['errors.method', '`Allow` has those that are', NOTHING, errors.methodNotAllowed],
    ['errors.not-acceptable', '`Accept` admits no type that the route answers with', NOTHING, errors.notAcceptable],
    ['errors.type-of-body', 'not JSON in UTF-8, or compressed', TASK, errors.unsupportedType],
    ['errors.named-members', '`details.errors`: `[{"path":"input.name","message":"…"}]`', NOTHING, errors.namedMembers],
    [
      'errors.too-many',
      'too many open streams, or tasks that are not over, of this principal',
      'it takes as many streams or tasks as the principal may have, and would take them from others',
    ],
    [
      'errors.unavailable',
      'PostgreSQL does not answer, too much is waiting',
      'it takes a fault of what the service stands on',
    ],
  ]),
  ...under(PROTOCOL, 'Limits', [
    ['limits.body', 'JSON body | 1 MiB', TASK, limits.largestBody],
    ['limits.event', 'payload of an event, a question included, as it is stored | 64 KiB', WORKER, limits.largestEvent],
    [
      'limits.result',
      'result of a task, as the payload that carries it, as it is stored | 1 048 320 bytes',
      WORKER,
      limits.largestResult,
    ],
    ['limits.frame', 'No frame to a client exceeds 1 MiB.', WORKER, limits.largestFrame],
    [
      'limits.large-integers',
      'Free-form JSON keeps the value of an integer within the range of a double',
      WORKER,
      limits.largeIntegers,
    ],
    ['limits.json', 'The service accepts JSON only where it has one meaning.', TASK, limits.oneMeaning],
    [
      'limits.numbers',
      'events of a task | 100 000; then it fails with `EVENT_LIMIT_EXCEEDED`',
      'it takes a hundred thousand events, which stay in the database of the installation',
    ],
  ]),
  ...under(PROTOCOL, 'Writing a client', [
    ['client.rules', 'A client does this:', 'it is about clients, and this checks a service'],
  ]),
  ...under(PROTOCOL, 'Clients of the ancestor', [
    [
      'ancestor.clients',
      'Their clients work with this service.',
      'it takes such a client; the other clauses check what the table says of this service',
    ],
  ]),
  ...under(WORKERS, 'Claim', [
    [
      'workers.claim',
      'A claim names the types that the worker can execute and how many tasks it has room for.',
      WORKER,
      leases.claimed,
    ],
    ['workers.claim-waits', 'the service keeps the claim waiting', WORKER, leases.claimWaits],
    [
      'workers.claim-starts',
      'The task is `RUNNING`, and `TASK_STARTED` is in its log: the claim of the first attempt wrote it.',
      WORKER,
      leases.claimStarts,
    ],
  ]),
  ...under(WORKERS, 'Say what happens', [
    [
      'workers.append',
      'The two pieces of output were adjacent and became one event, so they have one id.',
      WORKER,
      leases.appended,
    ],
    [
      'workers.appendable',
      'A worker may append `TASK_PROGRESS`, `TASK_MESSAGE` and `TASK_OUTPUT`',
      WORKER,
      leases.unknownEvents,
    ],
    [
      'workers.batch-repeated',
      'Then send the same batch again, under the same number: it is not stored twice.',
      WORKER,
      leases.batchRepeated,
    ],
    ['workers.batch-gap', 'A number that leaves one out is refused', WORKER, leases.batchGap],
    [
      'workers.batch-conflict',
      'and so is a number that was used for something else (`IDEMPOTENCY_CONFLICT`).',
      WORKER,
      leases.batchConflict,
    ],
    ['workers.batch-whole', 'A batch is stored whole or not at all.', WORKER, leases.batchWhole],
  ]),
  ...under(WORKERS, 'Be alive', [
    ['workers.heartbeat', 'A worker that has nothing to say sends a heartbeat', WORKER, leases.heartbeatExtends],
    [
      'workers.heartbeats',
      'The answer has one item for each lease, in the order of the request.',
      WORKER,
      additions.manyHeartbeats,
    ],
  ]),
  ...under(WORKERS, 'Ask', [
    [
      'workers.resume',
      'It is the same attempt under a new lease, with the answer in `resume`; batches begin at 1 again.',
      WORKER,
      leases.resumed,
    ],
  ]),
  ...under(WORKERS, 'Complete', [
    [
      'workers.end-repeated',
      'The same call again, for a worker that did not hear the answer, gets it again.',
      WORKER,
      leases.endRepeated,
    ],
  ]),
  ...under(WORKERS, 'Fail, and try again', [
    ['workers.retry', 'It is attempt 2 now.', WORKER, leases.retried],
    ['workers.fail', 'A failure that is not `retryable` ends the task', WORKER, leases.failedFinally],
    ['workers.attempts', 'and so does the last attempt (`willRetry` is false then)', WORKER, leases.attemptsAreSpent],
  ]),
  ...under(WORKERS, 'Finish a step', [
    [
      'workers.steps',
      'Its leases have `steps`: the results of the steps that are finished, oldest first.',
      WORKER,
      steps.leasedSteps,
    ],
  ]),
  ...under(WORKERS, 'Attach a file', [
    ['workers.files', 'The same bytes again are the same file. Other bytes replace it.', WORKER, files.ofWorker],
  ]),
  ...under(WORKERS, 'Hand it back', [
    [
      'workers.release',
      'That does not count as a failure, and the next worker can begin at once.',
      WORKER,
      leases.released,
    ],
  ]),
  ...under(WORKERS, 'Write from several places', [
    [
      'workers.event-keys',
      'A key that is known gets the id of its event, whatever the content.',
      WORKER,
      additions.eventKeys,
    ],
  ]),
  ...under(WORKERS, 'Learn of a cancellation at once', [
    ['workers.signals', 'One call for the whole worker brings it at once', WORKER, additions.signals],
  ]),
  ...under(WORKERS, 'The rules', [
    [
      'workers.lease-seconds',
      'Every accepted call renews such a lease by its own length.',
      WORKER,
      additions.leaseSeconds,
    ],
    [
      'workers.void-keys',
      'A key whose progress or output became void names nothing any more: that event is stored anew.',
      WORKER,
      additions.voidKeys,
    ],
    [
      'workers.lease-expires',
      'Then the attempt is over, whatever the worker believes. The next attempt begins, with `TASK_RETRYING` in the log.',
      WORKER,
      leases.leaseExpires,
      60,
    ],
    [
      'workers.lease-revives',
      'A heartbeat revives a lease that expired, if nobody took it.',
      'the service takes an expired lease within a second, so whether it did so before the heartbeat is chance',
    ],
    [
      'workers.fence',
      'When the lease is over, every call with it gets 409 `LEASE_LOST` and stores nothing.',
      WORKER,
      leases.fence,
    ],
    ['workers.one-lease-each', 'what waits in a worker, nobody else can run', WORKER, leases.oneLeaseEach],
    [
      'workers.files-fence',
      'A worker whose lease was lost gets 409 `LEASE_LOST`, and nothing is attached.',
      WORKER,
      files.ofWorkerWithoutLease,
    ],
    [
      'workers.attachments',
      "They are given to any request that has the lease's token as `X-Lease-Token`.",
      WORKER,
      files.byLease,
    ],
    [
      'workers.answers',
      '`resume` is the last answer, `answers` has all of them, oldest first.',
      WORKER,
      leases.answersOutliveLeases,
    ],
    ['workers.asks-once', 'A task asks once under one id (409 `INVALID_TASK_STATE`).', WORKER, leases.asksOnce],
    [
      'workers.token',
      'A token lets its bearer claim any task of any owner, and nothing else',
      WORKER,
      leases.workerToken,
    ],
    [
      'workers.fairness',
      'Oldest first, going round the owners',
      'which of several tasks comes first depends on what others have waiting',
    ],
  ]),
];

function under(document: string, section: string, rows: readonly Row[]): readonly Clause[] {
  return rows.map((row) => {
    const [id, sentence] = row;
    if (row.length === 3) return { id, document, section, sentence, needs: [], reason: row[2] };
    const [, , needs, check, waitsSeconds] = row;
    return { id, document, section, sentence, needs, check, ...(waitsSeconds !== undefined && { waitsSeconds }) };
  });
}
