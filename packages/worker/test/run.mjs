// A worker as a process of its own, for tests: its options come as JSON.
import { Worker } from '@taskbridge/worker';
import { handlers } from './handlers.mjs';

const options = JSON.parse(process.env.WORKER_OPTIONS);
const report = ({ kind, taskId, error }) => console.log(`problem ${kind} ${taskId ?? ''} ${error.message}`);
new Worker({ handlers, report, ...options }).start();
