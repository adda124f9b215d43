-- oldest-build: 1
-- The files of tasks. Their bytes are in the attachment store, under the id; PostgreSQL says which of them count.

CREATE TABLE taskbridge.proj_attachments (
  attachment_id uuid           PRIMARY KEY,
  task_id       uuid           NOT NULL,
  -- The order in which the request had them.
  position      integer        NOT NULL CHECK (position >= 0),
  -- Whose quota they count against; as in proj_tasks.
  tenant_id     text           NOT NULL,
  owner_id      text           NOT NULL,
  filename      text           NOT NULL,
  content_type  text           NOT NULL,
  size_bytes    bigint         NOT NULL CHECK (size_bytes >= 0),
  -- Lower-case hex.
  sha256        text           NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  created_at    timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (task_id, position)
);

CREATE INDEX proj_attachments_owner ON taskbridge.proj_attachments (tenant_id, owner_id) INCLUDE (size_bytes);

-- Bytes that belong to no task: not yet, or not any more. A row is here before the first byte is stored and goes in the
-- transaction that makes the task, so whatever a crash leaves in the store is named here, and nothing that a task has is.
-- To have an attachment's bytes removed, put its id here in the transaction that deletes its row above.
CREATE TABLE taskbridge.proj_uploads (
  attachment_id uuid           PRIMARY KEY,
  -- Somebody has begun to remove the bytes: no task may have them any more.
  abandoned     boolean        NOT NULL DEFAULT false,
  touched_at    timestamptz(3) NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX proj_uploads_touched ON taskbridge.proj_uploads (touched_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON taskbridge.proj_attachments, taskbridge.proj_uploads TO taskbridge_app;
