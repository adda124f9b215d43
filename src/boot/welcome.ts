import type { Config } from './config.js';

/** The text for a person at a terminal: the address, and commands to try. */
export function welcome(url: string, config: Config): string {
  const create = `curl -s ${url}/api/v1/tasks -H 'Content-Type: application/json' \\
    -d '{"clientRequestId":"first","taskType":"demo.greet","input":{"name":"Ada"}}'`;
  const lines = [
    '',
    `TaskBridge listens on ${url} (process ${process.pid})`,
    ...(config.http.console ? [`See what runs: ${url}/console`] : []),
    ...(config.execution.demoTasks
      ? [
          '',
          'Create a task:',
          `  ${create}`,
          '',
          'Follow it, with the taskId of the answer:',
          `  curl -N ${url}/api/v1/tasks/TASK_ID/events/stream`,
        ]
      : []),
    ...(config.environment.productionLike ? [] : ['', `Everything else: ${url}/docs`]),
    '',
    'Ctrl-C stops it; its tasks stay.',
    '',
  ];
  return lines.join('\n');
}
