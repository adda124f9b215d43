import { ApiProperty } from '@nestjs/swagger';

/** The one shape of every refusal. */
export class ErrorDto {
  /** Stable; what to decide by. */
  code!: string;
  /** For a person. */
  message!: string;
  @ApiProperty({ type: 'object', additionalProperties: true })
  details!: Record<string, unknown>;
  @ApiProperty({ format: 'date-time' })
  timestamp!: string;
  /** As in `X-Correlation-Id`: leads to the logs and the trace. */
  @ApiProperty({ format: 'uuid' })
  correlationId!: string;
}
