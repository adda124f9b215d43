import { Controller, Get, Header } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Me } from '#protocol/operators.js';
import { type AuthContext, hasScope, isNamed } from '../auth/auth-context.js';
import { Caller, Requires } from '../auth/route.decorators.js';
import { ApiErrors } from '../http/api-errors.decorator.js';
import { answers } from '../http/api-schemas.js';

@ApiTags('service')
@Controller('api/v1/me')
export class MeController {
  @Get()
  @Requires('tasks:read', 'tasks:write', 'tasks:operate')
  @Header('Cache-Control', 'no-store')
  @ApiOperation({ operationId: 'readMe', summary: 'Who the caller is, and what it may do' })
  @ApiOkResponse(answers('Me'))
  @ApiErrors(400, 401, 403, 406)
  read(@Caller() caller: AuthContext): Me {
    const { subject, tenantId, appId, scopes } = caller;
    return {
      subject,
      ...(tenantId !== undefined && { tenantId }),
      ...(appId !== undefined && { appId }),
      scopes: [...scopes].sort(),
      isNamed: isNamed(caller),
      may: {
        read: hasScope(caller, 'tasks:read'),
        write: hasScope(caller, 'tasks:write'),
        readAll: hasScope(caller, 'tasks:admin'),
        operate: hasScope(caller, 'tasks:operate'),
        prioritise: hasScope(caller, 'tasks:prioritise'),
      },
    };
  }
}
