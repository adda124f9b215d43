-- oldest-build: 1
-- online
-- Functions of the owner, for what the app role may not do itself, or another role not at all. The service serves without them.

-- step: create_task
-- A task from the transaction of another application. docs/sql.md has an example. What HTTP refuses is refused here, too.
CREATE OR REPLACE FUNCTION taskbridge.same_numbers(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT
  SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Decimals count as the nearest double, as over HTTP.
  RETURN CASE jsonb_typeof(value)
    WHEN 'object' THEN (SELECT coalesce(jsonb_object_agg(m.key, taskbridge.same_numbers(m.value)), '{}') FROM jsonb_each(value) AS m)
    WHEN 'array' THEN (SELECT coalesce(jsonb_agg(taskbridge.same_numbers(e.value) ORDER BY e.ordinality), '[]')
      FROM jsonb_array_elements(value) WITH ORDINALITY AS e)
    WHEN 'number' THEN CASE WHEN value::numeric = trunc(value::numeric) THEN to_jsonb(trim_scale(value::numeric))
      ELSE to_jsonb(value::numeric::float8) END
    ELSE value END;
END $$;

CREATE OR REPLACE FUNCTION taskbridge.demand_storable(name text, value jsonb) RETURNS void LANGUAGE plpgsql IMMUTABLE
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  number numeric;
BEGIN
  IF value IS NULL THEN
    RETURN;
  END IF;
  IF jsonb_typeof(value) <> 'object' THEN
    RAISE EXCEPTION '% must be a JSON object', name USING ERRCODE = '22023';
  END IF;
  IF octet_length(value::text) > 1048576 THEN
    RAISE EXCEPTION '% has more than 1048576 bytes', name USING ERRCODE = '54000';
  END IF;
  -- Over HTTP the body is one level more.
  IF jsonb_path_exists(value, 'strict $.**{31 to last} ? (@.type() == "object" || @.type() == "array")') THEN
    RAISE EXCEPTION '% has more than 31 objects and arrays around a value', name USING ERRCODE = '22023';
  END IF;
  IF jsonb_path_exists(value, 'strict $.** ? (@.type() == "object").keyvalue() ? (@.key == "__proto__" || @.key == "constructor")') THEN
    RAISE EXCEPTION '% has a member __proto__ or constructor', name USING ERRCODE = '22023';
  END IF;
  FOR number IN SELECT (one.found #>> '{}')::numeric FROM jsonb_path_query(value, 'strict $.** ? (@.type() == "number")') AS one (found) LOOP
    IF abs(number) > 1.7976931348623157e308 OR (number <> 0 AND abs(number) < 5e-324)
      OR (number <> trunc(number) AND abs(number) > 9007199254740992 AND number::float8::numeric <> number) THEN
      RAISE EXCEPTION '% has a number that a double cannot hold: send it as a string', name USING ERRCODE = '22023';
    END IF;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION taskbridge.create_task(owner text, task_type text, request_id text, input jsonb DEFAULT NULL,
    metadata jsonb DEFAULT NULL, tenant text DEFAULT '') RETURNS uuid
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
  PERFORM taskbridge.demand_storable('input', input);
  PERFORM taskbridge.demand_storable('metadata', metadata);
  INSERT INTO taskbridge.proj_tasks (task_id, tenant_id, owner_id, client_request_id, fingerprint, task_type, input, metadata,
      correlation_id, claimable_at)
    -- A UUID of version 7, by the clock of this database. The service computes the fingerprint from the row.
    SELECT encode(set_byte(overlay(random.bytes PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1),
        6, get_byte(random.bytes, 6) & 15 | 112), 'hex')::uuid,
      tenant, owner, request, '', task_type, input::json, metadata::json, gen_random_uuid(),
      date_trunc('milliseconds', clock_timestamp())
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

-- Stored input that jsonb cannot hold, as with U+0000 in it, is other content: no argument of type jsonb equals it.
CREATE OR REPLACE FUNCTION taskbridge.same_content(stored json, given jsonb) RETURNS boolean LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN taskbridge.same_numbers(coalesce(stored::jsonb, '{}')) = taskbridge.same_numbers(coalesce(given, '{}'));
EXCEPTION WHEN data_exception THEN
  RETURN false;
END $$;

REVOKE ALL ON FUNCTION taskbridge.same_numbers(jsonb), taskbridge.demand_storable(text, jsonb), taskbridge.same_content(json, jsonb),
  taskbridge.create_task(text, text, text, jsonb, jsonb, text) FROM PUBLIC;
GRANT USAGE ON SCHEMA taskbridge TO taskbridge_creator;
GRANT EXECUTE ON FUNCTION taskbridge.create_task(text, text, text, jsonb, jsonb, text) TO taskbridge_creator;

-- step: erase_tasks
-- Whole tasks that are over, with a line in the audit for each. The app role may delete no task: this is how it erases on request.
CREATE OR REPLACE FUNCTION taskbridge.erase_tasks(ids uuid[], principal text, tenant text, what text, correlation uuid)
  RETURNS SETOF uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY WITH gone AS (
      DELETE FROM taskbridge.proj_tasks t WHERE t.task_id = ANY (ids) AND t.finished_at IS NOT NULL
      RETURNING t.task_id, t.tenant_id, t.owner_id, t.task_type
    ), noted AS (
      INSERT INTO taskbridge.entries_audit (principal_id, tenant_id, action, task_id, owner_id, details, correlation_id)
      SELECT principal, tenant, what, g.task_id, g.owner_id, json_build_object('tenantId', g.tenant_id, 'taskType', g.task_type),
        correlation FROM gone g
    )
    SELECT g.task_id FROM gone g;
END $$;
REVOKE ALL ON FUNCTION taskbridge.erase_tasks(uuid[], text, text, text, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION taskbridge.erase_tasks(uuid[], text, text, text, uuid) TO taskbridge_app;
