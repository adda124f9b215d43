/** A history that cannot be judged, because it does not have the form of README.md. */
export class HistoryInvalid extends Error {}
