import { Transform } from 'class-transformer';
import { IsBoolean, ValidateBy, ValidateIf } from 'class-validator';
import { isName } from '../../../auth/auth-context.js';
import { Optional } from '../../../http/optional.decorator.js';
import { booleanText } from '../../../http/query-text.js';

/** The id of a principal or a tenant, also of a host. PostgreSQL would refuse U+0000. */
const IsName = () =>
  ValidateBy({
    name: 'isName',
    validator: {
      validate: (value: unknown) => typeof value === 'string' && isName(value),
      defaultMessage: () => '$property must be 1 to 128 characters without control characters',
    },
  });

/** Whose tasks: in a frame. */
export class ScopeDto {
  @Optional()
  @IsName()
  owner?: string;

  @Optional()
  @ValidateIf((_, value) => value !== '')
  @IsName()
  tenant?: string;

  @Optional()
  @IsBoolean()
  all?: boolean;
}

/** The same in a query, where everything is text. */
export class ScopeQueryDto extends ScopeDto {
  @Transform(booleanText)
  override all?: boolean;
}
