import { afterAll } from '@jest/globals';
import { type Browser, chromium } from 'playwright-core';
import { debianProgram } from './debian.js';

const CHROMIUM = {
  name: 'chromium',
  variable: 'TEST_CHROMIUM',
  packages: ['chromium'],
  // The one in usr/bin is a script that looks for the other where it would be installed.
  path: 'usr/lib/chromium/chromium',
};

const running = new Set<Browser>();

export interface ChromiumOptions {
  /** Whether pages are kept for "back", as for people. Playwright switches that off. */
  readonly backForwardCache?: boolean;
}

/** Debian's Chromium, without a window, for which every host name is this machine; ended after the file. */
export async function startChromium({ backForwardCache = false }: ChromiumOptions = {}): Promise<Browser> {
  const { binary, libraries } = await debianProgram(CHROMIUM);
  const browser = await chromium.launch({
    executablePath: binary,
    args: ['--no-sandbox', '--host-resolver-rules=MAP * 127.0.0.1', '--disable-background-networking'],
    env: { ...process.env, ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }) } as Record<string, string>,
    ...(backForwardCache && { ignoreDefaultArgs: ['--disable-back-forward-cache'] }),
    timeout: 60_000,
  });
  running.add(browser);
  return browser;
}

afterAll(async () => {
  await Promise.all([...running].map((browser) => browser.close()));
});
