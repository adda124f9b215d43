import { Log } from '../../src/observability/log.js';

/** Keeps the names of the events that are logged. */
export class Lines extends Log {
  readonly events: string[] = [];
  override debug(_: object, event: string) {
    this.events.push(event);
  }
  override info = this.debug;
  override warn = this.debug;
  override error = this.debug;
}
