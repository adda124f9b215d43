-- oldest-build: 1
-- How many tasks of an owner are not over, counted up to its cap by every create. Only on columns that are indexed anyway, and
-- that no append changes: updates stay in place.

CREATE INDEX proj_tasks_open ON taskbridge.proj_tasks (tenant_id, owner_id) WHERE finished_at IS NULL;
