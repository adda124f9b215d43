/** Ms of the clock that all processes of the machine share. */
export function now(): number;
/** Puts out `count` tokens, evenly, each as `@number:time;` with the time of the call. Begins at a random moment of the first interval. */
export function speak(output: (token: string) => void, count: number, perSecond: number): Promise<void>;
