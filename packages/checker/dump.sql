-- What is stored, as lines of a history. Each statement reads with SELECT alone: the app role may run it.
--   psql -XAtq -f dump.sql "$DATABASE_URL" >> history.jsonl
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

SELECT json_build_object(
    'kind', 'task', 'taskId', task_id, 'status', status, 'headEventId', head_event_id::text,
    'tenant', tenant_id, 'owner', owner_id, 'taskType', task_type,
    'attempt', attempt, 'cancellationRequested', cancel_requested_at IS NOT NULL,
    'suspendId', suspend_id,
    'waiting', claimable_at IS NOT NULL,
    'leased', lease_token IS NOT NULL AND lease_expires_at > now(),
    'delegated', engine_token IS NOT NULL AND EXISTS (SELECT FROM taskbridge.proj_engine_runs AS r
      WHERE r.task_id = t.task_id AND r.seen_at > now() - interval '2 minutes'),
    'held', hold_key,
    'aside', aside_code IS NOT NULL,
    'suspended', EXISTS (SELECT FROM taskbridge.proj_suspensions AS s WHERE s.task_id = t.task_id AND s.state = 'open')
  )::text
FROM taskbridge.proj_tasks AS t ORDER BY task_id;

-- The envelope, byte for byte as every transport delivers it.
SELECT json_build_object('kind', 'stored', 'raw',
    format('{"type":"%s","taskId":"%s","eventId":"%s","createdAt":"%s","payload":%s}', type, task_id, event_id,
      to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), payload)
  )::text
FROM taskbridge.events ORDER BY task_id, event_id;

COMMIT;
