import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import { Client, uniqueId } from '../support/client.js';
import { eventually } from '../support/service.js';
import { type Stage, startStage, violationsOf } from './stage.js';

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
}, 300_000);

afterEach(() => stage.close());
afterAll(() => stage.end());

type Input = Readonly<Record<string, unknown>>;
const create = async (taskType: string, input: Input = {}, clientRequestId = uniqueId()): Promise<string> =>
  (await stage.client.create({ clientRequestId, taskType, input })).body.taskId;
const created = async (taskType: string, status: string, input: Input = {}): Promise<string> => {
  const id = await create(taskType, input);
  await eventually(`${taskType} is ${status}`, async () => {
    const { body } = await stage.client.snapshot(id);
    return status === 'asking' ? body.openSuspension !== undefined : body.status === status;
  });
  return id;
};
const button = (page: Page, name: string | RegExp) => page.getByRole('button', { name });
const isLoaded = (page: Page) =>
  eventually('nothing loads', async () => (await page.locator('[aria-busy=true]').count()) === 0);
const shows = (page: Page, text: string | RegExp) => page.getByText(text).filter({ visible: true }).first().waitFor();

describe('The list of tasks', () => {
  it('begins empty, and shows a task that is created, and its progress as it comes', async () => {
    const page = await stage.open('/console');
    await shows(page, 'Nothing ever ran');
    expect(await violationsOf(page)).toEqual([]);
    await create('demo.greet', { steps: 30, stepMs: 100 }, 'seen-in-the-list');
    await shows(page, 'seen-in-the-list');
    await shows(page, /step 1\d of 30/);
    await shows(page, 'completed');
    expect(await violationsOf(page)).toEqual([]);
  }, 30_000);

  it('keeps the focus while rows come and change', async () => {
    const first = await created('demo.greet', 'RUNNING', { steps: 20, stepMs: 50 });
    const page = await stage.open('/console/tasks');
    const box = page.getByRole('checkbox', { name: `Select demo.greet ${first}` });
    await box.focus();
    await create('demo.echo', {}, 'a-new-row');
    await shows(page, 'a-new-row');
    await eventually('the task is over', async () => (await stage.client.snapshot(first)).body.status === 'COMPLETED');
    await page
      .getByRole('row', { name: new RegExp(first) })
      .getByText('completed')
      .waitFor();
    expect(await box.evaluate((element) => element === element.ownerDocument.activeElement)).toBe(true);
  }, 30_000);

  it('has its filter in the address, and says when nothing matches', async () => {
    await created('demo.fail', 'FAILED');
    const page = await stage.open('/console/tasks?status=FAILED');
    await shows(page, 'DEMO_FAILURE');
    expect(await page.getByRole('row').filter({ hasText: 'completed' }).count()).toBe(0);
    await page.getByText('More filters').click();
    await page.getByLabel('Type').fill('no.such');
    await button(page, 'Apply').click();
    await shows(page, 'No task matches');
    expect(page.url()).toContain('taskType=no.such');
    expect(await violationsOf(page)).toEqual([]);
    await page.goBack();
    await shows(page, 'DEMO_FAILURE');
  }, 30_000);

  it('cancels all that match after it has said how many, and no other', async () => {
    const kept = await created('demo.approval', 'asking');
    const ids = await Promise.all([1, 2, 3].map(() => created('demo.sleep', 'RUNNING', { ms: 60_000 })));
    const page = await stage.open('/console/tasks?taskType=demo.sleep&status=RUNNING');
    await button(page, 'Cancel all that match…').click();
    await shows(page, /3 tasks will be asked to end/);
    expect(await violationsOf(page)).toEqual([]);
    expect((await stage.client.snapshot(ids[0] ?? '')).body.cancellationRequested).toBe(false);
    await button(page, 'Cancel 3 tasks').click();
    await shows(page, '3 of 3 done.');
    for (const id of ids)
      await eventually('it is cancelled', async () => (await stage.client.snapshot(id)).body.status === 'CANCELLED');
    expect((await stage.client.snapshot(kept)).body.cancellationRequested).toBe(false);
    await stage.client.cancel(kept);
  }, 30_000);
});

describe('A task', () => {
  it('is followed through a kill -9 of the service, without a reload', async () => {
    const id = await create('demo.steps', { steps: 12, stepMs: 500 });
    const page = await stage.open(`/console/tasks/${id}`);
    await page.evaluate('window.isSamePage = true');
    await shows(page, /part#2 completed/);
    await stage.crash(async () => shows(page, 'The service is away. This page comes back by itself.'));
    await shows(page, /attempt 2 after/);
    await page.getByRole('region', { name: 'Result' }).getByText('"steps": 12').waitFor();
    await shows(page, 'part#11 completed');
    expect(await page.evaluate('window.isSamePage')).toBe(true);
    const { headEventId } = (await stage.client.snapshot(id)).body;
    await shows(page, `${headEventId} of ${headEventId}`);
    expect(await violationsOf(page)).toEqual([]);
  }, 60_000);

  it('is answered by keyboard alone', async () => {
    const id = await created('form', 'asking');
    const page = await stage.open(`/console/tasks/${id}`);
    await shows(page, 'How many?');
    expect(await violationsOf(page)).toEqual([]);
    const count = page.getByLabel('count (required)');
    await eventually('the field has the focus', async () => {
      await page.keyboard.press('Tab');
      return count.evaluate((element) => element === element.ownerDocument.activeElement);
    });
    await page.keyboard.type('7');
    await page.keyboard.press('Enter');
    await page.getByRole('region', { name: 'Result' }).getByText('"count": 7').waitFor();
    expect((await stage.client.snapshot(id)).body.result).toEqual({ count: 7 });
  }, 30_000);

  it('shows what became void, marked as such', async () => {
    const id = await created('again', 'COMPLETED');
    const page = await stage.open(`/console/tasks/${id}`);
    await page.locator('del', { hasText: 'words of attempt 1.' }).waitFor();
    await page.locator('pre span', { hasText: 'words of attempt 2.' }).waitFor();
    expect(await page.getByRole('region', { name: 'Timeline' }).getByText('(lost)').count()).toBe(1);
  }, 30_000);

  it('is cancelled with a reason, and runs again with another input', async () => {
    const id = await created('demo.sleep', 'RUNNING', { ms: 60_000 });
    const page = await stage.open(`/console/tasks/${id}`);
    await button(page, 'Cancel…').click();
    await page.getByLabel('Reason (optional)').fill('not needed');
    await button(page, 'Cancel the task').click();
    await button(page, 'Run again…').click();
    await page.getByLabel('Input, as JSON').fill('{"ms": 1}');
    await button(page, 'Run again').last().click();
    await page.getByRole('region', { name: 'Result' }).getByText('"sleptMs": 1').waitFor();
    expect(page.url()).not.toContain(id);
    await shows(page, 'Runs again');
  }, 30_000);

  it('shows the wire as it is, over each transport', async () => {
    const id = await created('demo.greet', 'COMPLETED', { steps: 1, stepMs: 1 });
    const page = await stage.open(`/console/tasks/${id}`);
    for (const [transport, text] of [
      ['WebSocket', '"type":"TASK_COMPLETED"'],
      ['SSE', 'data: {"type":"TASK_COMPLETED"'],
      ['poll', '"terminal":true'],
    ] as const) {
      await button(page, transport).click();
      await page
        .getByRole('group', { name: `What came over ${transport}` })
        .filter({ hasText: text })
        .waitFor();
    }
  }, 30_000);
});

describe('Each screen', () => {
  const SCREENS = [
    ['tasks', 'Tasks'],
    ['questions', 'Questions'],
    ['stuck', 'Stuck'],
    ['types', 'Task types'],
    ['schedules', 'Schedules'],
    ['try', 'Try it'],
    ['system', 'System'],
    ['system?view=workers', 'System'],
    ['system?view=streams', 'System'],
    ['system?view=settings', 'System'],
    ['system?view=log', 'System'],
  ] as const;

  it.each(SCREENS)(
    '%s has nothing that axe-core objects to, light and dark, and fits into 360 px',
    async (path, name) => {
      const page = await stage.open(`/console/${path}`);
      await page.getByRole('heading', { name, level: 1 }).waitFor();
      await isLoaded(page);
      expect(await violationsOf(page)).toEqual([]);
      await page.setViewportSize({ width: 360, height: 740 });
      await page.emulateMedia({ colorScheme: 'dark' });
      expect(await violationsOf(page)).toEqual([]);
      const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(overflow)).toBe(0);
    },
    30_000,
  );

  it('says that the service is away, and comes back by itself', async () => {
    for (const [path] of SCREENS.filter(([path]) => path !== 'try')) {
      // A page that has read nothing yet.
      const page = await stage.open('/console/nothing');
      await shows(page, 'There is no such page');
      let isAway = true;
      await page.route('**/api/v1/**', (route) => (isAway ? route.abort() : route.continue()));
      await page.evaluate(`history.pushState({}, '', '/console/${path}')`);
      await shows(page, 'The service does not answer');
      if (path === 'tasks') expect(await violationsOf(page)).toEqual([]);
      isAway = false;
      await page.getByText('The service does not answer').first().waitFor({ state: 'hidden' });
      await page.close();
    }
  }, 60_000);
});

describe('Texts of tasks', () => {
  const isHarmless = async (page: Page) => {
    expect(await page.evaluate('window.wasRun')).toBeUndefined();
    // Nothing but our own links, and no element that a text could have brought.
    const links = await page.locator('a').evaluateAll((all) => all.map((one) => one.getAttribute('href') ?? ''));
    expect(links.filter((href) => !/^(#content$|\/console|\/api\/v1\/tasks\/)/.test(href))).toEqual([]);
    expect(await page.locator('main :is(img, script, iframe, style, svg, object)').count()).toBe(0);
    const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    expect(await page.evaluate(overflow)).toBe(0);
    // What turns the direction of a line, or hides in it, is shown by its number.
    expect(await page.locator('body').innerText()).not.toMatch(
      /[\u0000-\u0008\u000b-\u001f\u202a-\u202e\u2066-\u2069]/,
    );
  };

  it.each([1280, 360])(
    'are never markup, a link or a layout break, at %i px',
    async (width) => {
      const id = await created('hostile', 'asking');
      const page = await stage.open(`/console/tasks/${id}`, { viewport: { width, height: 800 } });
      await shows(page, '<script>window.wasRun=1</script>');
      await page.getByText('⟨202E⟩').first().waitFor();
      await page.getByText('⟨001B⟩[31m').first().waitFor();
      const rows = page.getByRole('group', { name: 'Events of the task' });
      // A row that opens pushes others out of the list.
      for (let n = 0; n < 5; n += 1) await rows.getByRole('button', { expanded: false }).first().click();
      await page.getByRole('link', { name: /onerror=alert/ }).waitFor();
      await isHarmless(page);
      expect(await violationsOf(page)).toEqual([]);
      await page.goto(`${stage.url}/console/questions`);
      await shows(page, '<script>window.wasRun=1</script>');
      await isHarmless(page);
      await page.goto(`${stage.url}/console/tasks`);
      await shows(page, 'hostile');
      await isHarmless(page);
      await stage.client.cancel(id);
    },
    60_000,
  );

  it('may have a line of a MiB', async () => {
    const id = await created('long-line', 'COMPLETED');
    const page = await stage.open(`/console/tasks/${id}`, { viewport: { width: 360, height: 800 } });
    await button(page, /Show all 1,000,\d+ characters/).click();
    await isHarmless(page);
  }, 30_000);

  it('leave as downloads, whatever the file says of itself', async () => {
    const id = await created('hostile', 'asking');
    const page = await stage.open(`/console/tasks/${id}`);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: /onerror=alert/ }).click(),
    ]);
    expect(download.url()).toContain('/attachments/');
    expect(page.url()).toContain(`/console/tasks/${id}`);
    await stage.client.cancel(id);
  }, 30_000);
});

describe('Somebody else', () => {
  const asSomebody = async (path: string): Promise<Page> => {
    const url = `http://127.0.0.1:${stage.login.port}`;
    const cookie = { name: 'session', value: 'somebody', domain: '127.0.0.1', path: '/', expires: -1 } as const;
    const storageState = {
      cookies: [{ ...cookie, httpOnly: true, secure: false, sameSite: 'Lax' as const }],
      origins: [],
    };
    return stage.open(`${url}/console/${path}`, { baseURL: url, storageState });
  };

  it('sees who it is, and no task of others', async () => {
    const id = await created('demo.greet', 'COMPLETED', { steps: 1, stepMs: 1 });
    const page = await asSomebody('tasks');
    await shows(page, 'Nothing ever ran');
    await shows(page, 'somebody');
    expect(await page.getByLabel('Tasks of all owners').count()).toBe(0);
    const other = await asSomebody(`tasks/${id}`);
    await shows(other, 'There is nothing here');
    expect(await other.locator('main').innerText()).not.toContain('demo.greet');
    expect(await violationsOf(other)).toEqual([]);
  }, 30_000);

  it.each(['tasks?all=true', 'stuck', 'types', 'system', 'system?view=settings', 'system?view=streams'])(
    'may not see %s',
    async (path) => {
      const page = await asSomebody(path);
      await shows(page, 'You may not see this');
      await shows(page, 'It needs the scope tasks:admin.');
      expect(await violationsOf(page)).toEqual([]);
    },
    30_000,
  );

  it('creates a task of its own in "Try it", and follows it', async () => {
    const page = await asSomebody('try');
    await page.getByLabel('Input, as JSON').fill('{"steps": 2, "stepMs": 50}');
    await button(page, 'Create the task').click();
    await page.getByRole('group', { name: 'What was sent' }).getByText('"taskType":"demo.greet"').waitFor();
    await page.getByRole('link', { name: 'Follow the task' }).click();
    await page.getByRole('region', { name: 'Result' }).getByText('Hello, world!').waitFor();
  }, 30_000);
});

describe('An operator', () => {
  it('sees the tasks of all owners, as they change', async () => {
    const page = await stage.open('/console/tasks?all=true&owner=');
    await page.getByLabel('Tasks of all owners').waitFor();
    const other = new Client(stage.url, 'one-of-many');
    await other.create({ clientRequestId: 'of-somebody-else', taskType: 'demo.echo', input: {} });
    await shows(page, 'of-somebody-else');
    await shows(page, 'one-of-many');
  }, 30_000);

  it('pauses a task type, sees what that holds back, and resumes it', async () => {
    await create('demo.echo');
    const page = await stage.open('/console/types');
    const type = page.getByRole('article', { name: 'demo.echo', exact: true });
    await type.getByRole('button', { name: 'Pause…' }).click();
    await page.getByLabel('Reason (optional)').fill('an incident');
    await button(page, 'Pause the type').click();
    await type.getByText('an incident').waitFor();
    const held = await create('demo.echo');
    await type.getByText('held by the pause').waitFor();
    expect((await stage.client.snapshot(held)).body.status).toBe('ACCEPTED');
    await type.getByRole('button', { name: 'Resume…' }).click();
    await button(page, 'Resume the type').click();
    await eventually('it runs', async () => (await stage.client.snapshot(held)).body.status === 'COMPLETED');
  }, 30_000);

  it('answers what others are asked, oldest first', async () => {
    const other = new Client(stage.url, 'who-waits');
    const { body } = await other.create({
      clientRequestId: uniqueId(),
      taskType: 'demo.approval',
      input: { question: 'May I?' },
    });
    const page = await stage.open('/console/questions');
    await page.getByLabel('Questions of all owners').check();
    const asked = page.getByRole('article', { name: new RegExp(body.taskId) });
    await asked.getByText('May I?').waitFor();
    await asked.getByLabel('reject').check();
    await asked.getByRole('button', { name: 'Answer with reject' }).click();
    await asked.waitFor({ state: 'detached' });
    expect((await other.snapshot(body.taskId)).body.result).toMatchObject({ decision: 'reject' });
  }, 30_000);
});
