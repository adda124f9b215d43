import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { ArgumentMetadata } from '@nestjs/common';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import {
  APPENDABLE_TYPES,
  endsTask,
  EVENT_SCHEMAS,
  EVENT_TYPES,
  type EventPayload,
  type EventType,
  EVENTS,
  isPayload,
  problemInAppended,
} from '#protocol/events.js';
import { FEATURE_NAMES } from '#protocol/features.js';
import { anyObject, integer, type JsonSchema, list, nullable, object, problemIn, text } from '#protocol/json-schema.js';
import { QUERIES, REQUESTS } from '#protocol/requests.js';
import { SCHEMAS } from '#protocol/snapshots.js';
import { PollChangesDto, StreamChangesDto } from '../../src/streaming/changes/changes.dto.js';
import { LongPollDto, StreamQueryDto } from '../../src/streaming/long-poll.dto.js';
import * as worker from '../../src/execution/worker-api/worker.dto.js';
import { MintFollowTokenDto } from '../../src/follow-tokens/mint-follow-token.dto.js';
import { RevokeFollowTokensDto } from '../../src/follow-tokens/revoke-follow-tokens.dto.js';
import { BulkFilterDto, StartBulkDto } from '../../src/bulk/bulk.dto.js';
import { PutScheduleDto } from '../../src/schedules/put-schedule.dto.js';
import { shapeOf } from '../../src/http/body-shape.js';
import { RequestValidationError } from '../../src/errors.js';
import { checkedBody } from '../../src/json/json-body.js';
import { parseStrictJson } from '../../src/json/strict-json.js';
import { EdgeValidationPipe } from '../../src/http/validation.pipe.js';
import { appendedEvent } from '../../src/tasks/domain/event-payloads.js';
import { newEvent } from '../../src/tasks/domain/task-event.js';
import { PauseTypeDto } from '../../src/tasks/http/dto/pause-type.dto.js';
import { CancelTaskDto } from '../../src/tasks/http/dto/cancel-task.dto.js';
import { CreateTaskDto } from '../../src/tasks/http/dto/create-task.dto.js';
import { ReadTaskDto } from '../../src/tasks/http/dto/read-task.dto.js';
import { EraseOwnerDto } from '../../src/tasks/http/dto/erase-owner.dto.js';
import { ListSchedulesDto } from '../../src/schedules/list-schedules.dto.js';
import { ListWorkersDto, ReadLogDto } from '../../src/system/system.dto.js';
import { ListQuestionsDto, ListTypesDto, StuckTasksDto } from '../../src/tasks/http/dto/overview.dto.js';
import { ScopeQueryDto } from '../../src/tasks/http/dto/scope.dto.js';
import { ListTasksDto } from '../../src/tasks/http/dto/list-tasks.dto.js';
import { RetryTaskDto } from '../../src/tasks/http/dto/retry-task.dto.js';
import { SubmitActionDto } from '../../src/tasks/http/dto/submit-action.dto.js';
import { ChangedProgram } from '../support/changed-program.js';
import { hasDescribedId, isDateTime, mutated, type Schema, valid } from '../support/schema-arbitraries.js';
import { temporaryDirectory } from '../support/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

describe('The table of requests', () => {
  const ajv = new Ajv2020({ strict: false, formats: { 'date-time': isDateTime } });
  ajv.addSchema({ $id: 'api', components: { schemas: REQUESTS } });
  const pipe = new EdgeValidationPipe();
  const isTaken = async (text: string, dto: ArgumentMetadata['metatype']) => {
    const body = await checkedBody(Buffer.from(text));
    return pipe.transform(body, { type: 'body', metatype: dto }).then(
      () => true,
      (error: unknown) => {
        expect(error).toBeInstanceOf(RequestValidationError);
        return false;
      },
    );
  };

  describe.each([
    ['CreateTask', CreateTaskDto],
    ['CancelTask', CancelTaskDto],
    ['RetryTask', RetryTaskDto],
    ['PauseTaskType', PauseTypeDto],
    ['SubmitAction', SubmitActionDto],
    ['PutSchedule', PutScheduleDto],
    ['BulkFilter', BulkFilterDto],
    ['StartBulk', StartBulkDto],
    ['MintFollowToken', MintFollowTokenDto],
    ['ClaimTasks', worker.ClaimDto],
    ['ExtendLeases', worker.ExtendLeasesDto],
    ['AwaitSignals', worker.AwaitSignalsDto],
    ['ProveLease', worker.LeaseTokenDto],
    ['AppendEvents', worker.AppendEventsDto],
    ['FinishStep', worker.FinishStepDto],
    ['SuspendTask', worker.SuspendDto],
    ['CompleteTask', worker.CompleteDto],
    ['FailAttempt', worker.FailDto],
    ['ConfirmCancellation', worker.CancelledDto],
  ] as const)('has under %s', (name, dto) => {
    it('the members that the service knows', () => {
      expect(Object.keys(REQUESTS[name].properties ?? {}).sort()).toEqual(Object.keys(shapeOf(dto)).sort());
    });

    it('what the service takes, and nothing else', async () => {
      const validate = ajv.compile({ $ref: `api#/components/schemas/${name}` });
      const fitting = valid(REQUESTS[name] as Schema, REQUESTS as Readonly<Record<string, Schema>>, {});
      const judged = { taken: 0, refused: 0 };
      await fc.assert(
        fc.asyncProperty(fc.oneof(fitting, mutated(fitting)), async (value) => {
          const text = JSON.stringify(value) ?? 'null';
          // A thread reads larger ones. It starts from the build.
          fc.pre(Buffer.byteLength(text) < 64 * 1024 && isStrictObject(text) && hasDescribedId(value));
          const taken = await isTaken(text, dto);
          expect(validate(JSON.parse(text))).toBe(taken);
          judged[taken ? 'taken' : 'refused']++;
        }),
        { numRuns: 200 },
      );
      expect(Math.min(judged.taken, judged.refused)).toBeGreaterThan(20);
    });
  });

  it.each([
    ['readTask', ReadTaskDto],
    ['listTasks', ListTasksDto],
    ['countTasks', ScopeQueryDto],
    ['listStuck', StuckTasksDto],
    ['listQuestions', ListQuestionsDto],
    ['listTypes', ListTypesDto],
    ['listSchedules', ListSchedulesDto],
    ['listWorkers', ListWorkersDto],
    ['readLog', ReadLogDto],
    ['attachFile', worker.AttachFileDto],
    ['pollChanges', PollChangesDto],
    ['streamChanges', StreamChangesDto],
    ['pollEvents', LongPollDto],
    ['streamEvents', StreamQueryDto],
    ['eraseTasks', EraseOwnerDto],
    ['revokeTokens', RevokeFollowTokensDto],
  ] as const)('has the parameters of the query of %s', (name, dto) => {
    expect(Object.keys(QUERIES[name]).sort()).toEqual(Object.keys(shapeOf(dto)).sort());
  });
});

/** What passes the edge: what does not is 400, whatever the route. */
function isStrictObject(text: string): boolean {
  try {
    const value = parseStrictJson(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

describe('The example of `GET /api/v1`', () => {
  it('has all features', async () => {
    const page = await readFile(fileURLToPath(new URL('../../PROTOCOL.md', import.meta.url)), 'utf8');
    expect(page).toContain(`"features":${JSON.stringify(FEATURE_NAMES)}}`);
  });
});

describe('A shape', () => {
  const ajv = new Ajv({ strict: false, formats: { 'date-time': (value: string) => !Number.isNaN(Date.parse(value)) } });
  const nested = object({
    items: list(object({ n: nullable(integer(0, 9)), free: anyObject() }), { minItems: 1, maxItems: 3 }),
  });
  const shapes: readonly (readonly [string, JsonSchema])[] = [
    ...Object.entries(EVENT_SCHEMAS),
    ['a nested object', nested],
  ];

  it.each(shapes)('of %s takes what any JSON Schema validator takes, and nothing else', (_, schema) => {
    const validate = ajv.compile(schema);
    const fitting = valid(schema as Schema, {}, {});
    fc.assert(fc.property(fitting, (value) => void expect(problemIn(schema, value)).toBeUndefined()));
    fc.assert(
      fc.property(fc.oneof(fitting, mutated(fitting)), (value) => {
        // The value goes through its text, so a member that is undefined is absent.
        const json = JSON.parse(JSON.stringify(value) ?? 'null') as unknown;
        expect(problemIn(schema, json) === undefined).toBe(validate(json));
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a member that is missing', { items: [{ n: 1 }] }, { path: 'items[0].free', problem: 'must be an object' }],
    ['a member too many', { items: [], more: 1 }, { path: 'more', problem: 'is not a known member' }],
    [
      'a list that is too short',
      { items: [] },
      { path: 'items', problem: 'must be a list of 1 or more, each an object' },
    ],
    [
      'a wrong element',
      { items: [{ n: 10, free: {} }] },
      { path: 'items[0].n', problem: 'must be a whole number from 0 to 9 or null' },
    ],
    ['no object', [], { path: '', problem: 'must be an object' }],
  ])('says of %s where it is and what is expected', (_, value, problem) => {
    expect(problemIn(nested, value)).toEqual(problem);
  });

  it('cuts the name of an unknown member, which a client may have made long', () => {
    const { path, problem } = problemIn(object({ a: text() }), { a: '', ['x'.repeat(100)]: 1 }) ?? {};
    expect({ path, problem }).toEqual({ path: 'x'.repeat(64), problem: 'is not a known member' });
  });
});

describe('The table of events', () => {
  it('says which types a running attempt may append, and which end a task', () => {
    expect(APPENDABLE_TYPES).toEqual(['TASK_STARTED', 'TASK_PROGRESS', 'TASK_MESSAGE', 'TASK_OUTPUT', 'TASK_STEP']);
    expect(EVENT_TYPES.filter(endsTask)).toEqual(['TASK_COMPLETED', 'TASK_FAILED', 'TASK_CANCELLED']);
    expect(endsTask('constructor')).toBe(false);
  });

  it('lets an attempt say everything but what the service adds', () => {
    const output = { channel: 'text', op: 'append', data: 'x' };
    expect(problemInAppended('TASK_OUTPUT', output)).toBeUndefined();
    expect(problemInAppended('TASK_OUTPUT', { ...output, attempt: 1 })).toEqual({
      path: 'attempt',
      problem: 'is not a known member',
    });
    expect(appendedEvent('TASK_OUTPUT', output, 3).json).toBe(
      '{"channel":"text","op":"append","data":"x","attempt":3}',
    );
    expect(isPayload('TASK_OUTPUT', output)).toBe(false);
  });

  it('stores members in its order, whatever the order of the request', () => {
    expect(appendedEvent('TASK_PROGRESS', { message: 'm', stage: 's', progress: 1 }, 1).json).toBe(
      '{"progress":1,"stage":"s","message":"m"}',
    );
  });

  it('gives payloads their types', () => {
    const failed: EventPayload<'TASK_FAILED'> = { code: 'C', message: 'm', retryable: false };
    expect(newEvent('TASK_FAILED', failed).json).toBe('{"code":"C","message":"m","retryable":false}');
    // @ts-expect-error: a member is missing
    newEvent('TASK_FAILED', { code: 'C', message: 'm' });
    // @ts-expect-error: a member is of another type
    newEvent('TASK_PROGRESS', { progress: '1' });
    // @ts-expect-error: a member is unknown
    newEvent('TASK_CANCELLED', { reason: 'r', why: 'w' });
  });
});

describe('A new line in the table of events', () => {
  const file = 'packages/protocol/src/events.ts';
  const optionalMember = {
    file,
    from: 'progress: number(0, 100), stage: optional(text())',
    to: "progress: number(0, 100), pace: optional(oneOf('slow', 'fast')), stage: optional(text())",
  };

  describe('in the compiler', () => {
    let program: ChangedProgram;

    beforeAll(() => {
      program = new ChangedProgram();
      expect(program.complaints()).toEqual({});
    }, 120_000);

    it('that adds an optional member compiles as it is', () => {
      expect(program.complaints(optionalMember)).toEqual({});
    }, 60_000);

    it('that adds a required member does not compile where an event of the type is made without it', () => {
      const from = 'code: text(), message: text(), retryable: boolean()';
      const complaints = program.complaints({ file, from, to: `${from}, cause: text()` });
      expect(Object.keys(complaints).sort()).toEqual(['src/tasks/domain/decide.ts', 'src/tasks/repair-task.ts']);
      for (const said of Object.values(complaints)) expect(said.join()).toContain("'cause'");
    }, 60_000);

    it('that adds a member to what a handler says does not compile where the runner forgets it', () => {
      const required = {
        file,
        from: 'progress: number(0, 100), stage',
        to: 'progress: number(0, 100), unit: text(), stage',
      };
      // A message has no details, so that an optional member, too, needs a place in the call.
      const optional = { file, from: 'message: text(), level:', to: 'message: text(), tone: optional(text()), level:' };
      expect(namesIn(program.complaints(required, optional), ['unit', 'tone'])).toEqual({
        'packages/handler/src/attempt.ts': ['unit'],
        'packages/handler/src/events.ts': ['tone'],
        'src/execution/demo-handlers.ts': ['unit'],
        'src/tasks/domain/event-payloads.ts': ['tone'],
      });
    }, 60_000);

    it('that takes a member away does not compile where the member is read', () => {
      const complaints = program.complaints({ file, from: 'suspendId: text(),\n      kind', to: 'kind' });
      expect(Object.keys(complaints)).toEqual(
        expect.arrayContaining(['src/tasks/domain/evolve.ts', 'src/tasks/store/suspensions.ts']),
      );
    }, 60_000);

    it('that adds a type does not compile where the fold forgets it', () => {
      const to = "TASK_PAUSED: { meaning: 'paused', payload: { reason: text() } },\n  TASK_COMPLETED:";
      expect(Object.keys(program.complaints({ file, from: 'TASK_COMPLETED:', to }))).toEqual([
        'src/tasks/domain/evolve.ts',
      ]);
    }, 60_000);

    it('has its likes in the tables of errors, frames and answers', () => {
      const frames = {
        file: 'packages/protocol/src/frames.ts',
        from: "constant('CAUGHT_UP'), taskId: TASK_ID",
        to: "constant('CAUGHT_UP'), since: text(), taskId: TASK_ID",
      };
      const answers = {
        file: 'packages/protocol/src/snapshots.ts',
        from: '  cancellationRequested: boolean(),\n  aside',
        to: '  cancellationRequested: boolean(),\n  labels: list(text()),\n  aside',
      };
      const errors = { file: 'packages/protocol/src/errors.ts', from: '  CURSOR_AHEAD: {', to: '  CURSOR_BEYOND: {' };
      const complaints = program.complaints(frames, answers, errors);
      expect(namesIn(complaints, ['since', 'labels', 'CURSOR_AHEAD'])).toEqual({
        'src/streaming/web-socket/multiplex-writer.ts': ['since'],
        'src/tasks/domain/tasks.errors.ts': ['CURSOR_AHEAD'],
        'src/tasks/http/dto/task-snapshot.ts': ['labels'],
      });
    }, 120_000);
  });

  it('is, with `npm run generate`, all that a new member takes', async () => {
    const copy = await temporaryDirectory();
    const parts = ['package.json', 'jest.config.js', 'PROTOCOL.md', '.env.example', 'docs/operations.md', '.ci', 'src'];
    for (const part of [...parts, 'packages/protocol/src', 'test/support']) {
      await mkdir(dirname(join(copy, part)), { recursive: true });
      await cp(join(root, part), join(copy, part), { recursive: true });
    }
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
    const table = await readFile(join(copy, file), 'utf8');
    await writeFile(join(copy, file), table.replace(optionalMember.from, optionalMember.to));
    await writeFile(
      join(copy, 'show.ts'),
      `import { SCHEMAS } from '#protocol/snapshots.js';
       import { asyncApi } from './src/streaming/asyncapi/document.js';
       import { appendedEvent } from './src/tasks/domain/event-payloads.js';
       const stored = appendedEvent('TASK_PROGRESS', { progress: 1, pace: 'fast' }, 1).json;
       console.log(JSON.stringify({ SCHEMAS, asyncApi: asyncApi([]), stored }));`,
    );
    const node = (script: string) =>
      promisify(execFile)(process.execPath, ['--import', './test/support/typescript-hooks.js', script], {
        cwd: copy,
        env: { ...process.env, NODE_OPTIONS: '' },
        maxBuffer: 2 ** 24,
      });
    await node('.ci/generate.ts');

    const lines = (page: string) => new Set(page.split('\n'));
    const before = lines(await readFile(join(root, 'PROTOCOL.md'), 'utf8'));
    const after = lines(await readFile(join(copy, 'PROTOCOL.md'), 'utf8'));
    const added = [...after].filter((line) => !before.has(line));
    expect(added).toEqual([expect.stringContaining('; `pace?` `slow` or `fast`; `stage?`; ')]);

    const { stdout } = await node('show.ts');
    const shown = JSON.parse(stdout) as {
      SCHEMAS: Record<string, Envelope>;
      asyncApi: { components: { schemas: Record<string, Envelope> } };
      stored: string;
    };
    const pace = { type: 'string', enum: ['slow', 'fast'] };
    expect(shown.SCHEMAS['TaskProgress']?.properties.payload.properties['pace']).toEqual(pace);
    expect(shown.asyncApi.components.schemas['TASK_PROGRESS']?.properties.payload.properties['pace']).toEqual(pace);
    expect(shown.stored).toBe('{"progress":1,"pace":"fast"}');
  }, 60_000);
});

/** By file, which of the names its complaints contain. One compilation judges several changes. */
function namesIn(complaints: Readonly<Record<string, readonly string[]>>, names: readonly string[]) {
  return Object.fromEntries(
    Object.entries(complaints).map(([file, said]) => [file, names.filter((name) => said.join().includes(name))]),
  );
}

interface Envelope {
  readonly properties: { readonly payload: { readonly properties: Readonly<Record<string, unknown>> } };
}

describe('The schemas of OpenAPI', () => {
  it('have an event of each type, told apart by its type', () => {
    const { oneOf, discriminator } = SCHEMAS.TaskEvent;
    expect(Object.keys(discriminator.mapping)).toEqual(Object.keys(EVENTS));
    expect(oneOf.map(({ $ref }) => $ref)).toEqual(Object.values(discriminator.mapping));
    const names = new Set(Object.keys(SCHEMAS));
    const references = [...JSON.stringify(SCHEMAS).matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name);
    expect(references.filter((name) => name === undefined || !names.has(name))).toEqual([]);
    const schemas = SCHEMAS as Readonly<Record<string, JsonSchema>>;
    for (const [type, ref] of Object.entries(discriminator.mapping)) {
      expect(schemas[ref.split('/').at(-1) ?? '']).toBe(EVENT_SCHEMAS[type as EventType]);
    }
  });
});
