-- oldest-build: 1
-- The log, the projection it is folded into, and the role that serves. Runs as the owner, in one transaction.
-- PostgreSQL 15 and newer.

-- Append-only. An event exists when its transaction has committed. Ids are dense from 1 within a task: they are given out
-- under the lock of the task's row in proj_tasks.
CREATE TABLE taskbridge.events (
  task_id        uuid           NOT NULL,
  event_id       bigint         NOT NULL CHECK (event_id > 0),
  type           text           NOT NULL,
  -- json, not jsonb: the text is kept as it was written, so that live and replayed bytes are equal.
  payload        json           NOT NULL,
  attempt        integer,
  -- The lease and the number of the batch under which a worker sent it; a repeated batch is recognised by these.
  lease_number   integer,
  batch_seq      integer,
  correlation_id uuid           NOT NULL,
  -- The event of the same task that caused this one; null when a request from outside did.
  causation_id   bigint,
  principal_id   text           NOT NULL,
  -- The database clock at the moment of insertion; the app role may not name this column.
  created_at     timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, event_id)
);

-- One row a task: what the events fold into, and the queue (claimable_at) and lease that execution goes by.
CREATE TABLE taskbridge.proj_tasks (
  task_id           uuid           PRIMARY KEY,
  -- '' where the proxy names no tenant, so that the unique index below needs no expression.
  tenant_id         text           NOT NULL,
  owner_id          text           NOT NULL,
  client_request_id text           NOT NULL,
  -- SHA-256, lower-case hex, over the canonical request.
  fingerprint       text           NOT NULL,
  task_type         text           NOT NULL,
  input             json,
  metadata          json,
  status            text           NOT NULL DEFAULT 'ACCEPTED'
                    CHECK (status IN ('ACCEPTED', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
  head_event_id     bigint         NOT NULL DEFAULT 0,
  -- Raised by every change a snapshot shows; with head_event_id it makes the ETag.
  revision          bigint         NOT NULL DEFAULT 0,
  progress          double precision,
  result            json,
  failure           json,
  attempt           integer        NOT NULL DEFAULT 0,
  -- Attempts that count towards the maximum: failures and lost leases, not releases.
  spent_attempts    integer        NOT NULL DEFAULT 0,
  -- The head when the current attempt began; what came after it is void once the attempt is lost.
  attempt_base      bigint         NOT NULL DEFAULT 0,
  -- Set while nobody runs the task and it may be claimed from this moment on.
  claimable_at      timestamptz(3),
  -- The fence. The token is what its holder knows; the number counts the leases there were, the sequence the batches of this one.
  lease_token       text,
  lease_number      integer        NOT NULL DEFAULT 0,
  batch_seq         integer        NOT NULL DEFAULT 0,
  lease_expires_at  timestamptz(3),
  worker_id         text,
  -- The open question, when there is one.
  suspend_id        text,
  cancel_requested_at timestamptz(3),
  cancel_reason     text,
  correlation_id    uuid           NOT NULL,
  traceparent       text,
  created_at        timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  updated_at        timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  started_at        timestamptz(3),
  finished_at       timestamptz(3)
);

-- A task is never deleted by the service; its row is updated with every event, so leave room for updates in place.
ALTER TABLE taskbridge.proj_tasks SET (fillfactor = 70);

CREATE UNIQUE INDEX proj_tasks_client_request ON taskbridge.proj_tasks (tenant_id, owner_id, client_request_id);
CREATE INDEX proj_tasks_newest_first ON taskbridge.proj_tasks (tenant_id, owner_id, created_at DESC, task_id DESC);
CREATE INDEX proj_tasks_claimable ON taskbridge.proj_tasks (claimable_at, task_id) WHERE claimable_at IS NOT NULL;
-- Not on lease_expires_at: every append changes that, and an index on it would make each of them touch all indexes.
CREATE INDEX proj_tasks_leased ON taskbridge.proj_tasks (task_id) WHERE lease_token IS NOT NULL;

GRANT USAGE ON SCHEMA taskbridge TO taskbridge_app;
GRANT SELECT ON taskbridge.events TO taskbridge_app;
GRANT INSERT (task_id, event_id, type, payload, attempt, lease_number, batch_seq, correlation_id, causation_id,
              principal_id)
  ON taskbridge.events TO taskbridge_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON taskbridge.proj_tasks TO taskbridge_app;
