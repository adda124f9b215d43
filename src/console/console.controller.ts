import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Controller, Get, Param, Query, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Response } from 'express';
import { Requires } from '../auth/route.decorators.js';
import { RouteNotFound } from '../errors.js';
import { Produces } from '../http/accept.guard.js';

/** What `npm run console` builds. */
const BUILT = fileURLToPath(new URL('../../packages/console/dist/', import.meta.url));
/** Names with a hash of what is in them. */
const HASHED = 'assets';
const HASHED_FOR = 'private, max-age=31536000, immutable';

const NOT_BUILT = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>TaskBridge</title>
<h1>The console is not built</h1>
<p>Run <code>npm run console</code> in the folder of the service, and load this page again.</p>
</html>
`;

/**
 * The files of the console. They contain nothing of a task: a page asks the public API, as its reader. A path of a screen is no
 * file, and gets the page, which reads the address.
 */
@ApiExcludeController()
@Produces(null)
@Controller('console')
export class ConsoleController {
  @Get()
  @Requires('tasks:read', 'tasks:write', 'tasks:operate')
  page(@Query() _search: object, @Res() response: Response): void {
    if (!existsSync(join(BUILT, 'index.html'))) response.type('html').send(NOT_BUILT);
    else send(response, 'index.html', 'no-cache');
  }

  @Get('*path')
  @Requires('tasks:read', 'tasks:write', 'tasks:operate')
  file(@Param('path') path: readonly string[], @Query() search: object, @Res() response: Response): void {
    const [folder] = path;
    if (folder === HASHED) send(response, path.join('/'), HASHED_FOR);
    else if (path.join('/') === 'mark.svg') send(response, 'mark.svg', 'no-cache');
    else this.page(search, response);
  }
}

/** Express refuses paths that lead out of the folder. */
function send(response: Response, path: string, cacheControl: string): void {
  const headers = { 'Cache-Control': cacheControl };
  response.sendFile(path, { root: BUILT, cacheControl: false, headers }, (error) => {
    if (error && !response.headersSent) response.req.next?.(new RouteNotFound());
  });
}
