-- oldest-build: 1
-- The ground of the next features: their tables and columns, empty where the feature comes later. No table is rewritten, and the
-- locks of old tables are taken last. What only one of two builds would write is written by the database: defaults and triggers.
-- docs/data-model.md has each table, who writes it, who deletes its rows, and when.

-- One row, made once. Its id and its row version are parts of the epoch: a restored dump is another installation.
CREATE TABLE taskbridge.installation (
  is_only boolean        PRIMARY KEY DEFAULT true CHECK (is_only),
  id      uuid           NOT NULL DEFAULT gen_random_uuid(),
  made_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO taskbridge.installation DEFAULT VALUES;

-- Transaction ids can only be compared within one epoch. A restored dump, another cluster, a failover and a recovery to a point in
-- time each begin another one. A restart does not. Lower-case hex.
CREATE FUNCTION taskbridge.epoch() RETURNS text LANGUAGE sql STABLE AS $$
  SELECT encode(sha256(convert_to(concat_ws('/', i.id, s.system_identifier,
    CASE WHEN pg_is_in_recovery() THEN lpad(to_hex((pg_control_checkpoint()).timeline_id), 8, '0')
      ELSE lower(left(pg_walfile_name(pg_current_wal_lsn()), 8)) END,
    d.oid, i.xmin), 'UTF8')), 'hex')
  FROM taskbridge.installation i, pg_control_system() s, pg_database d WHERE d.datname = current_database()
$$;

-- Epochs in which no row has a transaction id above the counter. `npm run migrate` adds the present one, when it has looked.
CREATE TABLE taskbridge.examined_epochs (
  epoch       text           PRIMARY KEY,
  examined_at timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO taskbridge.examined_epochs (epoch) SELECT taskbridge.epoch();

-- Results of finished steps. Rows go with their task.
CREATE TABLE taskbridge.entries_steps (
  task_id    uuid           NOT NULL,
  -- As the handler gave it; the third of a loop is `key#3`, the second version `key@2`.
  step_key   text           NOT NULL,
  result     json,
  -- The event that says that the step is done.
  event_id   bigint         NOT NULL,
  attempt    integer        NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, step_key)
);

-- Keys of events, read under the lock of the task. Rows go with their task.
CREATE TABLE taskbridge.entries_event_keys (
  task_id    uuid           NOT NULL,
  attempt    integer        NOT NULL,
  event_key  text           NOT NULL,
  event_id   bigint         NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, attempt, event_key)
);

-- What operators did. No content of a task. `npm run retention` deletes rows older than 400 days.
CREATE TABLE taskbridge.entries_audit (
  audit_id       uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
  principal_id   text           NOT NULL,
  tenant_id      text           NOT NULL DEFAULT '',
  action         text           NOT NULL,
  -- What it was done to: one of these, or what `subject` names.
  task_id        uuid,
  owner_id       text,
  subject        text,
  details        json,
  correlation_id uuid           NOT NULL,
  created_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX entries_audit_created ON taskbridge.entries_audit (created_at);

-- The scalar members of a task's metadata, for filters, made when the task is created. Rows go with their task.
CREATE TABLE taskbridge.proj_task_tags (
  tenant_id text NOT NULL,
  owner_id  text NOT NULL,
  key       text NOT NULL,
  value     text NOT NULL,
  task_id   uuid NOT NULL,
  PRIMARY KEY (tenant_id, owner_id, key, value, task_id)
);
CREATE INDEX proj_task_tags_task ON taskbridge.proj_task_tags (task_id);

-- Tasks that are gone, for feeds. Rows are written by a trigger, and deleted by the service a day later.
CREATE TABLE taskbridge.proj_removed_tasks (
  task_id     uuid           PRIMARY KEY,
  tenant_id   text           NOT NULL,
  owner_id    text           NOT NULL,
  task_type   text           NOT NULL,
  removed_xid xid8           NOT NULL DEFAULT pg_current_xact_id(),
  removed_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX proj_removed_tasks_owner ON taskbridge.proj_removed_tasks (tenant_id, owner_id, removed_xid);
CREATE INDEX proj_removed_tasks_removed ON taskbridge.proj_removed_tasks (removed_at);

-- Follow tokens minted up to `revoked_at` do not count any more: of one task, or of the owner where task_id is null. The service
-- deletes a row 16 minutes later: no token lives longer than 15. A task's rows go with it.
CREATE TABLE taskbridge.proj_revoked_tokens (
  tenant_id  text           NOT NULL,
  owner_id   text           NOT NULL,
  task_id    uuid,
  revoked_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  UNIQUE NULLS NOT DISTINCT (tenant_id, owner_id, task_id)
);
CREATE INDEX proj_revoked_tokens_revoked ON taskbridge.proj_revoked_tokens (revoked_at);

-- How many tasks have begun or ended: the sum of both tables. Tasks that wait for their beginning are counted where they wait: a
-- create would otherwise write a row more. The changes are rows that nobody waits for; the service folds them.
CREATE TABLE taskbridge.proj_task_counts (
  tenant_id text   NOT NULL,
  owner_id  text   NOT NULL,
  task_type text   NOT NULL,
  status    text   NOT NULL,
  n         bigint NOT NULL,
  PRIMARY KEY (tenant_id, owner_id, task_type, status)
);
CREATE INDEX proj_task_counts_none ON taskbridge.proj_task_counts (n) WHERE n = 0;
-- Without an index: a row is written once and deleted some seconds later.
CREATE TABLE taskbridge.proj_task_count_changes (
  tenant_id  text   NOT NULL,
  owner_id   text   NOT NULL,
  task_type  text   NOT NULL,
  -- Null: the tasks had not begun.
  old_status text,
  -- Null: the tasks are gone, or have to begin anew.
  new_status text,
  n          bigint NOT NULL DEFAULT 1
);
ALTER TABLE taskbridge.proj_task_count_changes
  SET (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1);

-- What applies to a task type. Rows stay; an operator's DELETE is harmless.
CREATE TABLE taskbridge.proj_task_types (
  task_type    text           PRIMARY KEY,
  -- The policy in effect, and where each member comes from. Null: none.
  policy       json,
  policy_from  json,
  paused_at    timestamptz(3),
  paused_by    text,
  pause_reason text,
  updated_at   timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
-- What workers of one version registered for a type: the version seen first last is the newest. The service deletes rows not seen
-- for 30 days.
CREATE TABLE taskbridge.proj_task_type_versions (
  task_type     text           NOT NULL,
  version       text           NOT NULL,
  policy        json,
  first_seen_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  seen_at       timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_type, version)
);
CREATE INDEX proj_task_type_versions_seen ON taskbridge.proj_task_type_versions (seen_at);

-- Remote workers, as they registered. The service deletes rows not seen for a day.
CREATE TABLE taskbridge.proj_workers (
  principal_id  text           NOT NULL,
  worker_id     text           NOT NULL,
  version       text,
  task_types    text[]         NOT NULL DEFAULT '{}',
  -- What it can: steps, event keys.
  features      text[]         NOT NULL DEFAULT '{}',
  first_seen_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  seen_at       timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (principal_id, worker_id)
);
CREATE INDEX proj_workers_seen ON taskbridge.proj_workers (seen_at);

-- Replicas of the service, each written by itself every 5 s. The service deletes rows not seen for a day.
CREATE TABLE taskbridge.proj_replicas (
  replica_id uuid           PRIMARY KEY,
  build      text           NOT NULL,
  -- What this build knows. A feature is on when all live replicas have it.
  features   text[]         NOT NULL DEFAULT '{}',
  -- For the console: host, executor, streams, readiness.
  facts      json,
  started_at timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  seen_at    timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX proj_replicas_seen ON taskbridge.proj_replicas (seen_at);

-- One row for each limited key: its lock, and its token bucket. What runs is counted from leases under the lock. The service
-- deletes a row whose bucket is full and that no task names.
CREATE TABLE taskbridge.proj_limits (
  key          text             PRIMARY KEY,
  task_type    text             NOT NULL,
  tokens       double precision,
  refilled_at  timestamptz(3),
  -- Tasks that left the claim index because of this key are looked for when it has room.
  holds_tasks  boolean          NOT NULL DEFAULT false,
  updated_at   timestamptz(3)   NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX proj_limits_held ON taskbridge.proj_limits (task_type) WHERE holds_tasks;

-- Tasks to come. Rows are the owner's, and go when the owner deletes the schedule.
CREATE TABLE taskbridge.proj_schedules (
  tenant_id      text           NOT NULL,
  owner_id       text           NOT NULL,
  name           text           NOT NULL,
  cron           text           NOT NULL,
  time_zone      text           NOT NULL,
  task_type      text           NOT NULL,
  input          json,
  metadata       json,
  overlap        text           NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue', 'cancel_previous')),
  -- Missed ticks that are made up.
  catch_up       integer        NOT NULL DEFAULT 0 CHECK (catch_up >= 0),
  -- What the ownership policy is asked with at each tick.
  principal      json,
  revision       bigint         NOT NULL DEFAULT 0,
  next_at        timestamptz(3),
  last_at        timestamptz(3),
  last_task_id   uuid,
  -- Why the last tick made no task.
  last_skip      text,
  paused_at      timestamptz(3),
  created_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  updated_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, owner_id, name)
);
CREATE INDEX proj_schedules_next ON taskbridge.proj_schedules (next_at) WHERE next_at IS NOT NULL;

-- What a distributed engine still has to hear about a task, and when it was last seen there. Rows go with their task.
CREATE TABLE taskbridge.proj_engine_runs (
  task_id     uuid           PRIMARY KEY,
  executor    text           NOT NULL,
  wants       text[]         NOT NULL DEFAULT '{}',
  due_at      timestamptz(3),
  tries       integer        NOT NULL DEFAULT 0,
  accepted_at timestamptz(3),
  run_id      text,
  seen_at     timestamptz(3),
  last_error  text
);
CREATE INDEX proj_engine_runs_due ON taskbridge.proj_engine_runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX proj_engine_runs_seen ON taskbridge.proj_engine_runs (executor, seen_at);

-- Who gets events by HTTP. Rows are operators', and go when an operator deletes the endpoint.
CREATE TABLE taskbridge.proj_webhook_endpoints (
  name            text           PRIMARY KEY,
  url             text           NOT NULL,
  events          text[],
  task_types      text[],
  -- Whose tasks it may get. Null: those of every tenant.
  tenants         text[],
  -- Encrypted, the newest first: a rotation keeps the one before.
  secrets         bytea[]        NOT NULL DEFAULT '{}',
  disabled_at     timestamptz(3),
  disabled_reason text,
  failures        integer        NOT NULL DEFAULT 0,
  -- The breaker: nothing is sent before.
  closed_until    timestamptz(3),
  created_at      timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  updated_at      timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);
-- One row for each event and endpoint, in the event's transaction. The service marks it when it is delivered or given up, and
-- deletes it a day after that. Rows also go with their task.
CREATE TABLE taskbridge.proj_webhook_outbox (
  task_id     uuid           NOT NULL,
  event_id    bigint         NOT NULL,
  endpoint    text           NOT NULL,
  type        text           NOT NULL,
  -- Null: nothing is to be done any more.
  due_at      timestamptz(3) DEFAULT clock_timestamp(),
  tries       integer        NOT NULL DEFAULT 0,
  last_status integer,
  last_error  text,
  created_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  settled_at  timestamptz(3),
  is_delivered boolean       NOT NULL DEFAULT false,
  PRIMARY KEY (task_id, event_id, endpoint)
);
CREATE INDEX proj_webhook_outbox_due ON taskbridge.proj_webhook_outbox (endpoint, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX proj_webhook_outbox_settled ON taskbridge.proj_webhook_outbox (settled_at) WHERE settled_at IS NOT NULL;

-- Cancelling or repeating many tasks, and which ones the preview showed. The service deletes a run with its rows 30 days after its end.
CREATE TABLE taskbridge.proj_bulk_runs (
  bulk_id        uuid           PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id      text           NOT NULL,
  owner_id       text           NOT NULL,
  kind           text           NOT NULL CHECK (kind IN ('cancel', 'retry')),
  filter         json,
  created_before timestamptz(3),
  is_dry_run     boolean        NOT NULL DEFAULT false,
  correlation_id uuid           NOT NULL,
  due_at         timestamptz(3),
  created_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  started_at     timestamptz(3),
  finished_at    timestamptz(3)
);
CREATE INDEX proj_bulk_runs_due ON taskbridge.proj_bulk_runs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX proj_bulk_runs_finished ON taskbridge.proj_bulk_runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE taskbridge.proj_bulk_run_tasks (
  bulk_id     uuid NOT NULL REFERENCES taskbridge.proj_bulk_runs ON DELETE CASCADE,
  task_id     uuid NOT NULL,
  -- Null: not done yet.
  outcome     text,
  new_task_id uuid,
  PRIMARY KEY (bulk_id, task_id)
);
CREATE INDEX proj_bulk_run_tasks_task ON taskbridge.proj_bulk_run_tasks (task_id);

-- The tags in metadata. Values are text as in JSON without quotes. The first 16, keys up to 64 bytes, values up to 256, of metadata up
-- to 64 KiB.
CREATE FUNCTION taskbridge.tags_in(metadata json) RETURNS TABLE (key text, value text) LANGUAGE sql IMMUTABLE AS $$
  SELECT m.key, m.value #>> '{}' FROM json_each(CASE WHEN octet_length(metadata::text) <= 65536
    AND json_typeof(metadata) = 'object' THEN metadata ELSE '{}' END) AS m
  WHERE json_typeof(m.value) IN ('string', 'number', 'boolean') AND octet_length(m.key) <= 64
    AND octet_length(m.value #>> '{}') <= 256
  LIMIT 16
$$;

-- Tags of these tasks. Metadata that PostgreSQL cannot take apart, as with \u0000 in it, has no tags, and is no fault.
CREATE FUNCTION taskbridge.make_task_tags(task_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  one uuid;
BEGIN
  INSERT INTO taskbridge.proj_task_tags (tenant_id, owner_id, key, value, task_id)
    SELECT t.tenant_id, t.owner_id, tag.key, tag.value, t.task_id
    FROM taskbridge.proj_tasks AS t, LATERAL taskbridge.tags_in(t.metadata) AS tag WHERE t.task_id = ANY (task_ids)
    ON CONFLICT DO NOTHING;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  -- One of many tasks must not take the tags of the others.
  IF cardinality(task_ids) > 1 THEN
    FOREACH one IN ARRAY task_ids LOOP
      PERFORM taskbridge.make_task_tags(ARRAY[one]);
    END LOOP;
  END IF;
END $$;

CREATE FUNCTION taskbridge.note_metadata() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Short metadata without such an escape cannot fail, and needs no savepoint.
  IF octet_length(NEW.metadata::text) <= 2048 AND position('\u' IN NEW.metadata::text) = 0 THEN
    INSERT INTO taskbridge.proj_task_tags (tenant_id, owner_id, key, value, task_id)
      SELECT NEW.tenant_id, NEW.owner_id, tag.key, tag.value, NEW.task_id FROM taskbridge.tags_in(NEW.metadata) AS tag
      ON CONFLICT DO NOTHING;
  ELSE
    PERFORM taskbridge.make_task_tags(ARRAY[NEW.task_id]);
  END IF;
  RETURN NULL;
END $$;

-- Not on appends: they change none of the columns of its trigger, and stay in place.
CREATE FUNCTION taskbridge.note_changed_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.changed_xid := pg_current_xact_id();
  IF NEW.status <> OLD.status THEN
    INSERT INTO taskbridge.proj_task_count_changes (tenant_id, owner_id, task_type, old_status, new_status)
      VALUES (NEW.tenant_id, NEW.owner_id, NEW.task_type, nullif(OLD.status, 'ACCEPTED'), nullif(NEW.status, 'ACCEPTED'));
  END IF;
  RETURN NEW;
END $$;

-- With the rights of who deletes the task: this gives no role a way to delete an event that it has not.
CREATE FUNCTION taskbridge.remove_dependants() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ids uuid[] := ARRAY(SELECT task_id FROM removed);
BEGIN
  IF ids = '{}' THEN
    RETURN NULL;
  END IF;
  DELETE FROM taskbridge.events WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_suspensions WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_attachments WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_task_tags WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_revoked_tokens WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_engine_runs WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_webhook_outbox WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.proj_bulk_run_tasks WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.entries_action_receipts WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.entries_lease_endings WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.entries_steps WHERE task_id = ANY (ids);
  DELETE FROM taskbridge.entries_event_keys WHERE task_id = ANY (ids);
  RETURN NULL;
END $$;

-- With the owner's rights: the role of the retention may delete and not insert.
CREATE FUNCTION taskbridge.note_removed_tasks() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO taskbridge.proj_removed_tasks (task_id, tenant_id, owner_id, task_type)
    SELECT task_id, tenant_id, owner_id, task_type FROM removed
    ON CONFLICT (task_id) DO UPDATE SET removed_xid = DEFAULT, removed_at = DEFAULT;
  INSERT INTO taskbridge.proj_task_count_changes (tenant_id, owner_id, task_type, old_status, n)
    SELECT tenant_id, owner_id, task_type, status, count(*) FROM removed WHERE status <> 'ACCEPTED'
    GROUP BY tenant_id, owner_id, task_type, status;
  RETURN NULL;
END $$;

-- A release before knows no blob: its file has bytes of its own.
CREATE FUNCTION taskbridge.name_own_blob() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.blob_id := NEW.attachment_id;
  RETURN NEW;
END $$;

-- Bytes are nobody's when no row names them. One session at a time looks, so two that remove the last two rows do not each see the
-- other's. Who makes a row for the bytes of another row locks that one FOR KEY SHARE.
CREATE FUNCTION taskbridge.orphan_removed_blobs() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM removed) THEN
    RETURN NULL;
  END IF;
  PERFORM pg_advisory_xact_lock(7461739);
  -- Old enough to be swept at once.
  INSERT INTO taskbridge.proj_uploads (attachment_id, touched_at)
    SELECT blob.id, clock_timestamp() - interval '2 hours'
    FROM (SELECT DISTINCT coalesce(blob_id, attachment_id) AS id FROM removed) AS blob
    WHERE NOT EXISTS (SELECT FROM taskbridge.proj_attachments a
        WHERE a.attachment_id = blob.id AND coalesce(a.blob_id, a.attachment_id) = blob.id)
      AND NOT EXISTS (SELECT FROM taskbridge.proj_attachments a WHERE a.blob_id = blob.id AND a.blob_id <> a.attachment_id)
    ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;

-- A trigger needs no right to run its function.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA taskbridge FROM PUBLIC;
GRANT EXECUTE ON FUNCTION taskbridge.epoch(), taskbridge.tags_in(json), taskbridge.make_task_tags(uuid[]) TO taskbridge_app;
GRANT SELECT ON taskbridge.installation, taskbridge.examined_epochs TO taskbridge_app;
GRANT SELECT ON taskbridge.entries_steps, taskbridge.entries_event_keys, taskbridge.entries_audit TO taskbridge_app;
GRANT INSERT (task_id, step_key, result, event_id, attempt) ON taskbridge.entries_steps TO taskbridge_app;
GRANT INSERT (task_id, attempt, event_key, event_id) ON taskbridge.entries_event_keys TO taskbridge_app;
GRANT INSERT (audit_id, principal_id, tenant_id, action, task_id, owner_id, subject, details, correlation_id)
  ON taskbridge.entries_audit TO taskbridge_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON taskbridge.proj_task_tags, taskbridge.proj_removed_tasks, taskbridge.proj_revoked_tokens,
  taskbridge.proj_task_counts, taskbridge.proj_task_count_changes, taskbridge.proj_task_types, taskbridge.proj_task_type_versions,
  taskbridge.proj_workers, taskbridge.proj_replicas, taskbridge.proj_limits, taskbridge.proj_schedules,
  taskbridge.proj_engine_runs, taskbridge.proj_webhook_endpoints, taskbridge.proj_webhook_outbox, taskbridge.proj_bulk_runs,
  taskbridge.proj_bulk_run_tasks TO taskbridge_app;
GRANT SELECT, DELETE ON taskbridge.proj_task_tags, taskbridge.proj_revoked_tokens, taskbridge.proj_engine_runs,
  taskbridge.proj_webhook_outbox, taskbridge.proj_bulk_run_tasks, taskbridge.entries_steps, taskbridge.entries_event_keys,
  taskbridge.entries_audit TO taskbridge_retention;

-- From here on, tables that live. proj_tasks first, like every transaction of the service.
ALTER TABLE taskbridge.proj_tasks
  -- Who runs it: a worker by lease, or the engine of this name.
  ADD COLUMN executor text NOT NULL DEFAULT 'lease',
  -- The token of an attempt that an engine has; no clock ends it.
  ADD COLUMN engine_token text,
  -- Null: as the policy or the setting says.
  ADD COLUMN max_attempts integer,
  ADD COLUMN priority smallint NOT NULL DEFAULT 5,
  -- The place in the queue. Null: not due, or not placed yet.
  ADD COLUMN vtime double precision,
  -- The full key of proj_limits that keeps it out of the queue. With it claimable_at and lease_token are null.
  ADD COLUMN hold_key text,
  ADD COLUMN concurrency_key text,
  ADD COLUMN rate_key text,
  -- SHA-256, lower-case hex, over the canonical request without its metadata. Null: an older build wrote the row.
  ADD COLUMN content_fingerprint text,
  -- The transaction of the last change that a feed shows. Null: before this column.
  ADD COLUMN changed_xid xid8,
  -- The moments that end it: when it must have ended, when it must have begun, when this attempt must have ended.
  ADD COLUMN deadline_at timestamptz(3),
  ADD COLUMN start_deadline_at timestamptz(3),
  ADD COLUMN attempt_deadline_at timestamptz(3),
  -- What is left of the attempt's time while it is suspended.
  ADD COLUMN attempt_seconds_left double precision,
  -- The task that this one repeats.
  ADD COLUMN rerun_of uuid,
  -- Endpoints that the create named; null: none.
  ADD COLUMN webhook_endpoints text[];
-- After the column, so that no row is rewritten: rows from now on have the transaction that made them, also those of older builds.
ALTER TABLE taskbridge.proj_tasks ALTER COLUMN changed_xid SET DEFAULT pg_current_xact_id();

CREATE TRIGGER note_changed_task BEFORE UPDATE ON taskbridge.proj_tasks FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.claimable_at IS DISTINCT FROM NEW.claimable_at
    OR OLD.suspend_id IS DISTINCT FROM NEW.suspend_id OR OLD.cancel_requested_at IS DISTINCT FROM NEW.cancel_requested_at
    OR OLD.aside_code IS DISTINCT FROM NEW.aside_code)
  EXECUTE FUNCTION taskbridge.note_changed_task();
CREATE TRIGGER note_metadata AFTER INSERT ON taskbridge.proj_tasks FOR EACH ROW WHEN (NEW.metadata IS NOT NULL)
  EXECUTE FUNCTION taskbridge.note_metadata();
CREATE TRIGGER note_removed_tasks AFTER DELETE ON taskbridge.proj_tasks REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION taskbridge.note_removed_tasks();
CREATE TRIGGER remove_dependants AFTER DELETE ON taskbridge.proj_tasks REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION taskbridge.remove_dependants();

-- As in proj_tasks.
ALTER TABLE taskbridge.entries_action_receipts ADD COLUMN content_fingerprint text;
GRANT INSERT (content_fingerprint) ON taskbridge.entries_action_receipts TO taskbridge_app;

-- The bytes in the attachment store. Several attachments may name the same. Null: those of its own id.
ALTER TABLE taskbridge.proj_attachments ADD COLUMN blob_id uuid;
CREATE TRIGGER name_own_blob BEFORE INSERT ON taskbridge.proj_attachments FOR EACH ROW
  WHEN (NEW.blob_id IS NULL) EXECUTE FUNCTION taskbridge.name_own_blob();
DROP TRIGGER orphan_removed_attachment ON taskbridge.proj_attachments;
CREATE TRIGGER orphan_removed_blobs AFTER DELETE ON taskbridge.proj_attachments REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION taskbridge.orphan_removed_blobs();
DROP FUNCTION taskbridge.orphan_removed_attachment();
