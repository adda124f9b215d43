import { ApiProperty } from '@nestjs/swagger';
import { AttachmentDto } from '../../tasks/dto/task-snapshot.dto.js';

/** What the worker routes answer, for OpenAPI. */
export class LeasedAttachmentDto extends AttachmentDto {
  /** The path of the bytes, relative to the service. A request needs the lease token in `X-Lease-Token`. */
  url!: string;
}

export class WorkerAnswerDto {
  suspendId!: string;
  clientActionId!: string;
  actionType!: string;
  @ApiProperty({ type: Object })
  payload!: Readonly<Record<string, unknown>>;
  actorId!: string;
}

export class LeaseDto {
  taskId!: string;
  @ApiProperty({ type: 'integer' })
  attempt!: number;
  /** Proves this attempt and nothing else. */
  leaseToken!: string;
  @ApiProperty({ format: 'date-time' })
  leaseExpiresAt!: string;
  taskType!: string;
  clientRequestId!: string;
  @ApiProperty({ type: 'object', additionalProperties: true })
  input!: object;
  @ApiProperty({ type: 'object', additionalProperties: true })
  metadata!: object;
  ownerId!: string;
  attachments!: LeasedAttachmentDto[];
  headEventId!: string;
  @ApiProperty({ type: String, nullable: true })
  traceparent!: string | null;
  cancellationRequested!: boolean;
  /** The answer that the attempt goes on with. */
  @ApiProperty({ required: false })
  resume?: WorkerAnswerDto;
  /** All answers so far, oldest first. */
  answers!: WorkerAnswerDto[];
}

export class LeasesDto {
  /** Empty after the wait. */
  leases!: LeaseDto[];
}

export class WorkerReceiptDto {
  /** For each event of the batch; those that were stored as one have the same. */
  eventIds!: string[];
  @ApiProperty({ format: 'date-time' })
  leaseExpiresAt!: string;
  cancellationRequested!: boolean;
}

export class RenewedLeaseDto {
  @ApiProperty({ format: 'date-time' })
  leaseExpiresAt!: string;
  cancellationRequested!: boolean;
  cancelReason?: string;
}

export class SuspendedDto {
  suspendId!: string;
  eventId!: string;
}

export class EndedDto {
  eventId!: string;
}

export class FailedDto extends EndedDto {
  willRetry!: boolean;
}
