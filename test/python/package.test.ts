import { execFile } from 'node:child_process';
import { copyFile, cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { pythonPackage, pythonTools } from '../support/python.js';
import { temporaryDirectory } from '../support/service.js';

const run = promisify(execFile);

/** What a program said, and whether it ended well. */
async function said(program: string, args: readonly string[], cwd: string): Promise<string> {
  const { stdout, stderr } = await run(program, args, { cwd }).catch(
    (error: { stdout?: string; stderr?: string; message: string }) => ({
      stdout: `${error.stdout ?? ''}\nended badly`,
      stderr: error.stderr ?? error.message,
    }),
  );
  return `${stdout}${stderr}`.trim();
}

describe('packages/python', () => {
  let tools: string;

  beforeAll(async () => {
    tools = await pythonTools();
  }, 180_000);

  it.each<[string, readonly string[], RegExp]>([
    ['ruff format', ['ruff', 'format', '--no-cache', '--check', '.'], /already formatted$/],
    ['ruff check', ['ruff', 'check', '--no-cache', '.'], /^All checks passed!$/],
    ['mypy --strict', ['mypy', '--cache-dir', '/dev/null'], /^Success: no issues found/],
    ['pytest', ['pytest', '-q', '-p', 'no:cacheprovider'], /\d+ passed in/],
  ])(
    'keeps to %s',
    async (_name, args, good) => {
      const text = await said(tools, ['-m', ...args], pythonPackage);
      expect(text).toMatch(good);
      expect(text).not.toContain('ended badly');
    },
    120_000,
  );

  it('has a blocking client that is made from the other one, and notices when it is not', async () => {
    expect(await said(tools, ['make_sync.py', '--check'], pythonPackage)).toBe('');
    const copy = await temporaryDirectory();
    await cp(join(pythonPackage, 'src'), join(copy, 'src'), { recursive: true });
    for (const name of ['make_sync.py', 'pyproject.toml']) await copyFile(join(pythonPackage, name), join(copy, name));
    const file = join(copy, 'src/taskbridge_client/_async/task.py');
    await writeFile(file, (await readFile(file, 'utf8')).replace('async def cancel', 'async def end'));
    const text = await said(tools, ['make_sync.py', '--check'], copy);
    expect(text).toContain('Not current: task.py.');
    expect(text).toContain('ended badly');
  }, 60_000);

  it('is built as a wheel that a clean environment takes, and as an archive of sources from which it is built again', async () => {
    const [built, again] = [await temporaryDirectory(), await temporaryDirectory()];
    const build = ['-m', 'build', '--no-isolation', '--outdir'];
    await run(tools, [...build, built, '--sdist', '--wheel', pythonPackage]);
    const [wheel = '', sdist = ''] = (await readdir(built)).sort((one) => (one.endsWith('.whl') ? -1 : 1));
    expect([wheel, sdist]).toEqual([
      expect.stringMatching(/^taskbridge_client-.*-py3-none-any\.whl$/),
      expect.stringMatching(/^taskbridge_client-.*\.tar\.gz$/),
    ]);
    await run('tar', ['-xzf', join(built, sdist), '-C', again, '--strip-components=1']);
    await run(tools, [...build, again, '--wheel', again]);
    const names = async (path: string) => {
      const list = 'import sys, zipfile; print(*sorted(zipfile.ZipFile(sys.argv[1]).namelist()), sep="\\n")';
      return (await run(tools, ['-c', list, path])).stdout;
    };
    const content = await names(join(built, wheel));
    expect(content).toContain('taskbridge_client/py.typed');
    expect(content).not.toContain('tests/');
    expect(await names(join(again, wheel))).toBe(content);

    const clean = await temporaryDirectory();
    await run('python3', ['-m', 'venv', clean]);
    const python = join(clean, 'bin/python');
    await run(python, ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', join(built, wheel)]);
    const use = 'import taskbridge_client.worker; print(taskbridge_client.TaskBridge("http://127.0.0.1:1").task("t"))';
    expect(await said(python, ['-c', use], clean)).toBe("Task('t')");
    expect(await said(python, ['-m', 'pip', 'check', '--disable-pip-version-check'], clean)).toMatch(/^No broken/);
  }, 180_000);

  it('has the version of the service, and depends on httpx alone', async () => {
    const { version } = JSON.parse(await readFile(join(pythonPackage, '../../package.json'), 'utf8')) as {
      version: string;
    };
    const project = await readFile(join(pythonPackage, 'pyproject.toml'), 'utf8');
    expect(project).toContain(`version = "${version.replace('-dev', '.dev0')}"`);
    expect(project).toContain('dependencies = ["httpx>=0.27,<1"]');
  });
});
