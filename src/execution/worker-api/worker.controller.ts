import { createHash } from 'node:crypto';
import {
  Body,
  Controller,
  Get,
  Header,
  HttpCode,
  Post,
  Query,
  Req,
  Res,
  StreamableFile,
  UseGuards,
} from '@nestjs/common';
import {
  ApiBearerAuth,
  ApiBody,
  ApiConsumes,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { Request, Response } from 'express';
import type { Answer, AttachReceipt, Renewal, RenewedLease, Service, WorkerReceipt } from '#protocol/snapshots.js';
import { leaseTokenOf, Public } from '../../auth/route.decorators.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, Takes, NeedsHeader, TakesIds, TakesQuery } from '../../http/api-schemas.js';
import { askForBody } from '../../http/json-edge.js';
import { InvalidRequest } from '../../errors.js';
import { around, inPieces } from '../../http/json-pieces.js';
import { writeObject } from '../../json/json-text.js';
import { LiveReplicas } from '../../replicas/live-replicas.js';
import { AttachFile } from '../../tasks/attach-file.js';
import { EndAttempt, type Ended, type Ending } from '../../tasks/end-attempt.js';
import { ExtendLease } from '../../tasks/extend-lease.js';
import type { RenewedLease as Extended } from '../../tasks/store/renew-leases.js';
import { taskIdFrom } from '#protocol/ids.js';
import { TaskId } from '../../http/task-id.decorator.js';
import { AppendWorkerEvents } from '../append-worker-events.js';
import { ClaimForWorker } from './claim-for-worker.js';
import { bodyOf, declaredType } from './attached-body.js';
import {
  AppendEventsDto,
  AttachFileDto,
  AwaitSignalsDto,
  CancelledDto,
  ClaimDto,
  CompleteDto,
  ExtendLeasesDto,
  FailDto,
  FinishStepDto,
  LeaseTokenDto,
  SuspendDto,
} from './worker.dto.js';
import { FinishWorkerStep } from '../finish-worker-step.js';
import { type WorkerGrant, workerIdOf } from '../worker-grant.js';
import { WorkerSignals } from '../worker-signals.js';
import { Granted } from './granted.decorator.js';
import { WorkerTokenGuard } from './worker-token.guard.js';

/** The worker protocol: everything works with `curl`. */
@Public()
@UseGuards(WorkerTokenGuard)
@ApiTags('workers')
@ApiBearerAuth('workerToken')
@ApiErrors(400, 401, 403, 409, 413, 415, 422, 503)
@Controller('worker/v1')
export class WorkerController {
  constructor(
    private readonly replicas: LiveReplicas,
    private readonly claim: ClaimForWorker,
    private readonly appendEvents: AppendWorkerEvents,
    private readonly finishStep: FinishWorkerStep,
    private readonly attachFile: AttachFile,
    private readonly extendLease: ExtendLease,
    private readonly endAttempt: EndAttempt,
    private readonly workerSignals: WorkerSignals,
  ) {}

  @Get()
  @Header('Cache-Control', 'no-store')
  @ApiOperation({ operationId: 'readFeatures', summary: 'The version, and what all replicas know' })
  @ApiOkResponse(answers('Service'))
  service(): Service {
    return this.replicas.service;
  }

  @Post('leases')
  @HttpCode(200)
  @Header('Content-Type', 'application/json; charset=utf-8')
  @Takes('ClaimTasks')
  @ApiOperation({ operationId: 'claimTasks', summary: 'Claim tasks, waiting while there is none' })
  @ApiOkResponse(answers('Leases'))
  async leases(
    @Granted() grant: WorkerGrant,
    @Body() body: ClaimDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<string | StreamableFile> {
    // Inputs and answers leave as their stored text.
    const leases = await this.claim.execute(body, grant, leftOf(response));
    return inPieces(around('{"leases":[', leases, writeObject, ']}'));
  }

  @Post('heartbeats')
  @HttpCode(200)
  @Takes('ExtendLeases')
  @ApiOperation({ operationId: 'extendLeases', summary: 'Extend many leases' })
  @ApiOkResponse(answers('RenewedLeases'))
  async heartbeats(
    @Granted() grant: WorkerGrant,
    @Body() { leases }: ExtendLeasesDto,
  ): Promise<Answer<'RenewedLeases'>> {
    const held = leases.map(({ taskId, leaseToken }) => ({ taskId: taskIdFrom(taskId), leaseToken }));
    const renewals = await this.extendLease.executeAll(held, grant);
    return {
      leases: held.map(({ taskId }, i): Renewal => {
        const renewal = renewals[i];
        if (renewal?.outcome === 'renewed') return { taskId, ...wireRenewed(renewal) };
        return { taskId, code: renewal?.outcome === 'aside' ? 'TASK_ASIDE' : 'LEASE_LOST' };
      }),
    };
  }

  @Post('signals')
  @HttpCode(200)
  @Takes('AwaitSignals')
  @ApiOperation({ operationId: 'awaitSignals', summary: 'Learn of cancellations, waiting while there is none' })
  @ApiOkResponse(answers('Signals'))
  async signals(
    @Granted() grant: WorkerGrant,
    @Body() { workerId, known, waitTimeoutMs }: AwaitSignalsDto,
    @Res({ passthrough: true }) response: Response,
  ): Promise<Answer<'Signals'>> {
    const awaited = { workerId: workerIdOf(grant, workerId), grant, known: new Set(known.map(taskIdFrom)) };
    return { signals: await this.workerSignals.wait(awaited, waitTimeoutMs, leftOf(response)) };
  }

  @Post('tasks/:taskId/events')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('AppendEvents')
  @ApiOperation({ operationId: 'appendEvents', summary: 'Append a batch of events, whole or not at all' })
  @ApiOkResponse(answers('WorkerReceipt'))
  async events(@TaskId() taskId: string, @Body() body: AppendEventsDto): Promise<WorkerReceipt> {
    return this.appendEvents.execute(taskId, body);
  }

  @Post('tasks/:taskId/steps')
  @HttpCode(200)
  @Header('Content-Type', 'application/json; charset=utf-8')
  @TakesIds('taskId')
  @Takes('FinishStep')
  @ApiOperation({ operationId: 'finishStep', summary: 'Store the result of a step, once' })
  @ApiOkResponse(answers('StepReceipt'))
  async steps(@TaskId() taskId: string, @Body() body: FinishStepDto): Promise<string> {
    // The result leaves as its stored text.
    return writeObject(await this.finishStep.execute(taskId, body));
  }

  @Post('tasks/:taskId/attachments')
  @HttpCode(200)
  @TakesIds('taskId')
  @TakesQuery('attachFile')
  @NeedsHeader('X-Lease-Token')
  @ApiConsumes('application/octet-stream')
  @ApiBody({ required: true, schema: { type: 'string', format: 'binary' } })
  @ApiOperation({ operationId: 'attachFile', summary: 'Attach a file to the task: the body is its bytes' })
  @ApiOkResponse(answers('AttachReceipt'))
  async attachments(
    @TaskId() taskId: string,
    @Query() { filename }: AttachFileDto,
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<AttachReceipt> {
    const leaseToken = leaseTokenOf(request);
    if (leaseToken === undefined) throw new InvalidRequest('The header X-Lease-Token is required.');
    const mediaType = declaredType(request);
    const { 'content-length': length } = request.headers;
    const open = () => {
      askForBody(request, response);
      return bodyOf(request);
    };
    const file = { filename, mediaType, ...(length !== undefined && { sizeBytes: Number(length) }), open };
    return this.attachFile.execute({ taskId, leaseToken }, file);
  }

  @Post('tasks/:taskId/heartbeat')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('ProveLease')
  @ApiOperation({ operationId: 'extendLease', summary: 'Extend the lease' })
  @ApiOkResponse(answers('RenewedLease'))
  async heartbeat(@TaskId() taskId: string, @Body() { leaseToken }: LeaseTokenDto): Promise<RenewedLease> {
    return wireRenewed(await this.extendLease.execute({ taskId, leaseToken }));
  }

  @Post('tasks/:taskId/suspend')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('SuspendTask')
  @ApiOperation({
    operationId: 'suspendTask',
    summary: 'Ask; the lease ends, and the task is leased again with the answer',
  })
  @ApiOkResponse(answers('TaskSuspension'))
  async suspend(@TaskId() taskId: string, @Body() body: SuspendDto): Promise<Answer<'TaskSuspension'>> {
    const { leaseToken: token, suspendId = suspendIdOf(token), ...rest } = body;
    const { eventId } = await this.end(taskId, { kind: 'suspend', token, question: { suspendId, ...rest } });
    return { suspendId, eventId };
  }

  @Post('tasks/:taskId/complete')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('CompleteTask')
  @ApiOperation({ operationId: 'completeTask', summary: 'End the task with a result' })
  @ApiOkResponse(answers('TaskEnd'))
  async complete(
    @TaskId() taskId: string,
    @Body() { leaseToken: token, result }: CompleteDto,
  ): Promise<Answer<'TaskEnd'>> {
    const { eventId } = await this.end(taskId, { kind: 'complete', token, result });
    return { eventId };
  }

  @Post('tasks/:taskId/fail')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('FailAttempt')
  @ApiOperation({ operationId: 'failAttempt', summary: 'End the attempt with a failure' })
  @ApiOkResponse(answers('AttemptFailure'))
  async fail(
    @TaskId() taskId: string,
    @Body() { leaseToken: token, ...failure }: FailDto,
  ): Promise<Answer<'AttemptFailure'>> {
    return this.end(taskId, { kind: 'fail', token, ...failure });
  }

  @Post('tasks/:taskId/cancelled')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('ConfirmCancellation')
  @ApiOperation({ operationId: 'confirmCancellation', summary: 'Obey a cancellation' })
  @ApiOkResponse(answers('TaskEnd'))
  async cancelled(
    @TaskId() taskId: string,
    @Body() { leaseToken: token, reason }: CancelledDto,
  ): Promise<Answer<'TaskEnd'>> {
    const { eventId } = await this.end(taskId, {
      kind: 'confirm_cancellation',
      token,
      ...(reason !== undefined && { reason }),
    });
    return { eventId };
  }

  @Post('tasks/:taskId/release')
  @HttpCode(204)
  @TakesIds('taskId')
  @Takes('ProveLease')
  @ApiOperation({ operationId: 'releaseTask', summary: 'Hand the attempt back, not counted' })
  @ApiNoContentResponse({ description: 'Handed back' })
  async release(@TaskId() taskId: string, @Body() { leaseToken: token }: LeaseTokenDto): Promise<void> {
    await this.end(taskId, { kind: 'release', token });
  }

  private end(taskId: string, ending: Ending): Promise<Ended> {
    return this.endAttempt.execute(taskId, ending, { remembered: true });
  }
}

/** Aborts when the client hangs up. */
function leftOf(response: Response): AbortSignal {
  const left = new AbortController();
  response.once('close', () => left.abort());
  return left.signal;
}

function wireRenewed({ leaseExpiresAt, cancellationRequested, cancelReason }: Extended): RenewedLease {
  return { leaseExpiresAt, cancellationRequested, ...(cancelReason !== null && { cancelReason }) };
}

/** The same key for a repeated call. It reveals nothing of the token. */
function suspendIdOf(leaseToken: string): string {
  return createHash('sha256').update(leaseToken).digest('hex').slice(0, 32);
}
