-- oldest-build: 1
-- online
-- The indexes of the order of the queue: `vtime` is the place of a task that is due. Until they are there, claims are right and slow.

-- step: proj_tasks_queue
-- A claim reads its first rows. The tenant is for workers of some tenants.
CREATE INDEX CONCURRENTLY proj_tasks_queue ON taskbridge.proj_tasks (task_type, vtime, tenant_id)
  WHERE claimable_at IS NOT NULL AND vtime IS NOT NULL;

-- step: proj_tasks_unplaced
-- Tasks that get a place when they are due: those of 0.1.0, those made by SQL, and those whose backoff is over.
CREATE INDEX CONCURRENTLY proj_tasks_unplaced ON taskbridge.proj_tasks (claimable_at)
  WHERE claimable_at IS NOT NULL AND vtime IS NULL;

-- step: proj_tasks_places
-- The last place that an owner has, behind which its next task comes. Also how many open tasks it has.
CREATE INDEX CONCURRENTLY proj_tasks_places ON taskbridge.proj_tasks (tenant_id, owner_id, task_type, priority, vtime)
  WHERE finished_at IS NULL;

-- step: proj_tasks_ownerless
-- As proj_tasks_unattended, without the tasks that a full key holds back: these may be a million.
CREATE INDEX CONCURRENTLY proj_tasks_ownerless ON taskbridge.proj_tasks (task_id)
  WHERE finished_at IS NULL AND claimable_at IS NULL AND lease_token IS NULL AND suspend_id IS NULL AND hold_key IS NULL;
