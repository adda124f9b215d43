// A host module whose diagnostics sink writes a line for each call. Nothing but `taskbridge` is imported.
import { TransportDiagnosticsSink } from 'taskbridge';

const said =
  (name) =>
  (facts = {}) =>
    process.stdout.write(`${JSON.stringify({ diagnostics: name, ...facts })}\n`);

export default {
  module: class DiagnosingHost {},
  providers: [
    {
      provide: TransportDiagnosticsSink,
      useValue: {
        replayStarted: said('replayStarted'),
        delivered: said('delivered'),
        heartbeatSent: said('heartbeatSent'),
        disconnected: said('disconnected'),
        holeHealed: said('holeHealed'),
        slowConsumer: said('slowConsumer'),
      },
    },
  ],
};
