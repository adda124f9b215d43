-- oldest-build: 1
-- online
-- What a task from SQL gets from the policy of its type, and what its creator may say about when and how often it runs.

-- step: create_task
-- The one without these parameters goes: PostgreSQL could not tell the calls apart.
DROP FUNCTION IF EXISTS taskbridge.create_task(text, text, text, jsonb, jsonb, text);

CREATE OR REPLACE FUNCTION taskbridge.create_task(owner text, task_type text, request_id text, input jsonb DEFAULT NULL,
    metadata jsonb DEFAULT NULL, tenant text DEFAULT '', start_after timestamptz DEFAULT NULL, deadline timestamptz DEFAULT NULL,
    priority integer DEFAULT NULL, max_attempts integer DEFAULT NULL) RETURNS uuid
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  request text := normalize(request_id, NFC);
  made uuid;
  earlier record;
BEGIN
  IF owner IS NULL OR owner = '' OR char_length(owner) > 128 OR owner ~ '[\u0001-\u001f\u007f-\u009f]'
    OR lower(btrim(owner)) IN ('system', '00000000-0000-0000-0000-000000000000') OR lower(btrim(owner)) LIKE 'worker:%' THEN
    RAISE EXCEPTION 'owner must be the id of a principal: 1 to 128 characters without controls, and no reserved name'
      USING ERRCODE = '22023';
  END IF;
  IF tenant IS NULL OR char_length(tenant) > 128 OR tenant ~ '[\u0001-\u001f\u007f-\u009f]' THEN
    RAISE EXCEPTION 'tenant must have at most 128 characters without controls' USING ERRCODE = '22023';
  END IF;
  IF task_type IS NULL OR task_type !~ '^[A-Za-z0-9._:/-]{1,128}$' THEN
    RAISE EXCEPTION 'task_type must be 1 to 128 characters of A-Z a-z 0-9 . _ : / -' USING ERRCODE = '22023';
  END IF;
  IF request IS NULL OR request = '' OR char_length(request) > 255 OR request ~ ('[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e'
      || '\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ue000-\uf8ff\ufeff\ufff0-\uffff\U000e0000-\U0010ffff]') THEN
    RAISE EXCEPTION 'request_id must be 1 to 255 printable Unicode characters' USING ERRCODE = '22023';
  END IF;
  IF request LIKE 'schedule:%' THEN
    RAISE EXCEPTION 'request_id must not begin with schedule:, which schedules use' USING ERRCODE = '22023';
  END IF;
  IF start_after NOT BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 00:00Z' THEN
    RAISE EXCEPTION 'start_after must be a time between the years 1 and 9999' USING ERRCODE = '22023';
  END IF;
  IF deadline NOT BETWEEN '0001-01-01 00:00Z' AND '9999-12-31 00:00Z' THEN
    RAISE EXCEPTION 'deadline must be a time between the years 1 and 9999' USING ERRCODE = '22023';
  END IF;
  IF priority NOT BETWEEN 0 AND 9 THEN
    RAISE EXCEPTION 'priority must be 0 to 9' USING ERRCODE = '22023';
  END IF;
  IF max_attempts NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'max_attempts must be 1 to 1000' USING ERRCODE = '22023';
  END IF;
  PERFORM taskbridge.demand_storable('input', input);
  PERFORM taskbridge.demand_storable('metadata', metadata);
  INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
      correlation_id, claimable_at, deadline_at, priority, max_attempts, hold_key)
    -- A UUID of version 7, by the clock of this database. The service computes the fingerprint from the row, and, while hold_key says
    -- so, what the policy of the type adds to it. Until then the task gets no place in the queue.
    SELECT encode(set_byte(overlay(random.bytes PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1),
        6, get_byte(random.bytes, 6) & 15 | 112), 'hex')::uuid,
      tenant, owner, request, '', task_type, input::json, metadata::json, gen_random_uuid(),
      date_trunc('milliseconds', greatest(clock_timestamp(), start_after)), deadline, coalesce(priority, 5), max_attempts, 'plan'
    FROM (SELECT uuid_send(gen_random_uuid()) AS bytes) AS random
    ON CONFLICT (tenant_id, owner_id, client_request_id) DO NOTHING RETURNING proj_tasks.task_id INTO made;
  IF made IS NOT NULL THEN
    RETURN made;
  END IF;
  SELECT t.task_id, t.task_type, t.input, t.rerun_of,
      EXISTS (SELECT FROM taskbridge.proj_attachments a WHERE a.task_id = t.task_id AND a.position < 1000000) AS has_files
    INTO earlier FROM taskbridge.proj_tasks t
    WHERE t.tenant_id = tenant AND t.owner_id = owner AND t.client_request_id = request;
  IF earlier.task_id IS NULL THEN
    RAISE EXCEPTION 'the task of this request_id was removed meanwhile: try again' USING ERRCODE = '40001';
  END IF;
  IF earlier.task_type <> task_type OR earlier.has_files OR earlier.rerun_of IS NOT NULL
    OR NOT taskbridge.same_content(earlier.input, input) THEN
    RAISE EXCEPTION 'this request_id was used before with other content' USING ERRCODE = '23505';
  END IF;
  RETURN earlier.task_id;
END $$;

REVOKE ALL ON FUNCTION taskbridge.create_task(text, text, text, jsonb, jsonb, text, timestamptz, timestamptz, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION taskbridge.create_task(text, text, text, jsonb, jsonb, text, timestamptz, timestamptz, integer, integer)
  TO taskbridge_creator;
