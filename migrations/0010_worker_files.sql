-- oldest-build: 1
-- Files that a worker attached to its task.

-- The attempt that attached it last. Null: it came with the create.
ALTER TABLE taskbridge.proj_attachments ADD COLUMN attempt integer;
