-- oldest-build: 1
-- online
-- What operators' lists read, and the note of a run of the retention. Without these, lists of tenants, of open questions and of retried
-- tasks read more rows, and no run of the retention is known.

-- step: proj_tasks_of_tenant
-- Newest first, as ids are in the order of creation. An installation without tenants has none of its rows.
CREATE INDEX CONCURRENTLY proj_tasks_of_tenant ON taskbridge.proj_tasks (tenant_id, task_id) WHERE tenant_id <> '';

-- step: proj_tasks_asking
-- Oldest first: the question is the last change of its task. Few tasks ask at a time.
CREATE INDEX CONCURRENTLY proj_tasks_asking ON taskbridge.proj_tasks (coalesce(changed_xid, '0'::xid8), task_id)
  WHERE suspend_id IS NOT NULL;

-- step: proj_tasks_retried
CREATE INDEX CONCURRENTLY proj_tasks_retried ON taskbridge.proj_tasks (task_id) WHERE finished_at IS NULL AND spent_attempts > 0;

-- step: entries_audit_retention
CREATE INDEX CONCURRENTLY entries_audit_retention ON taskbridge.entries_audit (created_at) WHERE action = 'retention';

-- step: note_retention
-- The role of the retention may insert nothing: this is how its run leaves a line.
CREATE OR REPLACE FUNCTION taskbridge.note_retention(days integer, tasks bigint, audit_entries bigint) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO taskbridge.entries_audit (principal_id, action, subject, details, correlation_id)
  VALUES (session_user, 'retention', 'tasks',
    json_build_object('days', days, 'removedTasks', tasks, 'removedAuditEntries', audit_entries), gen_random_uuid())
$$;
REVOKE ALL ON FUNCTION taskbridge.note_retention(integer, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION taskbridge.note_retention(integer, bigint, bigint) TO taskbridge_retention;
