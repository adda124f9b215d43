import { ApiProperty } from '@nestjs/swagger';
import { AnyJson } from '../../http/any-json.decorator.js';
import { AsText, Elements, JsonObjectText, Shallow } from '../../http/body-shape.js';
import { JsonText } from '../../http/json-text.js';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsBoolean,
  IsIn,
  IsInt,
  IsObject,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  MinLength,
  ValidateNested,
} from 'class-validator';
import { Optional, Present } from '../../http/optional.decorator.js';
import { Timestamp } from '../../http/timestamp.decorator.js';
import { SUSPENSION_KINDS, type SuspensionKind } from '../../tasks/domain/suspension.js';

const VISIBLE_ASCII = /^[\x21-\x7e]+$/;
const TASK_TYPE = /^[A-Za-z0-9._:-]{1,128}$/;
/** What a worker may append; ends and suspensions have their own calls. */
const APPENDABLE = ['TASK_STARTED', 'TASK_PROGRESS', 'TASK_MESSAGE', 'TASK_OUTPUT'] as const;

export class ClaimDto {
  /** Names the worker in logs; unique among workers. */
  @Matches(VISIBLE_ASCII)
  @MaxLength(128)
  workerId!: string;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(100)
  @Matches(TASK_TYPE, { each: true })
  taskTypes!: string[];

  @IsInt()
  @Min(1)
  @Max(50)
  @ApiProperty({ type: 'integer', minimum: 1, maximum: 50, default: 1, required: false })
  maxTasks: number = 1;

  /** How long to wait while there is nothing to do. */
  @IsInt()
  @Min(0)
  @Max(30_000)
  @ApiProperty({ type: 'integer', minimum: 0, maximum: 30000, default: 20000, required: false })
  waitTimeoutMs: number = 20_000;
}

export class LeaseTokenDto {
  /** From the lease; it alone proves the lease. */
  @IsString()
  @MinLength(1)
  @MaxLength(128)
  leaseToken!: string;
}

export class AppendedEventDto {
  @IsIn(APPENDABLE)
  @ApiProperty({ enum: APPENDABLE })
  type!: (typeof APPENDABLE)[number];

  @IsObject()
  @Shallow()
  @ApiProperty({ type: 'object', additionalProperties: true })
  payload!: Record<string, unknown>;
}

export class AppendEventsDto extends LeaseTokenDto {
  /** 1, 2, 3… within the lease. */
  @IsInt()
  @Min(1)
  @Max(2_147_483_647)
  @ApiProperty({ type: 'integer' })
  batchSeq!: number;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(500)
  // ValidateNested alone looks into lists of lists, and finds nothing wrong with them.
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Elements(() => AppendedEventDto)
  events!: AppendedEventDto[];
}

export class SuspendDto extends LeaseTokenDto {
  /** The place in the handler that asks; made up when absent. A task asks once under one id. */
  @Optional()
  @Matches(VISIBLE_ASCII)
  @MaxLength(255)
  suspendId?: string;

  @IsIn(SUSPENSION_KINDS)
  @ApiProperty({ enum: SUSPENSION_KINDS })
  kind!: SuspensionKind;

  @IsString()
  @MinLength(1)
  @MaxLength(255)
  reasonCode!: string;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(100)
  @IsString({ each: true })
  @MinLength(1, { each: true })
  @MaxLength(255, { each: true })
  allowedActions!: string[];

  @IsInt()
  @Min(1)
  @ApiProperty({ type: 'integer', minimum: 1, default: 1, required: false })
  schemaVersion: number = 1;

  @Optional()
  @JsonObjectText({ required: false })
  interaction?: JsonText;

  @Optional()
  @JsonObjectText({ required: false })
  uiHints?: JsonText;

  /** RFC 3339. */
  @Optional()
  @Timestamp()
  @ApiProperty({ format: 'date-time', required: false })
  expiresAt?: string;
}

export class CompleteDto extends LeaseTokenDto {
  /** Any JSON, at most 1 MiB. */
  @Present()
  @AsText()
  @AnyJson({ description: 'Any JSON, at most 1 MiB' })
  result!: unknown;
}

export class FailDto extends LeaseTokenDto {
  @IsString()
  @MinLength(1)
  @MaxLength(255)
  code!: string;

  @IsString()
  @MaxLength(8192)
  message!: string;

  @IsBoolean()
  retryable!: boolean;

  /** Instead of the backoff. */
  @Optional()
  @IsInt()
  @Min(0)
  @Max(86_400_000)
  @ApiProperty({ type: 'integer', required: false })
  retryAfterMs?: number;
}

export class CancelledDto extends LeaseTokenDto {
  @Optional()
  @IsString()
  @MinLength(1)
  @MaxLength(1024)
  reason?: string;
}
