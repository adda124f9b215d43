import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { startChromium } from '../support/chromium.js';
import { freePort } from '../support/free-port.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { eventually, temporaryDirectory } from '../support/service.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const COPIED = ['package.json', 'LICENSE', 'CHANGELOG.md', 'packages', 'examples'];
const LINKED = ['dist', 'node_modules'];
const LEFT_OUT = ['node_modules', 'dist', '.next'];
/** It installs packages, with those of Next among them where it runs in full. */
const BLOCK_MS = 400_000;

interface Example {
  readonly name: string;
  /** What the block prints when its page can be opened. */
  readonly address: RegExp;
  look(page: Page): Promise<void>;
}

const REACT_UPLOAD: Example = {
  name: 'react-upload',
  address: /Local:\s+(http:\S+)/,
  look: async (page) => {
    await page.setInputFiles('input', { name: 'names.txt', mimeType: 'text/plain', buffer: Buffer.from('Ada\nBob') });
    await page.waitForSelector('legend');
    expect(await page.textContent('legend')).toBe('Import 2 names?');
  },
};
const NEXT_CHAT: Example = {
  name: 'next-chat',
  address: /Local:\s+(http:\S+)/,
  look: async (page) => {
    await page.fill('input', 'hello');
    await page.click('button >> text=Send');
    await page.waitForFunction(`document.querySelector('.assistant')?.textContent.includes('lazy dog')`);
  },
};

let database: TestDatabase;
let browser: Browser;

beforeAll(async () => {
  database = await createTestDatabase();
  browser = await startChromium();
});

afterAll(() => database.drop());

/** The repository as it is cloned, with the packages and the build of the service. */
async function clone(): Promise<string> {
  const folder = await temporaryDirectory();
  const filter = (file: string) => !LEFT_OUT.includes(basename(file));
  for (const name of COPIED) await cp(join(root, name), join(folder, name), { recursive: true, filter });
  for (const name of LINKED) await symlink(join(root, name), join(folder, name));
  for (const name of ['protocol', 'handler']) {
    await mkdir(join(folder, 'packages', name), { recursive: true });
    await symlink(join(root, 'packages', name, 'dist'), join(folder, 'packages', name, 'dist'));
  }
  return folder;
}

describe('The commands of an example', () => {
  it.each(process.env['FULL'] ? [REACT_UPLOAD, NEXT_CHAT] : [REACT_UPLOAD])(
    'serve its page: $name',
    async ({ name, address, look }) => {
      const [folder, port] = [await clone(), await freePort()];
      const readme = await readFile(join(folder, 'examples', name, 'README.md'), 'utf8');
      const block = (/```sh\n(.*?)```/s.exec(readme)?.[1] ?? 'false').replace('3001', String(await freePort()));
      const env = {
        // npm may need more of the environment than its path: certificates, for example.
        ...{ ...process.env, NODE_ENV: undefined, NEXT_TELEMETRY_DISABLED: '1', NO_COLOR: '1' },
        ...{ DATABASE_URL: database.appUrl, PORT: String(port), TASKBRIDGE_URL: `http://127.0.0.1:${port}` },
      };
      // Its own group, so that all that the block starts ends with it.
      const bash = spawn('bash', ['-ec', block], { cwd: folder, env, detached: true });
      const exited = once(bash, 'close');
      let said = '';
      for (const stream of [bash.stdout, bash.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text;
        });
      }
      try {
        const found = await eventually(
          'the page is served',
          () => {
            const served = address.exec(said);
            if (!served) throw new Error(said);
            return served;
          },
          BLOCK_MS - 60_000,
        );
        const page = await browser.newPage();
        await page.goto(String(found[1]));
        await look(page);
        await page.close();
      } finally {
        if (bash.pid !== undefined) process.kill(-bash.pid, 'SIGKILL');
        await exited;
      }
    },
    BLOCK_MS,
  );
});
