import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';

/** The system account a process runs as; absent: the one of this process. */
export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The parent's death is seen as the end of standard input, which the kernel brings about even for SIGKILL. After it the
 * command has 1.2 s (SIGINT is PostgreSQL's fast shutdown), then 0.5 s (SIGQUIT: immediate, recovered at the next
 * start), so that all is over in 2 s. A parent that lives asks with a line, and then a checkpoint may take 5 s.
 */
const SUPERVISOR = `
exec 3<&0 </dev/null
"$@" 3<&- &
command=$!
(
  if read -r request <&3; then tenths=50; else tenths=12; fi
  kill -INT $command
  while [ $tenths -gt 0 ]; do
    sleep 0.1
    kill -0 $command || exit 0
    tenths=$((tenths - 1))
  done
  kill -QUIT $command
  sleep 0.5
  kill -KILL $command
) 2>/dev/null &
watcher=$!
wait $command
status=$?
kill $watcher 2>/dev/null
exit $status
`;

/** A command that does not outlive this process, and that the terminal's Ctrl-C does not reach. */
export class SupervisedProcess {
  /** Resolves, never rejects, when the command and its supervisor have ended. */
  readonly exited: Promise<string>;
  ended = false;
  /** The supervisor itself was killed, and may have left its command behind. */
  orphaned = false;
  private readonly supervisor: ChildProcess;

  constructor(
    command: readonly string[],
    options: { user: SystemUser | undefined; output: number; environment?: NodeJS.ProcessEnv },
  ) {
    this.supervisor = spawn('/bin/sh', ['-c', SUPERVISOR, 'taskbridge-postgres', ...command], {
      // A session of its own: signals of the terminal reach the service first, which drains before PostgreSQL goes.
      detached: true,
      cwd: '/',
      stdio: ['pipe', options.output, options.output],
      // Not this process's environment: PGDATA, PGOPTIONS and the like would change the server, and secrets stay here.
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', ...options.environment },
      ...options.user,
    });
    this.supervisor.stdin?.on('error', () => {});
    this.exited = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.ended = true;
        resolve(reason);
      };
      this.supervisor.once('error', (error) => end(`could not be started (${error.message})`));
      this.supervisor.once('exit', (code, signal) => {
        this.orphaned = signal !== null;
        end(signal === null ? `ended with code ${code}` : `lost its supervisor (${signal})`);
      });
    });
  }

  /** Lets this process end without `stop()`: the supervisor sees that. */
  unref(): void {
    this.supervisor.unref();
    (this.supervisor.stdin as Socket | null)?.unref();
  }

  async stop(): Promise<void> {
    if (!this.ended) {
      this.supervisor.ref();
      this.supervisor.stdin?.end('stop\n');
    }
    await this.exited;
  }
}
