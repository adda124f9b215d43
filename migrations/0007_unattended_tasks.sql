-- oldest-build: 1
-- Tasks that are not over, and that nobody will go on with: those that were set aside, and those to which that should happen. Only
-- on columns that no append changes: updates stay in place.

CREATE INDEX proj_tasks_unattended ON taskbridge.proj_tasks (task_id)
  WHERE finished_at IS NULL AND claimable_at IS NULL AND lease_token IS NULL AND suspend_id IS NULL;
