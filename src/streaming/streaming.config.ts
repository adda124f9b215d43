/** Settings of streams: silence, age, unread bytes. */
export abstract class StreamingConfig {
  /** Seconds without an event before a heartbeat. From HEARTBEAT_SECONDS. Defaults to 15. */
  abstract readonly heartbeatSeconds: number;
  /** Age at which a stream ends so that the proxy decides again. From STREAM_MAX_SECONDS. Defaults to 3600. */
  abstract readonly streamMaxSeconds: number;
  /** Unsent bytes above which a stream is no longer fed. From STREAM_MAX_BUFFERED_BYTES. Defaults to 1048576. */
  abstract readonly streamMaxBufferedBytes: number;
  /** Open streams of one principal on this replica; 0 means no cap. From STREAMS_PER_PRINCIPAL. Defaults to 100. */
  abstract readonly streamsPerPrincipal: number;
}
