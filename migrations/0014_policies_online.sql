-- oldest-build: 1
-- online
-- The indexes of policies. Tasks without such a policy are in none of them, but for the first.

-- step: proj_tasks_running
-- What runs, by type: leases are counted there. It takes the place of proj_tasks_leased.
CREATE INDEX CONCURRENTLY proj_tasks_running ON taskbridge.proj_tasks (task_type) WHERE lease_token IS NOT NULL;

-- step: proj_tasks_held
-- The first tasks that a key holds go back first.
CREATE INDEX CONCURRENTLY proj_tasks_held ON taskbridge.proj_tasks (hold_key, vtime) WHERE hold_key IS NOT NULL;

-- step: proj_tasks_deadline
CREATE INDEX CONCURRENTLY proj_tasks_deadline ON taskbridge.proj_tasks (deadline_at)
  WHERE deadline_at IS NOT NULL AND finished_at IS NULL;

-- step: proj_tasks_start_deadline
CREATE INDEX CONCURRENTLY proj_tasks_start_deadline ON taskbridge.proj_tasks (start_deadline_at)
  WHERE start_deadline_at IS NOT NULL AND started_at IS NULL AND finished_at IS NULL;

-- step: proj_tasks_attempt_deadline
CREATE INDEX CONCURRENTLY proj_tasks_attempt_deadline ON taskbridge.proj_tasks (attempt_deadline_at)
  WHERE attempt_deadline_at IS NOT NULL;
