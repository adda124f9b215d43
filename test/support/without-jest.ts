// What `@jest/globals` is to test support that plain Node runs (typescript-hooks.js): the program ends what was started.

const cleanUps: (() => unknown)[] = [];

export function afterAll(cleanUp: () => unknown): void {
  cleanUps.push(cleanUp);
}

export function expect(): never {
  throw new Error('nothing is expected outside of Jest');
}

/** What the ends of test files would have done, the last first. */
export async function cleanUp(): Promise<void> {
  for (const step of cleanUps.splice(0).reverse()) await step();
}
