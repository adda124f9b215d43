import { execFile } from 'node:child_process';
import { chmod, copyFile, cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Buildah } from '../support/buildah.js';

const run = promisify(execFile);

/** The Debian of the official image. */
const CODENAME = 'bookworm';

/** As in Debian's own image: apt leaves no cache behind. */
const APT_CONFIGURATION = `
APT::Install-Recommends "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
`;

/** Where apt of this machine gets Debian 12 from. Undefined: from nowhere. */
export async function debianMirror(): Promise<string | undefined> {
  const format = '$(CODENAME) $(COMPONENT) $(ORIGIN) $(REPO_URI)';
  const { stdout } = await run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages']);
  const rows = stdout.split('\n').map((line) => line.split(' '));
  return rows.find(([name, component, origin]) => `${name} ${component} ${origin}` === `${CODENAME} main Debian`)?.[3];
}

/**
 * Makes what stands for `tag` of the official image: Debian with the Node of the npm package `node`, which runs this program, the npm
 * that started it, and the user `node`.
 */
export async function makeBaseImage(buildah: Buildah, tag: string, mirror: string, npmCli: string): Promise<void> {
  const container = await buildah.ask('from', 'scratch');
  const root = await buildah.ask('mount', container);
  // In a mount namespace of its own: a run that is killed leaves no mount.
  await run('unshare', ['--mount', 'debootstrap', '--variant=minbase', CODENAME, root, mirror], { maxBuffer: 2 ** 24 });
  await writeFile(join(root, 'etc/apt/apt.conf.d/docker-clean'), APT_CONFIGURATION);
  await run('chroot', [root, 'sh', '-c', 'apt-get clean && rm -rf /var/lib/apt/lists/*']);
  const at = (path: string) => join(root, 'usr/local', path);
  await copyFile(process.execPath, at('bin/node'));
  await chmod(at('bin/node'), 0o755);
  await mkdir(at('etc'), { recursive: true });
  await cp(dirname(dirname(npmCli)), at('lib/node_modules/npm'), { recursive: true });
  // The settings of this machine's npm.
  await rm(at('lib/node_modules/npm/npmrc'), { force: true });
  for (const name of ['npm', 'npx']) await symlink(`../lib/node_modules/npm/bin/${name}-cli.js`, at(`bin/${name}`));
  const user = 'groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node';
  await run('chroot', [root, 'sh', '-c', user]);
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  await buildah.ask('config', '--env', `PATH=${path}`, '--cmd', 'node', container);
  await buildah.ask('commit', '--format', 'docker', '--rm', container, tag);
}

/** What npm in the build needs of this machine: its registry, its certificates and its cache. By path in the image. */
export async function npmVolumes(directory: string): Promise<Record<string, string>> {
  const setting = async (name: string) => {
    const { stdout } = await run('npm', ['config', 'get', name]);
    return /^(null|undefined)?$/.test(stdout.trim()) ? undefined : stdout.trim();
  };
  const [registry, proxy, cafile, cache] = await Promise.all(
    ['registry', 'https-proxy', 'cafile', 'cache'].map(setting),
  );
  const certificates = '/usr/local/etc/npm-certificates.pem';
  const lines = [
    registry !== undefined && `registry=${registry}`,
    proxy !== undefined && `https-proxy=${proxy}`,
    cafile !== undefined && `cafile=${certificates}`,
    'prefer-offline=true',
  ];
  const npmrc = join(directory, 'npmrc');
  await writeFile(npmrc, `${lines.filter((line) => line !== false).join('\n')}\n`);
  return {
    '/usr/local/etc/npmrc': npmrc,
    ...(cafile !== undefined && { [certificates]: cafile }),
    ...(cache !== undefined && { '/root/.npm': cache }),
  };
}
