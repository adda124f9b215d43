-- oldest-build: 1
-- online
-- Feeds over all owners, for operators. Appends do not change the columns: updates stay in place.

-- step: proj_tasks_changed_all
CREATE INDEX CONCURRENTLY proj_tasks_changed_all ON taskbridge.proj_tasks (changed_xid) WHERE changed_xid IS NOT NULL;

-- step: proj_removed_tasks_all
CREATE INDEX CONCURRENTLY proj_removed_tasks_all ON taskbridge.proj_removed_tasks (removed_xid);
