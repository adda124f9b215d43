import { Global, Module } from '@nestjs/common';
import { LiveReplicas } from './live-replicas.js';
import { ServiceController } from './service.controller.js';

/** What the replicas of an installation know of each other. */
@Global()
@Module({ controllers: [ServiceController], providers: [LiveReplicas], exports: [LiveReplicas] })
export class ReplicasModule {}
