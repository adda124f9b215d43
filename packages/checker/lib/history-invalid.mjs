/** A history that cannot be judged: what it says is not of the form that README.md describes. */
export class HistoryInvalid extends Error {}
