import { randomUUID } from 'node:crypto';

/** Names the attempt, and cannot be guessed: 122 random bits. */
export function newLeaseToken(attempt: number): string {
  return `${attempt}.${randomUUID()}`;
}

/** The attempt that a token names. The fence decides whether the token is valid. */
export function attemptOf(leaseToken: string): number {
  return Number.parseInt(leaseToken, 10) || 1;
}
