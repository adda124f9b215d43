/** A row this old belongs to a replica that is gone: it missed a round, and most of the next. */
const LIVE_SECONDS = 9;

/** Whether the replica of a `proj_replicas` row lives. */
export const isLive = (row: string) =>
  `${row}.seen_at > statement_timestamp() - make_interval(secs => ${LIVE_SECONDS})`;
