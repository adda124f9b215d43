import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { parse, parseAllDocuments } from 'yaml';
import { checkBoot } from '../../src/boot/boot-guard.js';
import { readConfig } from '../../src/boot/config.js';
import { SETTINGS } from '../../src/boot/settings.js';
import { migrate } from '../../src/database/migrations/apply-migrations.js';
import { startTestCluster, type TestCluster } from '../support/postgres.js';
import { temporaryDirectory } from '../support/service.js';

// .github/workflows/ci.yml tries these files with a container engine and a cluster. The tests here do not.

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const run = promisify(execFile);

const isSetting = (name: string) => name.replace(/_FILE$/, '') in SETTINGS;

interface Mount {
  readonly source: string;
}

interface ComposeService {
  readonly image: string;
  readonly build?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly (string | Mount)[];
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly networks: readonly string[];
  readonly depends_on?: Readonly<Record<string, { condition: string }>>;
  readonly healthcheck?: object;
  readonly stop_grace_period?: string;
}

interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<Record<string, { internal?: boolean }>>;
  readonly volumes: Readonly<Record<string, object>>;
  readonly secrets: Readonly<Record<string, { file: string }>>;
}

describe('docker-compose.yml', () => {
  const compose = parse(read('docker-compose.yml'), { merge: true }) as Compose;
  const services = Object.entries(compose.services);
  const ours = services.filter(([, { image }]) => image === 'taskbridge');
  const secretsOf = ({ secrets = [] }: ComposeService) =>
    secrets.map((secret) => (typeof secret === 'string' ? secret : secret.source));

  it.each(services)('%s names what there is: networks, secrets, volumes, files, services to wait for', (_, service) => {
    const mounted = (service.volumes ?? []).map((volume) => volume.split(':')[0] ?? '');
    const missing = [
      ...service.networks.filter((name) => !(name in compose.networks)),
      ...secretsOf(service).filter((name) => !(name in compose.secrets)),
      ...mounted.filter((source) =>
        source.startsWith('.') ? !existsSync(join(root, source)) : !(source in compose.volumes),
      ),
      ...Object.entries(service.depends_on ?? {}).filter(([name, { condition }]) => {
        const other = compose.services[name];
        if (condition === 'service_healthy') return other?.healthcheck === undefined && other?.image !== 'taskbridge';
        return other === undefined;
      }),
    ];
    expect(missing).toEqual([]);
    const inEnvironment = Object.values(service.environment ?? {}).filter((value) => value.startsWith('/run/secrets/'));
    const inCommand = (service.command ?? []).flatMap((word) => word.match(/\/run\/secrets\/\w+/g) ?? []);
    for (const path of [...inEnvironment, ...inCommand]) {
      expect(secretsOf(service)).toContain(path.slice('/run/secrets/'.length));
    }
  });

  it.each(ours)('%s has no setting that the service does not know, and runs without rights', (_, service) => {
    expect(Object.keys(service.environment ?? {}).filter((name) => !isSetting(name))).toEqual([]);
    expect(service).toMatchObject({ build: '.', read_only: true, cap_drop: ['ALL'] });
  });

  it('starts the service in production, as it is, with what the secrets hold', () => {
    const { environment = {}, stop_grace_period } = compose.services['service'] ?? {};
    const settings = Object.entries(environment).map(([name, value]) => [
      name.replace(/_FILE$/, ''),
      name.endsWith('_FILE')
        ? name.startsWith('DATABASE')
          ? 'postgres://a:b@postgres/c'
          : `${'x'.repeat(40)}${name}`
        : value,
    ]);
    const config = readConfig({ APP_ENV: 'production', ...Object.fromEntries(settings) });
    expect(config.environment.productionLike).toBe(true);
    expect(config.auth.proxySecrets).toHaveLength(1);
    expect(Number.parseInt(stop_grace_period ?? '', 10)).toBeGreaterThan(config.boot.shutdownGraceSeconds);
  });

  it('shows the world nothing but the proxy and what watches, and that on this machine only', () => {
    const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => `${name} ${port}`));
    expect(published).toEqual([
      'proxy 127.0.0.1:8080:8080',
      'prometheus 127.0.0.1:9090:9090',
      'grafana 127.0.0.1:3001:3000',
    ]);
    expect(compose.networks['back']).toEqual({ internal: true });
    for (const name of ['postgres', 'redis']) expect(compose.services[name]?.networks).toEqual(['back']);
  });

  it('holds no secret, and names those that deploy/secrets.sh makes, once', async () => {
    const directory = await temporaryDirectory();
    await cp(join(root, 'deploy/secrets.sh'), join(directory, 'secrets.sh'));
    const make = async (...args: string[]) => (await run(join(directory, 'secrets.sh'), args)).stdout;
    const first = await make();
    expect(first).toMatch(/^log in as alice with [0-9a-f]{24}; the password is stored nowhere\n$/);
    const made = () =>
      readdirSync(join(directory, 'secrets')).map((name) => [
        name,
        readFileSync(join(directory, 'secrets', name), 'utf8'),
      ]);
    const before = made();
    expect(await make()).toBe('');
    expect(made()).toEqual(before);
    const files = Object.values(compose.secrets).map(({ file }) => file.replace('./deploy/secrets/', ''));
    expect(before.map(([name]) => name)).toEqual(files.sort());
    expect(statSync(join(directory, 'secrets')).mode & 0o777).toBe(0o700);
    // The worker's token may not be the proxy's secret, and no two passwords are equal.
    expect(new Set(before.map(([, content]) => content)).size).toBe(before.length);
    expect(read('.gitignore')).toMatch(/^deploy\/secrets\/$/m);
  });
});

describe('deploy/postgres/roles.sh', () => {
  it('makes roles that the migrations and the service find sufficient', async () => {
    const sql = /<<'SQL'\n(.*)\nSQL\n/s.exec(read('deploy/postgres/roles.sh'))?.[1] ?? '';
    const statements = sql
      .split('\n')
      .filter((line) => !line.startsWith('\\set'))
      .join('\n')
      .replaceAll(/:'(\w+)'/g, "'password of $1'");
    expect(statements.match(/CREATE ROLE (\w+) LOGIN PASSWORD/g)).toHaveLength(3);
    const cluster = await startTestCluster();
    try {
      const superuser = new pg.Client({ connectionString: cluster.superuserUrl('taskbridge') });
      await superuser.connect();
      // The cluster of tests has an owner, who may make roles; that of compose has not.
      const adapted = statements.replace('CREATE ROLE taskbridge_owner', 'ALTER ROLE taskbridge_owner NOCREATEROLE');
      await superuser.query(adapted).finally(() => superuser.end());
      expect((await migrate(cluster.ownerUrl('taskbridge'))).applied).not.toEqual([]);
      await checkBoot(cluster.appUrl('taskbridge'), { bootWaitSeconds: 5 });
    } finally {
      await cluster.stop();
    }
  });
});

describe('docs/operations.md', () => {
  const page = read('docs/operations.md');
  const block = (mark: string) =>
    (new RegExp(`<!-- test: ${mark} -->\\n\`\`\`sql\\n(.*?)\`\`\``, 's').exec(page)?.[1] ?? '')
      .split(';')
      .map((statement) => statement.replace(/^\s*--.*$/m, '').trim())
      .filter((statement) => statement !== '');
  let cluster: TestCluster;
  // The cluster of tests has made an owner and a database by these names.
  const ours = (statement: string) =>
    statement.replaceAll('taskbridge_owner', 'managed_owner').replace('DATABASE taskbridge ', 'DATABASE managed ');
  const asRole = async (url: string, statements: readonly string[]) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  };
  const url = (role: string) => cluster.ownerUrl('managed').replace('taskbridge_owner', role);

  beforeAll(async () => {
    cluster = await startTestCluster();
  });

  afterAll(() => cluster.stop());

  it('has statements for an administrator who is no superuser, which suffice', async () => {
    await asRole(cluster.superuserUrl('postgres'), ['CREATE ROLE administrator LOGIN CREATEROLE CREATEDB']);
    const statements = block('managed roles');
    expect(statements).toHaveLength(7);
    await asRole(cluster.ownerUrl('postgres').replace('taskbridge_owner', 'administrator'), statements.map(ours));
    expect((await migrate(url('managed_owner'))).applied).not.toEqual([]);
    await checkBoot(url('taskbridge_app'), { bootWaitSeconds: 5 });
  });

  it('rotates the password of the app role by a second login, which may serve, and locks the first one out', async () => {
    const statements = block('rotation');
    expect(statements).toHaveLength(2);
    await asRole(cluster.superuserUrl('managed'), statements);
    await checkBoot(url('taskbridge_app_2'), { bootWaitSeconds: 5 });
    await expect(checkBoot(url('taskbridge_app'), { bootWaitSeconds: 0 })).rejects.toThrow(
      /did not|28000|not permitted/,
    );
  });

  it.each(['waiting tasks', 'old tasks', 'failures', 'tasks aside', 'events above the head'])(
    'has a query for %s that the app role may ask',
    async (mark) => {
      expect(block(mark)).toHaveLength(1);
      await asRole(url('taskbridge_app_2'), block(mark));
    },
  );
});

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: Record<string, never>;
}

interface Pod {
  readonly metadata: { readonly labels: Record<string, string> };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly containers: readonly {
      readonly args?: readonly string[];
      readonly envFrom: readonly { secretRef?: { name: string }; configMapRef?: { name: string } }[];
      readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
    }[];
  };
}

describe('deploy/kubernetes', () => {
  const directory = join(root, 'deploy/kubernetes');
  const kustomization = parse(read('deploy/kubernetes/kustomization.yaml')) as {
    resources: string[];
    configMapGenerator: { name: string; literals: string[] }[];
  };
  const manifests = kustomization.resources.flatMap((file) =>
    parseAllDocuments(readFileSync(resolve(directory, file), 'utf8')).map((document) => document.toJS() as Manifest),
  );
  const one = (kind: string) =>
    manifests.find((manifest) => manifest.kind === kind) as Manifest & { spec: { template: Pod } };
  const cronJob = one('CronJob').spec as unknown as { jobTemplate: { spec: { template: Pod } } };
  const pods: [string, Pod][] = [
    ['Deployment', one('Deployment').spec.template],
    ['Job', one('Job').spec.template],
    ['CronJob', cronJob.jobTemplate.spec.template],
  ];
  const settings = Object.fromEntries(
    kustomization.configMapGenerator.flatMap(({ literals }) =>
      literals.map((literal) => literal.split(/=(.*)/s).slice(0, 2)),
    ),
  ) as Record<string, string>;

  it('lists every manifest that there is', () => {
    const files = readdirSync(directory).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml');
    expect(files.sort()).toEqual([...kustomization.resources].sort());
  });

  it('has the form that Kubernetes 1.30 declares, no member more or misspelt', async () => {
    const modules: Record<string, string> = { v1: 'core/v1' };
    const lines = manifests.map((manifest, n) => {
      const module = modules[manifest.apiVersion] ?? manifest.apiVersion.replace('.k8s.io', '');
      return `import type { ${manifest.kind} as T${n} } from 'kubernetes-types/${module}';\nexport const m${n}: T${n} = ${JSON.stringify(manifest, null, 1)};`;
    });
    const folder = await temporaryDirectory();
    await writeFile(join(folder, 'manifests.ts'), lines.join('\n'));
    const options = {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: [],
      module: 'esnext',
      moduleResolution: 'bundler',
    };
    const paths = { 'kubernetes-types/*': [join(root, 'node_modules/kubernetes-types/*')] };
    const project = { compilerOptions: { ...options, paths }, files: ['manifests.ts'] };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(project));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const output = await run(process.execPath, [tsc, '-p', folder]).then(
      ({ stdout }) => stdout,
      (error: { stdout: string }) => error.stdout,
    );
    expect(output).toBe('');
  });

  it.each(pods)('runs the pod of the %s without rights, as the restricted policy wants it', (_, pod) => {
    expect(pod.spec).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    });
    for (const container of pod.spec.containers) {
      expect(container).toMatchObject({
        image: 'taskbridge',
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
      });
    }
  });

  it.each(pods)('gives the pod of the %s one role and no other, and a network policy', (kind, pod) => {
    const secrets = pod.spec.containers.flatMap(({ envFrom }) =>
      envFrom.flatMap(({ secretRef }) => secretRef?.name ?? []),
    );
    const expected = { Deployment: 'service', Job: 'owner', CronJob: 'retention' }[kind];
    expect(secrets).toEqual([`taskbridge-${expected}`]);
    expect(read('deploy/kubernetes/README.md')).toContain(`create secret generic taskbridge-${expected} `);
    const policies = manifests.filter((manifest) => manifest.kind === 'NetworkPolicy');
    const matching = policies.filter(({ spec }) => {
      const { podSelector } = spec as unknown as { podSelector: { matchLabels: Record<string, string> } };
      return Object.entries(podSelector.matchLabels).every(([name, value]) => pod.metadata.labels[name] === value);
    });
    expect(matching).toHaveLength(1);
    expect(matching[0]?.spec).toMatchObject({ policyTypes: ['Ingress', 'Egress'] });
  });

  it('sends traffic to the pods of the Deployment and spares them together', () => {
    const { labels } = one('Deployment').spec.template.metadata;
    for (const kind of ['Service', 'PodDisruptionBudget', 'Deployment']) {
      const { selector } = one(kind).spec as unknown as {
        selector: Record<string, string> & { matchLabels?: Record<string, string> };
      };
      expect(labels).toMatchObject(selector.matchLabels ?? selector);
    }
    expect(one('Deployment').spec).toMatchObject({ strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } } });
    expect(one('Deployment').spec.template.spec.containers[0]).toMatchObject({
      startupProbe: { httpGet: { path: '/health' } },
      readinessProbe: { httpGet: { path: '/ready' } },
      livenessProbe: { httpGet: { path: '/health' } },
    });
  });

  it('has settings that the service knows, and gives its drain the time that they ask for', () => {
    expect(Object.keys(settings).filter((name) => !isSetting(name))).toEqual([]);
    const secrets = { DATABASE_URL: 'postgres://a:b@c/d', REDIS_URL: 'redis://e', AUTH_PROXY_SECRET: 's'.repeat(40) };
    const { boot } = readConfig({ APP_ENV: 'production', ...settings, ...secrets });
    const { containers, terminationGracePeriodSeconds } = one('Deployment').spec.template.spec;
    const preStopSeconds = Number(containers[0]?.lifecycle.preStop.exec.command[1]);
    expect(preStopSeconds).toBeGreaterThan(0);
    expect(terminationGracePeriodSeconds).toBeGreaterThan(
      preStopSeconds + boot.drainDelaySeconds + boot.shutdownGraceSeconds,
    );
  });

  it.each(pods.slice(1))('starts a command in the %s that the image has', (_, pod) => {
    const [node, file] = pod.spec.containers[0]?.args ?? [];
    expect(node).toBe('node');
    expect(existsSync(join(root, file ?? ''))).toBe(true);
  });
});
