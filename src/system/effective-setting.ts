/** A setting as it counts on this replica. */
export interface EffectiveSetting {
  readonly name: string;
  readonly origin: 'default' | 'environment' | 'file';
  readonly isSet: boolean;
  /** Its value may hold a secret, and is not here. */
  readonly isHidden: boolean;
  /** As an operator writes it. Absent: it is hidden, or it has no value. */
  readonly value?: string;
  readonly meaning: string;
}

/** The settings of this replica, for its module. */
export abstract class EffectiveSettings {
  abstract readonly all: readonly EffectiveSetting[];
  /** RETENTION_DAYS as this replica has it. */
  abstract readonly retentionDays: number;
}
