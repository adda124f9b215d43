-- oldest-build: 1
-- Questions and answers, and the receipts that make a worker's and a client's repeated call harmless.

ALTER TABLE taskbridge.proj_tasks
  ADD COLUMN suspend_expires_at timestamptz(3),
  -- Whether the next claim goes on with the attempt that asked.
  ADD COLUMN resuming boolean NOT NULL DEFAULT false;

CREATE INDEX proj_tasks_suspended ON taskbridge.proj_tasks (suspend_expires_at) WHERE suspend_expires_at IS NOT NULL;
-- Claims go round the owners; waiting workers are woken by type.
CREATE INDEX proj_tasks_claimable_by_owner ON taskbridge.proj_tasks (tenant_id, owner_id, claimable_at)
  WHERE claimable_at IS NOT NULL;
CREATE INDEX proj_tasks_claimable_by_type ON taskbridge.proj_tasks (task_type, claimable_at) WHERE claimable_at IS NOT NULL;

CREATE TABLE taskbridge.proj_suspensions (
  task_id     uuid           NOT NULL,
  suspend_id  text           NOT NULL,
  -- The payload of TASK_SUSPENDED.
  question    json           NOT NULL,
  allowed_actions text[]     NOT NULL,
  expires_at  timestamptz(3),
  -- open, answered, expired, closed (the task ended otherwise)
  state       text           NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'expired', 'closed')),
  -- What the handler gets: clientActionId, actionType, payload, actorId.
  answer      json,
  PRIMARY KEY (task_id, suspend_id)
);

-- One row for each accepted action, in the transaction of its event.
CREATE TABLE taskbridge.entries_action_receipts (
  task_id          uuid NOT NULL,
  client_action_id text NOT NULL,
  suspend_id       text NOT NULL,
  -- SHA-256, lower-case hex, over the canonical action.
  fingerprint      text NOT NULL,
  principal_id     text NOT NULL,
  created_at       timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, client_action_id)
);

-- One row for each call of a remote worker that ended a lease: the call repeated gets this answer again.
CREATE TABLE taskbridge.entries_lease_endings (
  task_id     uuid NOT NULL,
  lease_token text NOT NULL,
  fingerprint text NOT NULL,
  answer      json NOT NULL,
  created_at  timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, lease_token)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON taskbridge.proj_suspensions TO taskbridge_app;
GRANT SELECT ON taskbridge.entries_action_receipts, taskbridge.entries_lease_endings TO taskbridge_app;
GRANT INSERT (task_id, client_action_id, suspend_id, fingerprint, principal_id)
  ON taskbridge.entries_action_receipts TO taskbridge_app;
GRANT INSERT (task_id, lease_token, fingerprint, answer) ON taskbridge.entries_lease_endings TO taskbridge_app;
