import { execFile } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { apiTool, installApiTools } from '../../.ci/api-tools.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { pythonWith } from '../support/python.js';
import { type Service, startService, temporaryDirectory } from '../support/service.js';

const run = promisify(execFile);
const clients = fileURLToPath(new URL('../../packages/api-clients/', import.meta.url));
const FOLLOWED = 'TASK_STARTED\nTASK_COMPLETED {"text":"hello"}\n';

/** The tools come from the registries, on a machine that lacks them. */
const FETCHING_MS = 300_000;

describe('A client generated from /openapi.json', () => {
  let database: TestDatabase;
  let service: Service;
  let directory: string;
  let document: string;

  beforeAll(async () => {
    await installApiTools();
    database = await createTestDatabase();
    service = await startService({ DATABASE_URL: database.appUrl }, { lifetime: 'file' });
    directory = await temporaryDirectory();
    document = join(directory, 'openapi.json');
    await writeFile(document, await (await fetch(`${service.url}/openapi.json`)).text());
  }, FETCHING_MS);

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  it('by openapi-typescript compiles strictly, creates a task and follows it to its end', async () => {
    const program = join(directory, 'typescript');
    await cp(join(clients, 'typescript'), program, { recursive: true });
    await symlink(join(clients, 'node_modules'), join(directory, 'node_modules'));
    await writeFile(join(directory, 'package.json'), '{ "type": "module" }');
    await apiTool('openapi-typescript', [document, '--output', join(program, 'api.ts')]);
    await apiTool('tsc', ['--project', program]);
    const { stdout } = await run(process.execPath, [join(program, 'follow.ts'), service.url]);
    expect(stdout).toBe(FOLLOWED);
  }, 120_000);

  it(
    'by openapi-python-client creates a task and follows it to its end',
    async () => {
      const folder = join(clients, 'python');
      const python = await pythonWith('openapi-python-client', join(folder, 'requirements.txt'));
      const target = join(directory, 'python/taskbridge_client');
      await mkdir(join(directory, 'python'));
      const options = [
        '--fail-on-warning',
        '--meta',
        'none',
        '--output-path',
        target,
        '--config',
        join(folder, 'generator.yaml'),
      ];
      await run(python, ['-m', 'openapi_python_client', 'generate', '--path', document, ...options]);
      const env = { ...process.env, PYTHONPATH: join(directory, 'python') };
      const { stdout } = await run(python, [join(folder, 'follow.py'), service.url], { env });
      expect(stdout).toBe(FOLLOWED);
    },
    FETCHING_MS,
  );
});
