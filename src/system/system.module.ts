import { type DynamicModule, Module } from '@nestjs/common';
import { TasksModule } from '../tasks/tasks.module.js';
import { EffectiveSettings } from './effective-setting.js';
import { EndStreams } from './end-streams.js';
import { MeController } from './me.controller.js';
import { Numbers } from './numbers.js';
import { ReadSystem } from './read-system.js';
import { SystemController } from './system.controller.js';
import { TellFacts } from './system-facts.js';
import { SystemReplicas } from './system-replicas.js';

/** The installation as operators see it. */
@Module({})
export class SystemModule {
  static register(settings: EffectiveSettings): DynamicModule {
    return {
      module: SystemModule,
      imports: [TasksModule],
      controllers: [MeController, SystemController],
      providers: [
        { provide: EffectiveSettings, useValue: settings },
        TellFacts,
        SystemReplicas,
        EndStreams,
        Numbers,
        ReadSystem,
      ],
    };
  }
}
