import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsInt, IsString, Max, Min } from 'class-validator';
import { Optional } from '../../http/optional.decorator.js';
import { integerText } from '../../http/query-text.js';

export class LongPollDto {
  /** The last event id that the client has; absent, empty or `0`: from the start. */
  @Optional()
  @IsString()
  afterEventId?: string;

  /** How long to wait while there is nothing after the cursor. */
  @Transform(integerText)
  @IsInt()
  @Min(0)
  @Max(60_000)
  @ApiProperty({ type: 'integer', minimum: 0, maximum: 60000, default: 25000, required: false })
  waitTimeoutMs: number = 25_000;

  @Transform(integerText)
  @IsInt()
  @Min(1)
  @Max(500)
  @ApiProperty({ type: 'integer', minimum: 1, maximum: 500, default: 100, required: false })
  maxEvents: number = 100;
}

export class StreamQueryDto {
  /** Stands in for the `Last-Event-ID` header, which wins. */
  @Optional()
  @IsString()
  lastEventId?: string;
}

export class EventEnvelopeDto {
  type!: string;
  taskId!: string;
  /** The position in the task's log, decimal, dense from `"1"`. */
  eventId!: string;
  @ApiProperty({ format: 'date-time' })
  createdAt!: string;
  @ApiProperty({ type: 'object', additionalProperties: true })
  payload!: Record<string, unknown>;
}

export class EventPageDto {
  taskId!: string;
  events!: EventEnvelopeDto[];
  /** The cursor to use next; absent when there was none and nothing came. */
  nextAfterEventId?: string;
  /** Whether there is more after this page already. */
  hasMore!: boolean;
  headEventId!: string;
  /** Whether the terminal event is in or before this page. */
  terminal!: boolean;
}
