import type { Queryable, Statement } from '../../database/queryable.js';

/** Index: entries_audit_created. A replica that missed some rounds still finds them. */
const READ: Statement = {
  name: 'read-ended-streams',
  text: `SELECT subject AS "streamId" FROM taskbridge.entries_audit
    WHERE created_at > statement_timestamp() - interval '30 seconds' AND action = 'end_stream'`,
};

/** Streams that operators ended within the last half minute, by their ids. */
export async function readEndedStreams(db: Queryable): Promise<readonly string[]> {
  return (await db.query<{ streamId: string }>(READ, [])).map(({ streamId }) => streamId);
}
