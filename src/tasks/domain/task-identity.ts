/** The identity of a task for policies, logs and clients. Set at creation, never changed. */
export interface TaskIdentity {
  readonly taskId: string;
  readonly tenantId: string;
  readonly ownerId: string;
  readonly taskType: string;
  readonly clientRequestId: string;
  /** The correlation of the request that created it. Events of its execution belong to that story. */
  readonly correlationId: string;
}
