// A host module in TypeScript that replaces every port of the service, and has routes of its own. See README.md.
import { Logger, Module } from '@nestjs/common';
import {
  ActionValidationPolicy,
  AttachmentStore,
  AuthContextResolver,
  LiveLog,
  MetricsSink,
  OwnershipPolicy,
  PrometheusMetricsSink,
  PrometheusTransportDiagnosticsSink,
  UploadPolicy,
} from 'taskbridge';
import { ApiKeys, ReasonedAnswers, TenantTasks, TextFiles } from './access.js';
import { Asked } from './asked.js';
import { handlers } from './handlers.js';
import { BothMetrics, diagnostics, readiness, StockProbe } from './operations.js';
import { AcmeController } from './routes.js';
import { MemoryFiles, NearbyEvents } from './storage.js';

new Logger('Acme').log({ event: 'loaded' });

@Module({
  controllers: [AcmeController],
  providers: [
    Asked,
    StockProbe,
    PrometheusMetricsSink,
    PrometheusTransportDiagnosticsSink,
    { provide: AuthContextResolver, useClass: ApiKeys },
    { provide: OwnershipPolicy, useClass: TenantTasks },
    { provide: ActionValidationPolicy, useClass: ReasonedAnswers },
    { provide: UploadPolicy, useClass: TextFiles },
    { provide: AttachmentStore, useClass: MemoryFiles },
    { provide: LiveLog, useClass: NearbyEvents },
    { provide: MetricsSink, useClass: BothMetrics },
    diagnostics,
    readiness,
    handlers,
  ],
})
export default class HostModule {}
