/** The service does not do what the clause demands. */
export class Broken extends Error {
  override readonly name = 'Broken';
}

/** This installation does not let the clause be checked. */
export class NotChecked extends Error {
  override readonly name = 'NotChecked';
}
