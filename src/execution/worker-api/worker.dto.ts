import { Fits } from '../../http/fits.decorator.js';
import { APPENDABLE_TYPES, type AppendableType, SUSPENSION_KINDS, type SuspensionKind } from '#protocol/events.js';
import {
  EVENT_KEY,
  SENT_TASK_ID,
  STEP_KEY,
  VISIBLE_ASCII,
  WORKER_FEATURE,
  WORKER_VERSION,
  TASK_TYPE,
} from '#protocol/ids.js';
import {
  CLAIM_WAIT_MS,
  LEASE_SECONDS,
  LONGEST_RETRY_AFTER_MS,
  MAX_ALLOWED_ACTIONS,
  MAX_BATCH_EVENTS,
  MAX_BATCH_SEQ,
  MAX_CANCEL_REASON_LENGTH,
  MAX_FAILURE_MESSAGE_LENGTH,
  MAX_HELD_LEASES,
  MAX_LEASE_TOKEN_LENGTH,
  MAX_NAME_LENGTH,
  MAX_TASK_TYPES,
  MAX_TASKS,
  MAX_WORKER_FEATURES,
  MAX_WORKER_ID_LENGTH,
  SIGNALS_WAIT_MS,
} from '#protocol/limits.js';
import { AsText, Elements, JsonObjectText, Shallow } from '../../http/body-shape.js';
import { JsonText } from '../../json/json-text.js';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsObject,
  IsString,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateNested,
} from 'class-validator';
import { Optional, Present } from '../../http/optional.decorator.js';
import { Reason } from '../../http/reason.decorator.js';
import { Timestamp } from '../../http/timestamp.decorator.js';

export class ClaimDto {
  @Fits(VISIBLE_ASCII)
  @MaxLength(MAX_WORKER_ID_LENGTH)
  workerId!: string;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_TASK_TYPES)
  @Fits(TASK_TYPE, { each: true })
  taskTypes!: string[];

  @IsInt()
  @Min(MAX_TASKS.minimum)
  @Max(MAX_TASKS.maximum)
  maxTasks: number = MAX_TASKS.default;

  @IsInt()
  @Min(CLAIM_WAIT_MS.minimum)
  @Max(CLAIM_WAIT_MS.maximum)
  waitTimeoutMs: number = CLAIM_WAIT_MS.default;

  @IsBoolean()
  steps: boolean = false;

  @Optional()
  @IsInt()
  @Min(LEASE_SECONDS.minimum)
  @Max(LEASE_SECONDS.maximum)
  leaseSeconds?: number;

  @Optional()
  @Fits(WORKER_VERSION)
  version?: string;

  @IsArray()
  @ArrayMaxSize(MAX_WORKER_FEATURES)
  @Fits(WORKER_FEATURE, { each: true })
  features: string[] = [];

  @Optional()
  @JsonObjectText({ required: false })
  policies?: JsonText;
}

export class LeaseTokenDto {
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_LEASE_TOKEN_LENGTH)
  leaseToken!: string;
}

export class HeldLeaseDto extends LeaseTokenDto {
  @Fits(SENT_TASK_ID)
  taskId!: string;
}

export class ExtendLeasesDto {
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_HELD_LEASES)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Elements(() => HeldLeaseDto)
  leases!: HeldLeaseDto[];
}

export class AwaitSignalsDto {
  @Fits(VISIBLE_ASCII)
  @MaxLength(MAX_WORKER_ID_LENGTH)
  workerId!: string;

  @IsArray()
  @ArrayMaxSize(MAX_HELD_LEASES)
  @Fits(SENT_TASK_ID, { each: true })
  known: string[] = [];

  @IsInt()
  @Min(SIGNALS_WAIT_MS.minimum)
  @Max(SIGNALS_WAIT_MS.maximum)
  waitTimeoutMs: number = SIGNALS_WAIT_MS.default;
}

export class AppendedEventDto {
  @IsIn(APPENDABLE_TYPES)
  type!: AppendableType;

  @IsObject()
  @Shallow()
  payload!: Record<string, unknown>;

  @Optional()
  @Fits(EVENT_KEY)
  eventKey?: string;
}

export class AppendEventsDto extends LeaseTokenDto {
  @Optional()
  @IsInt()
  @Min(1)
  @Max(MAX_BATCH_SEQ)
  batchSeq?: number;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_BATCH_EVENTS)
  // ValidateNested alone looks into lists of lists, and finds nothing wrong with them.
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Elements(() => AppendedEventDto)
  events!: AppendedEventDto[];
}

/** The query of an attachment. */
export class AttachFileDto {
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_NAME_LENGTH)
  filename!: string;
}

export class FinishStepDto extends LeaseTokenDto {
  @IsInt()
  @Min(1)
  @Max(MAX_BATCH_SEQ)
  batchSeq!: number;

  @Fits(STEP_KEY)
  key!: string;

  @Present()
  @AsText()
  result!: JsonText;
}

export class SuspendDto extends LeaseTokenDto {
  @Optional()
  @Fits(VISIBLE_ASCII)
  @MaxLength(MAX_NAME_LENGTH)
  suspendId?: string;

  @IsIn(SUSPENSION_KINDS)
  kind!: SuspensionKind;

  @IsString()
  @MinLength(1)
  @MaxLength(MAX_NAME_LENGTH)
  reasonCode!: string;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(MAX_ALLOWED_ACTIONS)
  @IsString({ each: true })
  @MinLength(1, { each: true })
  @MaxLength(MAX_NAME_LENGTH, { each: true })
  allowedActions!: string[];

  @IsInt()
  @Min(1)
  schemaVersion: number = 1;

  @Optional()
  @JsonObjectText()
  actionSchemas?: JsonText;

  @Optional()
  @JsonObjectText()
  interaction?: JsonText;

  @Optional()
  @JsonObjectText()
  uiHints?: JsonText;

  @Optional()
  @Timestamp()
  expiresAt?: string;
}

export class CompleteDto extends LeaseTokenDto {
  @Present()
  @AsText()
  result!: unknown;
}

export class FailDto extends LeaseTokenDto {
  @IsString()
  @MinLength(1)
  @MaxLength(MAX_NAME_LENGTH)
  code!: string;

  @IsString()
  @MaxLength(MAX_FAILURE_MESSAGE_LENGTH)
  message!: string;

  @IsBoolean()
  retryable!: boolean;

  @Optional()
  @IsInt()
  @Min(0)
  @Max(LONGEST_RETRY_AFTER_MS)
  retryAfterMs?: number;
}

export class CancelledDto extends LeaseTokenDto {
  @Reason(MAX_CANCEL_REASON_LENGTH)
  reason?: string;
}
