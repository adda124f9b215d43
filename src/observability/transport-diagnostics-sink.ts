/**
 * Reports what happens between the log and its followers. `transport` is `websocket`, `sse` or `long_poll`. Never throws, never
 * waits.
 */
export abstract class TransportDiagnosticsSink {
  /** A read of history begins. `afterEventId` is null without a cursor. */
  abstract replayStarted(replay: { taskId: string; transport: string; afterEventId: string | null }): void;
  /** `events` were handed to the client's connection, the last of them `lastEventId`. */
  abstract delivered(delivery: { taskId: string; transport: string; events: number; lastEventId: string }): void;
  /** `taskId` is absent where the connection carries many tasks. */
  abstract heartbeatSent(heartbeat: { taskId?: string; transport: string }): void;
  /** A stream ended. `reason` is one of a few words. */
  abstract disconnected(disconnect: { taskId?: string; transport: string; reason: string }): void;
  /** The live log had lost events of this task; they were read from PostgreSQL. */
  abstract holeHealed(hole: { taskId: string }): void;
  /** A stream is closed because its client did not read. */
  abstract slowConsumer(consumer: { taskId?: string; transport: string }): void;
}

export class NoOpTransportDiagnosticsSink extends TransportDiagnosticsSink {
  override replayStarted(): void {}
  override delivered(): void {}
  override heartbeatSent(): void {}
  override disconnected(): void {}
  override holeHealed(): void {}
  override slowConsumer(): void {}
}
