-- oldest-build: 1
-- online
-- What 0008 needs on tables that may be large, and the rows that were there before it. The service serves meanwhile.

-- step: proj_tasks_changed
-- For feeds. Appends do not change it: updates stay in place.
CREATE INDEX CONCURRENTLY proj_tasks_changed ON taskbridge.proj_tasks (tenant_id, owner_id, changed_xid)
  WHERE changed_xid IS NOT NULL;

-- step: proj_attachments_shared
-- Bytes that another attachment brought: few. Whether removed bytes are still needed.
CREATE INDEX CONCURRENTLY proj_attachments_shared ON taskbridge.proj_attachments (blob_id) WHERE blob_id <> attachment_id;

-- step: blob_id
WITH batch AS (
  SELECT attachment_id FROM taskbridge.proj_attachments
  WHERE attachment_id > coalesce($1, '00000000-0000-0000-0000-000000000000')::uuid ORDER BY attachment_id LIMIT 1000
), named AS (
  UPDATE taskbridge.proj_attachments a SET blob_id = a.attachment_id FROM batch
  WHERE a.attachment_id = batch.attachment_id AND a.blob_id IS NULL
)
SELECT attachment_id::text AS position FROM batch ORDER BY attachment_id DESC LIMIT 1;

-- step: tags
-- The lock keeps a task that is removed meanwhile from leaving tags.
SELECT batch.position FROM (
  SELECT (array_agg(task_id ORDER BY task_id DESC))[1]::text AS position,
    coalesce(array_agg(task_id) FILTER (WHERE has_metadata), '{}') AS task_ids
  FROM (SELECT task_id, metadata IS NOT NULL AS has_metadata FROM taskbridge.proj_tasks
    WHERE task_id > coalesce($1, '00000000-0000-0000-0000-000000000000')::uuid ORDER BY task_id LIMIT 1000
    FOR KEY SHARE) AS task
) AS batch, LATERAL taskbridge.make_task_tags(batch.task_ids);

-- step: counts
-- One statement, so one snapshot: the changes that it sees are in what it counts. The lock keeps folds away.
SELECT pg_advisory_xact_lock(7461738);
DELETE FROM taskbridge.proj_task_counts;
WITH counted AS (
  DELETE FROM taskbridge.proj_task_count_changes
)
INSERT INTO taskbridge.proj_task_counts (tenant_id, owner_id, task_type, status, n)
  SELECT tenant_id, owner_id, task_type, status, count(*) FROM taskbridge.proj_tasks
  WHERE status <> 'ACCEPTED' GROUP BY tenant_id, owner_id, task_type, status;
