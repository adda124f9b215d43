import { Module, type DynamicModule } from '@nestjs/common';
import { unlessHosted, type Hosted } from '../hosted.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { Log } from '../observability/log.js';
import { AsyncApiController } from './asyncapi/asyncapi.controller.js';
import { DeliveryConfig } from './delivery.config.js';
import { EventsController } from './events.controller.js';
import { Fallbacks } from './fallbacks.js';
import { FeedStream } from './feed-stream.js';
import { Hub } from './hub.js';
import { InProcessLiveLog } from './in-process-live-log.js';
import { LiveLog } from './live-log.js';
import { OpenSubscription } from './open-subscription.js';
import { PollEvents } from './poll-events.js';
import { RedisLiveLog } from './redis-live-log.js';
import { Streams } from './streams.js';
import { Upgrades } from './upgrades.js';
import { TasksGateway } from './web-socket.gateway.js';

/** Brings a committed event to the followers of its task. */
@Module({})
export class DeliveryModule {
  static register(hosted: Hosted): DynamicModule {
    const ports = unlessHosted(hosted, {
      provide: LiveLog,
      useFactory: ({ redisUrl }: DeliveryConfig, log: Log) =>
        redisUrl === undefined ? new InProcessLiveLog() : new RedisLiveLog(redisUrl, log),
      inject: [DeliveryConfig, Log],
    });
    return {
      module: DeliveryModule,
      global: true,
      controllers: [EventsController, AsyncApiController],
      providers: [
        ...ports,
        Hub,
        Streams,
        FeedStream,
        Fallbacks,
        OpenSubscription,
        PollEvents,
        OriginPolicy,
        Upgrades,
        TasksGateway,
      ],
      exports: [...ports, Hub, Streams, OriginPolicy, Upgrades],
    };
  }
}
