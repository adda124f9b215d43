import { TASK_HANDLERS } from 'taskbridge';
import { handlers } from './handlers.mjs';

export default { module: class HostModule {}, providers: [{ provide: TASK_HANDLERS, useValue: handlers }] };
