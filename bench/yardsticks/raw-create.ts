import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { answerCalls } from '../child.js';

// The least that stores the same row for a request: no checks, no log, one commit a request.

/** The default of the service. */
const POOL_MAX = 10;

const INSERT = {
  name: 'create',
  text: `INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
      correlation_id, traceparent, claimable_at)
    VALUES ($1, '', $2, $3, $4, $5, $6, $7, $8, $9, date_trunc('milliseconds', clock_timestamp()))
    ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING`,
};
const FINGERPRINT = '0'.repeat(64);

interface Body {
  readonly clientRequestId: string;
  readonly taskType: string;
  readonly input: object;
  readonly metadata: object;
}

answerCalls({
  async start(url: string): Promise<string> {
    const pool = new pg.Pool({ connectionString: url, max: POOL_MAX });
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const { clientRequestId, taskType, input, metadata } = JSON.parse(String(Buffer.concat(chunks))) as Body;
      const taskId = uuidv7();
      const owner = request.headers['x-principal-id'];
      const traceparent = `00-${taskId.replaceAll('-', '')}-0000000000000001-00`;
      await pool.query({
        ...INSERT,
        values: [
          ...[taskId, owner, clientRequestId, FINGERPRINT, taskType, JSON.stringify(input), JSON.stringify(metadata)],
          ...[randomUUID(), traceparent],
        ],
      });
      response.writeHead(201, {
        'Content-Type': 'application/json; charset=utf-8',
        Location: `tasks/${taskId}`,
      });
      response.end(JSON.stringify({ taskId, status: 'ACCEPTED', clientRequestId, deduplicated: false }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
});
