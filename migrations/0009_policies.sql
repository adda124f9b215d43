-- oldest-build: 1
-- Policies of task types: where they come from, and what may be claimed within their limits. A claim within limits is one statement, so
-- no replica that stands still holds a limit.

-- What the file of operators says of the type, and the author of its handler: {file?, handler?}. With what workers registered, `policy`
-- follows from it.
ALTER TABLE taskbridge.proj_task_types ADD COLUMN configured json;

-- The few that are paused.
CREATE INDEX proj_task_types_paused ON taskbridge.proj_task_types (task_type) WHERE paused_at IS NOT NULL;

-- Whether a key has held tasks is known from the tasks.
ALTER TABLE taskbridge.proj_limits
  DROP COLUMN holds_tasks,
  -- From then on its bucket is full. The service deletes the row an hour later; a claim makes it again.
  ADD COLUMN full_at timestamptz(3) NOT NULL DEFAULT clock_timestamp();
CREATE INDEX proj_limits_full ON taskbridge.proj_limits (full_at);

-- The keys that a claim of the task counts for. `most`: how many may run under the key, or the size of its bucket. `holds`: the task
-- leaves the queue while the key is full, so it is in nobody's way. Keys of a whole type hold nothing: claims pass the type by.
-- `limits` is what src/tasks/domain/limits.ts makes of the policy of the type.
CREATE FUNCTION taskbridge.limits_of(
  task_type text, tenant_id text, owner_id text, concurrency_key text, rate_key text, resuming boolean, limits jsonb
) RETURNS TABLE (key text, most double precision, is_rate boolean, holds boolean) LANGUAGE sql STABLE AS $$
  SELECT 'concurrency:type:' || json_build_array(task_type), (limits ->> 'type')::float8, false, false WHERE limits ? 'type'
  UNION ALL SELECT 'concurrency:owner:' || json_build_array(task_type, tenant_id, owner_id), (limits ->> 'owner')::float8, false, true
    WHERE limits ? 'owner'
  UNION ALL SELECT 'concurrency:key:' || json_build_array(task_type, concurrency_key), (limits ->> 'key')::float8, false, true
    WHERE limits ? 'key' AND concurrency_key IS NOT NULL
  -- What follows an answer is no new attempt.
  UNION ALL SELECT 'rate:type:' || json_build_array(task_type), (limits ->> 'burst')::float8, true, false
    WHERE limits ? 'burst' AND NOT resuming
  UNION ALL SELECT 'rate:key:' || json_build_array(task_type, rate_key), (limits ->> 'keyBurst')::float8, true, true
    WHERE limits ? 'keyBurst' AND rate_key IS NOT NULL AND NOT resuming
$$;

-- The first tasks of each type in the order of places, then in turns of the types: as in src/tasks/store/claim-batch.ts.
CREATE FUNCTION taskbridge.first_in_line(
  types text[], idle double precision[], tenants text[], knows_steps boolean, wanted integer
) RETURNS TABLE (task_id uuid, tenant_id text, owner_id text, task_type text, concurrency_key text, rate_key text, resuming boolean,
  claimable_at timestamptz, turn double precision) LANGUAGE sql STABLE AS $$
  SELECT first.task_id, first.tenant_id, first.owner_id, first.task_type, first.concurrency_key, first.rate_key, first.resuming,
    first.claimable_at, row_number() OVER in_type + max((9 - first.priority) * 25) OVER in_type - type.idle
  FROM unnest(types, idle) AS type (task_type, idle)
  CROSS JOIN unnest(coalesce(tenants, ARRAY[NULL::text])) AS tenant (tenant_id) CROSS JOIN LATERAL (
    SELECT t.task_id, t.tenant_id, t.owner_id, t.task_type, t.concurrency_key, t.rate_key, t.resuming, t.vtime, t.priority, t.claimable_at
    FROM taskbridge.proj_tasks t
    WHERE t.task_type = type.task_type AND (tenant.tenant_id IS NULL OR t.tenant_id = tenant.tenant_id)
      AND t.vtime IS NOT NULL AND t.claimable_at <= clock_timestamp()
      AND (knows_steps OR (SELECT true FROM taskbridge.entries_steps s WHERE s.task_id = t.task_id LIMIT 1) IS NULL)
    ORDER BY t.task_type, t.vtime LIMIT wanted * 2 + 50) AS first
  WHERE NOT EXISTS (SELECT FROM taskbridge.proj_task_types p WHERE p.task_type = type.task_type AND p.paused_at IS NOT NULL)
  WINDOW in_type AS (PARTITION BY first.task_type ORDER BY first.vtime, first.claimable_at ROWS UNBOUNDED PRECEDING)
$$;

-- How much these keys are used, whose locks the caller holds: how many tasks run under each, and what is in each bucket. No member: none
-- runs, or the bucket is full. What runs are leases, also of builds that know no limits. The end of an attempt takes no lock.
CREATE FUNCTION taskbridge.use_of(keys text[], limits jsonb, at timestamptz) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(jsonb_object_agg(used.key, used.n), '{}') FROM (
    SELECT k.key, count(*)::float8 AS n FROM taskbridge.proj_tasks t
      CROSS JOIN LATERAL taskbridge.limits_of(t.task_type, t.tenant_id, t.owner_id, t.concurrency_key, NULL, true, limits -> t.task_type) k
      WHERE t.lease_token IS NOT NULL AND t.task_type = ANY (ARRAY(SELECT jsonb_object_keys(limits))) AND k.key = ANY (keys)
      GROUP BY k.key
    UNION ALL
    SELECT l.key, least(l.most, l.tokens + l.per_second * greatest(extract(epoch FROM at - l.refilled_at), 0)) FROM (
      SELECT b.key, b.tokens, b.refilled_at, (type.of ->> CASE WHEN b.key LIKE 'rate:key:%' THEN 'keyBurst' ELSE 'burst' END)::float8 AS most,
        (type.of ->> 'perSecond')::float8 AS per_second
      FROM taskbridge.proj_limits b CROSS JOIN LATERAL (SELECT limits -> (substr(b.key, strpos(b.key, '['))::json ->> 0) AS of) AS type
      WHERE b.key = ANY (keys) AND b.key LIKE 'rate:%' AND b.tokens IS NOT NULL) AS l
    WHERE l.most IS NOT NULL
  ) AS used
$$;

-- As many of the first tasks that these keys hold go back to the queue as there is room for. A task that went back keeps its key until
-- it is claimed, so none goes twice. A key that limits nothing any more lets a thousand go at a time.
CREATE FUNCTION taskbridge.let_go(keys text[], used jsonb, limits jsonb) RETURNS SETOF text LANGUAGE sql VOLATILE AS $$
  UPDATE taskbridge.proj_tasks t SET claimable_at = date_trunc('milliseconds', clock_timestamp())
  FROM unnest(keys) AS k (key)
  CROSS JOIN LATERAL (SELECT limits -> (substr(k.key, strpos(k.key, '['))::json ->> 0) AS of) AS type
  CROSS JOIN LATERAL (
    SELECT greatest(coalesce(CASE split_part(k.key, ':', 1) WHEN 'rate' THEN
        CASE WHEN type.of ? 'keyBurst' THEN floor(coalesce((used ->> k.key)::float8, (type.of ->> 'keyBurst')::float8)) END
      ELSE (type.of ->> split_part(k.key, ':', 2))::float8 - coalesce((used ->> k.key)::float8, 0) END, 1000), 0)::int AS n) AS room
  CROSS JOIN LATERAL (
    -- A build that knows no limits leaves the key on what it leases and ends.
    SELECT h.task_id FROM taskbridge.proj_tasks h WHERE h.hold_key = k.key AND h.lease_token IS NULL AND h.suspend_id IS NULL
      AND h.finished_at IS NULL ORDER BY h.vtime LIMIT room.n FOR UPDATE SKIP LOCKED) AS first
  WHERE t.task_id = first.task_id AND t.claimable_at IS NULL
  RETURNING t.task_type
$$;

-- The tasks that a claim may lease now, locked, in the order of the queue. With `hold_key`: a task that left the queue instead, since
-- this key of it is full. `buckets`: the rates that the task counts for. The locks of keys are taken in their order, and before those of tasks, which nobody waits for.
CREATE FUNCTION taskbridge.line_within_limits(
  types text[], idle double precision[], tenants text[], knows_steps boolean, wanted integer, limits jsonb
) RETURNS TABLE (task_id uuid, claimable_at timestamptz, turn double precision, hold_key text, buckets text[]) LANGUAGE plpgsql AS $$
DECLARE
  keys text[];
  used jsonb;
  at timestamptz;
  task record;
  key_of record;
  full_key text;
  is_held boolean;
  found_tasks integer := 0;
  held_tasks uuid[] := '{}';
  held_keys text[] := '{}';
  touched text[] := '{}';
BEGIN
  SELECT coalesce(array_agg(DISTINCT k.key), '{}') INTO keys FROM taskbridge.first_in_line(types, idle, tenants, knows_steps, wanted) f
    CROSS JOIN LATERAL taskbridge.limits_of(f.task_type, f.tenant_id, f.owner_id, f.concurrency_key, f.rate_key, f.resuming,
      limits -> f.task_type) k;
  INSERT INTO taskbridge.proj_limits (key, task_type)
    SELECT k.key, substr(k.key, strpos(k.key, '['))::json ->> 0 FROM unnest(keys) AS k (key)
    WHERE NOT EXISTS (SELECT FROM taskbridge.proj_limits l WHERE l.key = k.key) ORDER BY k.key ON CONFLICT DO NOTHING;
  keys := ARRAY(SELECT l.key FROM taskbridge.proj_limits l WHERE l.key = ANY (keys) ORDER BY l.key FOR UPDATE);
  at := clock_timestamp();
  used := taskbridge.use_of(keys, limits, at);
  -- What waited longer goes first.
  PERFORM taskbridge.let_go(keys, used, limits);
  FOR task IN SELECT f.* FROM taskbridge.first_in_line(types, idle, tenants, knows_steps, wanted) f
    ORDER BY f.turn, f.claimable_at, f.task_id
  LOOP
    full_key := NULL;
    is_held := false;
    FOR key_of IN SELECT k.* FROM taskbridge.limits_of(task.task_type, task.tenant_id, task.owner_id, task.concurrency_key,
      task.rate_key, task.resuming, limits -> task.task_type) k
    LOOP
      -- Without its lock: the task came after the locks were taken. The next claim takes it.
      IF NOT key_of.key = ANY (keys) OR (key_of.is_rate AND (used ->> key_of.key)::float8 < 1)
        OR (NOT key_of.is_rate AND coalesce((used ->> key_of.key)::float8, 0) >= key_of.most) THEN
        full_key := key_of.key;
        is_held := key_of.holds AND key_of.key = ANY (keys);
        EXIT WHEN is_held;
      END IF;
    END LOOP;
    IF full_key IS NOT NULL THEN
      IF is_held THEN
        held_tasks := held_tasks || task.task_id;
        held_keys := held_keys || full_key;
      END IF;
      CONTINUE;
    END IF;
    PERFORM FROM taskbridge.proj_tasks t WHERE t.task_id = task.task_id AND t.claimable_at <= clock_timestamp()
      AND coalesce(t.deadline_at > clock_timestamp(), true)
      AND (t.started_at IS NOT NULL OR coalesce(t.start_deadline_at > clock_timestamp(), true)) FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    buckets := '{}';
    FOR key_of IN SELECT k.* FROM taskbridge.limits_of(task.task_type, task.tenant_id, task.owner_id, task.concurrency_key,
      task.rate_key, task.resuming, limits -> task.task_type) k
    LOOP
      IF key_of.is_rate THEN
        used := used || jsonb_build_object(key_of.key, coalesce((used ->> key_of.key)::float8, key_of.most) - 1);
        buckets := buckets || key_of.key;
      ELSE
        used := used || jsonb_build_object(key_of.key, coalesce((used ->> key_of.key)::float8, 0) + 1);
      END IF;
    END LOOP;
    touched := touched || buckets;
    task_id := task.task_id;
    claimable_at := task.claimable_at;
    turn := task.turn;
    hold_key := NULL;
    RETURN NEXT;
    found_tasks := found_tasks + 1;
    EXIT WHEN found_tasks = wanted;
  END LOOP;
  IF touched <> '{}' THEN
    UPDATE taskbridge.proj_limits l SET tokens = (used ->> l.key)::float8, refilled_at = at, updated_at = at,
      full_at = at + make_interval(secs => greatest(0, (type.of ->> CASE WHEN l.key LIKE 'rate:key:%' THEN 'keyBurst' ELSE 'burst' END)::float8
        - (used ->> l.key)::float8) / (type.of ->> 'perSecond')::float8)
    FROM (SELECT DISTINCT b.key, limits -> (substr(b.key, strpos(b.key, '['))::json ->> 0) AS of FROM unnest(touched) AS b (key)) AS type
    WHERE l.key = type.key;
  END IF;
  RETURN QUERY UPDATE taskbridge.proj_tasks t SET claimable_at = NULL, hold_key = h.key
    FROM (SELECT locked.task_id, w.key FROM unnest(held_tasks, held_keys) AS w (task_id, key) CROSS JOIN LATERAL (
      SELECT x.task_id FROM taskbridge.proj_tasks x WHERE x.task_id = w.task_id AND x.claimable_at IS NOT NULL FOR UPDATE SKIP LOCKED) AS locked
    ) AS h WHERE t.task_id = h.task_id RETURNING t.task_id, NULL::timestamptz, NULL::float8, t.hold_key, NULL::text[];
END $$;

-- The attempts have begun that were taken out of these buckets, whose locks the caller holds. What came in while they began is lost: so
-- the times at which attempts begin stay within the rate, however long a claim takes.
CREATE FUNCTION taskbridge.stamp_buckets(keys text[]) RETURNS void LANGUAGE sql VOLATILE AS $$
  UPDATE taskbridge.proj_limits SET refilled_at = clock_timestamp() WHERE key = ANY (keys)
$$;

-- Tasks that a key held go back to the queue where it has room. A key that another session has locked is left to that session.
-- Returns the types of the tasks.
CREATE FUNCTION taskbridge.let_held_go(limits jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  keys text[];
BEGIN
  WITH RECURSIVE held AS (
    (SELECT t.hold_key FROM taskbridge.proj_tasks t WHERE t.hold_key IS NOT NULL ORDER BY t.hold_key LIMIT 1)
    UNION ALL
    SELECT following.hold_key FROM held CROSS JOIN LATERAL (SELECT t.hold_key FROM taskbridge.proj_tasks t
      WHERE t.hold_key > held.hold_key ORDER BY t.hold_key LIMIT 1) AS following
  )
  -- Another form of keys is that of a later release.
  SELECT array_agg(hold_key) INTO keys FROM held WHERE hold_key ~ '^(concurrency|rate):(type|owner|key):\[';
  IF keys IS NULL THEN
    RETURN;
  END IF;
  INSERT INTO taskbridge.proj_limits (key, task_type)
    SELECT k.key, substr(k.key, strpos(k.key, '['))::json ->> 0 FROM unnest(keys) AS k (key)
    WHERE NOT EXISTS (SELECT FROM taskbridge.proj_limits l WHERE l.key = k.key) ORDER BY k.key ON CONFLICT DO NOTHING;
  keys := ARRAY(SELECT l.key FROM taskbridge.proj_limits l WHERE l.key = ANY (keys) ORDER BY l.key FOR UPDATE SKIP LOCKED);
  RETURN QUERY SELECT DISTINCT gone FROM taskbridge.let_go(keys, taskbridge.use_of(keys, limits, clock_timestamp()), limits) AS gone;
END $$;

REVOKE ALL ON FUNCTION taskbridge.limits_of(text, text, text, text, text, boolean, jsonb),
  taskbridge.first_in_line(text[], double precision[], text[], boolean, integer), taskbridge.use_of(text[], jsonb, timestamptz),
  taskbridge.let_go(text[], jsonb, jsonb), taskbridge.let_held_go(jsonb), taskbridge.stamp_buckets(text[]),
  taskbridge.line_within_limits(text[], double precision[], text[], boolean, integer, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION taskbridge.limits_of(text, text, text, text, text, boolean, jsonb),
  taskbridge.first_in_line(text[], double precision[], text[], boolean, integer), taskbridge.use_of(text[], jsonb, timestamptz),
  taskbridge.let_go(text[], jsonb, jsonb), taskbridge.let_held_go(jsonb), taskbridge.stamp_buckets(text[]),
  taskbridge.line_within_limits(text[], double precision[], text[], boolean, integer, jsonb) TO taskbridge_app;
