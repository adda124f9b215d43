-- oldest-build: 1
-- Tasks that could not be written and wait for an operator. Changes the catalogue only: no row is read or rewritten.

ALTER TABLE taskbridge.proj_tasks
  -- Why the task was set aside; null: it was not. With it claimable_at, lease_token, suspend_id and suspend_expires_at are null,
  -- so that nothing finds the task, also no older build. `npm run repair` makes them anew from the log.
  ADD COLUMN aside_code text,
  -- Never written: the terminal event has them.
  DROP COLUMN result,
  DROP COLUMN failure;
