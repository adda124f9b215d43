import { createHash } from 'node:crypto';
import { Body, Controller, Get, Header, HttpCode, Post, Res, StreamableFile, UseGuards } from '@nestjs/common';
import { ApiBearerAuth, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { Answer, RenewedLease, Service, WorkerReceipt } from '#protocol/snapshots.js';
import { Public } from '../../auth/route.decorators.js';
import { Database } from '../../database/database.js';
import { ApiErrors } from '../../http/api-errors.decorator.js';
import { answers, Takes, TakesIds } from '../../http/api-schemas.js';
import { around, inPieces } from '../../http/json-pieces.js';
import { writeObject } from '../../json/json-text.js';
import { LiveReplicas } from '../../replicas/live-replicas.js';
import { EndAttempt, type Ended, type Ending } from '../../tasks/end-attempt.js';
import { ExtendLease } from '../../tasks/extend-lease.js';
import { LeaseLost } from '../../tasks/domain/tasks.errors.js';
import { isTaskId } from '../../tasks/domain/task-id.js';
import { readTaskHead } from '../../tasks/store/read-task-view.js';
import { TaskId } from '../../http/task-id.decorator.js';
import { AppendWorkerEvents } from '../append-worker-events.js';
import { ClaimForWorker } from './claim-for-worker.js';
import {
  AppendEventsDto,
  CancelledDto,
  ClaimDto,
  CompleteDto,
  FailDto,
  LeaseTokenDto,
  SuspendDto,
} from './worker.dto.js';
import { covers, isLimited, type WorkerGrant } from '../worker-grant.js';
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
    private readonly extendLease: ExtendLease,
    private readonly endAttempt: EndAttempt,
    private readonly database: Database,
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
    const left = new AbortController();
    response.once('close', () => left.abort());
    // Inputs and answers leave as their stored text.
    const leases = await this.claim.execute(body, grant, left.signal);
    return inPieces(around('{"leases":[', leases, writeObject, ']}'));
  }

  @Post('tasks/:taskId/events')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('AppendEvents')
  @ApiOperation({ operationId: 'appendEvents', summary: 'Append a batch of events, whole or not at all' })
  @ApiOkResponse(answers('WorkerReceipt'))
  async events(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() body: AppendEventsDto,
  ): Promise<WorkerReceipt> {
    await this.demandReach(grant, taskId);
    return this.appendEvents.execute(taskId, body);
  }

  @Post('tasks/:taskId/heartbeat')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('ProveLease')
  @ApiOperation({ operationId: 'extendLease', summary: 'Extend the lease' })
  @ApiOkResponse(answers('RenewedLease'))
  async heartbeat(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() { leaseToken }: LeaseTokenDto,
  ): Promise<RenewedLease> {
    await this.demandReach(grant, taskId);
    const { leaseExpiresAt, cancellationRequested, cancelReason } = await this.extendLease.execute({
      taskId,
      leaseToken,
    });
    return { leaseExpiresAt, cancellationRequested, ...(cancelReason !== null && { cancelReason }) };
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
  async suspend(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() body: SuspendDto,
  ): Promise<Answer<'TaskSuspension'>> {
    const { leaseToken: token, suspendId = suspendIdOf(token), ...rest } = body;
    const { eventId } = await this.end(grant, taskId, { kind: 'suspend', token, question: { suspendId, ...rest } });
    return { suspendId, eventId };
  }

  @Post('tasks/:taskId/complete')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('CompleteTask')
  @ApiOperation({ operationId: 'completeTask', summary: 'End the task with a result' })
  @ApiOkResponse(answers('TaskEnd'))
  async complete(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() { leaseToken: token, result }: CompleteDto,
  ): Promise<Answer<'TaskEnd'>> {
    const { eventId } = await this.end(grant, taskId, { kind: 'complete', token, result });
    return { eventId };
  }

  @Post('tasks/:taskId/fail')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('FailAttempt')
  @ApiOperation({ operationId: 'failAttempt', summary: 'End the attempt with a failure' })
  @ApiOkResponse(answers('AttemptFailure'))
  async fail(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() { leaseToken: token, ...failure }: FailDto,
  ): Promise<Answer<'AttemptFailure'>> {
    return this.end(grant, taskId, { kind: 'fail', token, ...failure });
  }

  @Post('tasks/:taskId/cancelled')
  @HttpCode(200)
  @TakesIds('taskId')
  @Takes('ConfirmCancellation')
  @ApiOperation({ operationId: 'confirmCancellation', summary: 'Obey a cancellation' })
  @ApiOkResponse(answers('TaskEnd'))
  async cancelled(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() { leaseToken: token, reason }: CancelledDto,
  ): Promise<Answer<'TaskEnd'>> {
    const { eventId } = await this.end(grant, taskId, {
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
  async release(
    @Granted() grant: WorkerGrant,
    @TaskId() taskId: string,
    @Body() { leaseToken: token }: LeaseTokenDto,
  ): Promise<void> {
    await this.end(grant, taskId, { kind: 'release', token });
  }

  private async end(grant: WorkerGrant, taskId: string, ending: Ending): Promise<Ended> {
    await this.demandReach(grant, taskId);
    return this.endAttempt.execute(taskId, ending, { remembered: true });
  }

  /** A task that there is not, and one that the token does not cover, have no lease. So they get the answer of a stale one. */
  private async demandReach(grant: WorkerGrant, taskId: string): Promise<void> {
    if (!isTaskId(taskId)) throw new LeaseLost();
    if (!isLimited(grant)) return;
    const head = await readTaskHead(this.database, taskId);
    if (!head || !covers(grant, head.identity)) throw new LeaseLost();
  }
}

/** The same key for a repeated call. It reveals nothing of the token. */
function suspendIdOf(leaseToken: string): string {
  return createHash('sha256').update(leaseToken).digest('hex').slice(0, 32);
}
