-- oldest-build: 1
-- Removing what is over for long: by a role of its own that may read and delete, and nothing more.

CREATE INDEX proj_tasks_finished ON taskbridge.proj_tasks (finished_at) WHERE finished_at IS NOT NULL;

-- The bytes of a removed attachment become nobody's in the same transaction; the service's sweeper removes them. Old enough to be
-- swept at once.
CREATE FUNCTION taskbridge.orphan_removed_attachment() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO taskbridge.proj_uploads (attachment_id, touched_at)
    VALUES (OLD.attachment_id, clock_timestamp() - interval '2 hours') ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION taskbridge.orphan_removed_attachment() FROM PUBLIC;
CREATE TRIGGER orphan_removed_attachment AFTER DELETE ON taskbridge.proj_attachments
  FOR EACH ROW EXECUTE FUNCTION taskbridge.orphan_removed_attachment();

GRANT USAGE ON SCHEMA taskbridge TO taskbridge_retention;
GRANT SELECT, DELETE ON taskbridge.events, taskbridge.proj_tasks, taskbridge.proj_suspensions, taskbridge.proj_attachments,
  taskbridge.entries_action_receipts, taskbridge.entries_lease_endings TO taskbridge_retention;
