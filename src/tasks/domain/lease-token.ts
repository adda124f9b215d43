/** What follows the attempt in a lease token: a random UUID, 122 bits, and the length of the lease where its claim chose one. */
export function leaseSecret(uuid: string, leaseSeconds?: number): string {
  return leaseSeconds === undefined ? uuid : `${uuid}.${leaseSeconds}`;
}

export function leaseToken(attempt: number, secret: string): string {
  return `${attempt}.${secret}`;
}

/** The attempt that a token names. The fence decides whether the token is valid. */
export function attemptOf(leaseToken: string): number {
  return Number.parseInt(leaseToken, 10) || 1;
}

/** The length of the lease that a token names; undefined: LEASE_SECONDS. The fence decides whether the token is valid. */
export function leaseSecondsOf(leaseToken: string): number | undefined {
  const named = /^\d+\.[0-9a-f-]{36}\.(\d{1,5})$/.exec(leaseToken)?.[1];
  return named === undefined ? undefined : Number(named);
}
