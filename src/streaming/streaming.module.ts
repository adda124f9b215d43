import { Module, type DynamicModule } from '@nestjs/common';
import { unlessHosted, type Hosted } from '../hosted.js';
import { OriginPolicy } from '../http/origin-policy.js';
import { Log } from '../observability/log.js';
import { ChangesHub } from '../following/changes/changes-hub.js';
import { OpenChanges } from '../following/changes/open-changes.js';
import { AsyncApiController } from './asyncapi/asyncapi.controller.js';
import { ChangeStream } from './changes/change-stream.js';
import { ChangesController } from './changes/changes.controller.js';
import { FollowChanges } from './changes/follow-changes.js';
import { SentChanges } from './changes/sent-changes.js';
import { PollChanges } from './changes/poll-changes.js';
import { EventsController } from './events.controller.js';
import { Fallbacks } from '../following/fallbacks.js';
import { FeedStream } from './feed-stream.js';
import { FollowStream } from './follow-stream.js';
import { Hub } from '../following/hub.js';
import { LiveLogConfig } from '../live-log/live-log.config.js';
import { InProcessLiveLog } from '../live-log/in-process-live-log.js';
import { LiveLog } from '../tasks/ports/live-log.js';
import { OpenSubscription } from '../following/open-subscription.js';
import { OpenStreams } from './open-streams.js';
import { PageBackwards } from '../following/page-backwards.js';
import { PollEvents } from './poll-events.js';
import { RedisLiveLog } from '../live-log/redis-live-log.js';
import { Streams } from './streams.js';
import { TasksModule } from '../tasks/tasks.module.js';
import { Upgrades } from './web-socket/upgrades.js';
import { TasksGateway } from './web-socket/web-socket.gateway.js';

/** Brings a committed event to the followers of its task. */
@Module({})
export class StreamingModule {
  static register(hosted: Hosted): DynamicModule {
    const ports = unlessHosted(hosted, {
      provide: LiveLog,
      useFactory: ({ redisUrl }: LiveLogConfig, log: Log) =>
        redisUrl === undefined ? new InProcessLiveLog() : new RedisLiveLog(redisUrl, log),
      inject: [LiveLogConfig, Log],
    });
    return {
      module: StreamingModule,
      imports: [TasksModule],
      global: true,
      controllers: [ChangesController, EventsController, AsyncApiController],
      providers: [
        ...ports,
        Hub,
        ChangesHub,
        OpenChanges,
        ChangeStream,
        FollowChanges,
        SentChanges,
        PollChanges,
        Streams,
        OpenStreams,
        FeedStream,
        FollowStream,
        Fallbacks,
        OpenSubscription,
        PollEvents,
        PageBackwards,
        OriginPolicy,
        Upgrades,
        TasksGateway,
      ],
      exports: [...ports, Hub, ChangesHub, Streams, OpenStreams, OriginPolicy, Upgrades],
    };
  }
}
