/**
 * An event as PostgreSQL has it. Committed, so it never changes; shared by every subscriber of its task.
 */
export class StoredEvent {
  constructor(
    readonly taskId: string,
    readonly eventId: number,
    readonly type: string,
    /** The database clock, `YYYY-MM-DDTHH:MM:SS.mmmZ`. */
    readonly createdAt: string,
    /** The payload's stored text, framed as it is. */
    readonly payloadJson: string,
  ) {}

  /** The five members of the wire protocol's event envelope, byte for byte the same on every transport and replay. */
  get envelope(): string {
    return `{"type":"${this.type}","taskId":"${this.taskId}","eventId":"${this.eventId}","createdAt":"${this.createdAt}","payload":${this.payloadJson}}`;
  }
}
