import type { InjectionToken } from '@nestjs/common';
import { definedAs } from '#handler/define-task.js';
import type { TaskHandler, TaskHandlers } from '#handler/task-handler.js';
import type { AuthContext } from '../auth/auth-context.js';
import { AuthContextResolver } from '../auth/auth-context-resolver.js';
import { InProcessLiveLog } from '../live-log/in-process-live-log.js';
import { ActionValidationPolicy } from '../ownership/action-validation-policy.js';
import { LiveLog, type LiveLogFollower } from '../tasks/ports/live-log.js';
import { TASK_HANDLERS } from '../execution/handlers.js';
import { ReadinessProbe, type Readiness } from '../health/readiness-probe.js';
import { asHostCode, asOwnCode } from '../observability/host-code.js';
import type { HostFaults } from '../observability/host-faults.js';
import { MetricsSink } from '../observability/metrics-sink.js';
import { TransportDiagnosticsSink } from '../observability/transport-diagnostics-sink.js';
import { OwnershipPolicy } from '../ownership/ownership-policy.js';
import { AttachmentStore } from '../uploads/attachment-store.js';
import { UploadPolicy } from '../uploads/upload-policy.js';
import { BootRefused } from './boot-guard.js';
import { anything, authContext, broughtEvent, readiness, uploadAllowance, yesOrNo } from './host-answers.js';
import { HostCalls, isObject, kindOf } from './host-calls.js';
import { open, put } from './host-streams.js';

// Every port that a host module may bring, and what the service makes of an implementation before anybody calls it. A sink that
// fails costs a log line. A port that answers has a deadline, and its answer is checked.

/** What a load balancer and Prometheus wait for an answer is a few seconds. */
const PROBE_PATIENCE_MS = 3_000;
/** A drain has more to do than to wait for this. */
const STOP_PATIENCE_MS = 2_000;

type Guard<Port> = (calls: HostCalls) => Port;
type Wrap = (host: unknown, faults: HostFaults) => object;

const resolver: Guard<AuthContextResolver> = (calls) => ({
  resolve: (request) => calls.ask('resolve', [request], authContext),
  // A resolver without it says so by its absence.
  ...(calls.has('isStillValid') && {
    isStillValid: (auth: AuthContext) => calls.ask('isStillValid', [auth], yesOrNo),
  }),
});

const ownership: Guard<OwnershipPolicy> = (calls) => ({
  mayCreate: (auth, task) => calls.ask('mayCreate', [auth, { ...task }], yesOrNo),
  mayRead: (auth, task) => calls.ask('mayRead', [auth, { ...task }], yesOrNo),
  mayControl: (auth, task) => calls.ask('mayControl', [auth, { ...task }], yesOrNo),
});

const actions: Guard<ActionValidationPolicy> = (calls) => ({
  validate: (auth, action, task, question) =>
    calls.ask('validate', [auth, { ...action }, { ...task }, question], anything),
});

const uploads: Guard<UploadPolicy> = (calls) => ({
  admit: (auth) => calls.ask('admit', [auth], uploadAllowance),
  check: (auth, files) => calls.ask('check', [auth, files.map((file) => ({ ...file }))], anything),
});

const attachments: Guard<AttachmentStore> = (calls) => ({
  put: (attachmentId, bytes) => put(calls, attachmentId, bytes),
  open: (attachmentId, range) => open(calls, attachmentId, range),
  remove: (attachmentId) => calls.ask('remove', [attachmentId], anything),
  // Has a default, which those that extend nothing do not inherit.
  checkHealth: async () => {
    if (calls.has('checkHealth')) await calls.ask('checkHealth', [], anything);
  },
});

const liveLog: Guard<LiveLog> = (calls) => ({
  publish: (events) => calls.tell('publish', [...events]),
  follow: (follower) => calls.tell('follow', followerOf(calls, follower)),
  ...hintsWithin(new InProcessLiveLog()),
  start: () => calls.ask('start', [], anything),
  stop: () => calls.ask('stop', [], anything, { patienceMs: STOP_PATIENCE_MS }).catch(() => undefined),
});

/** A host carries events. Hints stay on this replica, and those of others are replaced by more questions to PostgreSQL. */
function hintsWithin(here: LiveLog): Pick<LiveLog, 'opened' | 'hint' | 'listen' | 'hearsOthers'> {
  return {
    opened: async () => {},
    hint: (kind, key) => here.hint(kind, key),
    listen: (kind, key, heard) => here.listen(kind, key, heard),
    hearsOthers: () => false,
  };
}

/** What the host calls: events that are none are dropped, and the others received. */
function followerOf(calls: HostCalls, follower: LiveLogFollower): LiveLogFollower {
  return {
    follows: (taskId) => typeof taskId === 'string' && asOwnCode(() => follower.follows(taskId)),
    receive: (given) => {
      const brought = Array.isArray(given) ? given.map(broughtEvent) : [undefined];
      const events = brought.filter((event) => event !== undefined);
      if (events.length < brought.length) calls.complain('follow', 'the follower was given what is no event');
      return events.length > 0 && asOwnCode(() => follower.receive(events));
    },
    missed: () => asOwnCode(() => follower.missed()),
  };
}

const probe: Guard<ReadinessProbe> = (calls) => {
  let underWay: Promise<Readiness> | undefined;
  return {
    // One question at a time, however many ask: those to a probe that hangs would pile up.
    checkReadiness: () => {
      underWay ??= calls
        .ask('checkReadiness', [], readiness, { patienceMs: PROBE_PATIENCE_MS })
        .catch((cause: unknown): Readiness => ({ ready: false, details: {}, cause }))
        .finally(() => (underWay = undefined));
      return underWay;
    },
  };
};

const metrics: Guard<MetricsSink> = (calls) => ({
  increment: (...told) => calls.tell('increment', ...told),
  adjust: (...told) => calls.tell('adjust', ...told),
  set: (...told) => calls.tell('set', ...told),
  observe: (...told) => calls.tell('observe', ...told),
});

const diagnostics: Guard<TransportDiagnosticsSink> = (calls) => ({
  replayStarted: (replay) => calls.tell('replayStarted', replay),
  delivered: (delivery) => calls.tell('delivered', delivery),
  heartbeatSent: (heartbeat) => calls.tell('heartbeatSent', heartbeat),
  disconnected: (disconnect) => calls.tell('disconnected', disconnect),
  holeHealed: (hole) => calls.tell('holeHealed', hole),
  slowConsumer: (consumer) => calls.tell('slowConsumer', consumer),
});

/** What a port need not have. */
const OPTIONAL: readonly string[] = [
  'checkHealth of AttachmentStore',
  ...['opened', 'hint', 'listen', 'hearsOthers'].map((member) => `${member} of LiveLog`),
];

function port<Port extends object>(token: abstract new () => Port, guard: Guard<Port>): [InjectionToken, Wrap] {
  const wrap = (host: unknown, faults: HostFaults): Port => {
    const { name } = token;
    if (!isObject(host) && typeof host !== 'function') throw refused(`${name} is ${kindOf(host)}`);
    const calls = new HostCalls(name, host, faults);
    const guarded = guard(calls);
    for (const member of Object.keys(guarded)) {
      const isThere = calls.has(member) || OPTIONAL.includes(`${member} of ${name}`);
      if (!isThere) throw refused(`${name} has no method ${member}`);
    }
    return Object.setPrototypeOf(guarded, token.prototype as object) as Port;
  };
  return [token, wrap];
}

function handlers(host: unknown): TaskHandlers {
  if (!isObject(host)) throw refused(`TASK_HANDLERS is ${kindOf(host)} where an object of handlers belongs`);
  const guarded = Object.entries(host).map(([taskType, handler]: [string, unknown]) => {
    if (typeof handler !== 'function') {
      throw refused(`the handler of ${JSON.stringify(taskType)} in TASK_HANDLERS is ${kindOf(handler)}`);
    }
    const call = { port: 'TASK_HANDLERS', method: taskType };
    const run = definedAs(handler as TaskHandler, (input, context) =>
      asHostCode(call, () => (handler as TaskHandler)(input, context)),
    );
    return [taskType, run] as const;
  });
  return Object.fromEntries(guarded);
}

function refused(problem: string): BootRefused {
  return new BootRefused([`HOST_MODULE: ${problem}`]);
}

export const HOST_PORTS: ReadonlyMap<InjectionToken, Wrap> = new Map<InjectionToken, Wrap>([
  port(AuthContextResolver, resolver),
  port(OwnershipPolicy, ownership),
  port(ActionValidationPolicy, actions),
  port(UploadPolicy, uploads),
  port(AttachmentStore, attachments),
  port(LiveLog, liveLog),
  port(ReadinessProbe, probe),
  port(MetricsSink, metrics),
  port(TransportDiagnosticsSink, diagnostics),
  [TASK_HANDLERS, handlers],
]);
