import { IsIn, IsString, Matches, MaxLength, ValidateIf } from 'class-validator';

/** Client → server: follow a task from a cursor. `null` and absent mean from the start. */
export class SubscribeFrameDto {
  @IsIn(['subscribe'])
  action!: 'subscribe';

  @IsString()
  @Matches(/^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,254}$/)
  taskId!: string;

  @ValidateIf((_, value) => value !== undefined && value !== null)
  @IsString()
  @MaxLength(255)
  lastEventId?: string | null;
}
