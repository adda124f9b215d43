import { v7 as uuidv7 } from 'uuid';
import type { NewTaskRow } from '../../src/tasks/store/insert-task.js';
import { uniqueId } from './client.js';

/** The row of a task that is to be stored. */
export function aTask(overrides: Partial<NewTaskRow> = {}): NewTaskRow {
  return {
    taskId: uuidv7(),
    tenantId: '',
    ownerId: 'owner',
    clientRequestId: uniqueId(),
    fingerprint: 'fingerprint',
    contentFingerprint: 'content',
    taskType: 'test.any',
    inputJson: '{"a": 1}',
    metadataJson: null,
    correlationId: uuidv7(),
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    earliestPlace: 0,
    ...overrides,
  };
}
