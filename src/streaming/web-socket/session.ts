import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import type { AuthContext } from '../../auth/auth-context.js';
import type { Callers } from '../../auth/callers.js';
import type { DrainState } from '../../drain-state.js';
import { TooManyRequests } from '../../errors.js';
import { runInStory, type Story } from '../../observability/correlation.js';
import { AlreadySubscribed, FrameRefused, NotSubscribed } from './web-socket.errors.js';
import { SubscribeChangesFrameDto } from './changes-frames.dto.js';
import { AuthenticateFrameDto, SubscribeFrameDto, UnsubscribeFrameDto } from './client-frames.dto.js';
import type { FollowChanges } from '../changes/follow-changes.js';
import type { FollowStream } from '../follow-stream.js';
import { snapshotFrame } from '../../tasks/http/dto/task-snapshot.js';
import { MultiplexWriter } from './multiplex-writer.js';
import type { Streams } from '../streams.js';
import type { WebSocketWriter } from './web-socket-writer.js';

/** A connection that subscribes to nothing within this time is closed. */
const SUBSCRIBE_DEADLINE_MS = 10_000;

/** A task that a connection follows, from the subscribe frame until the stream is over. */
interface Following {
  /** The client asked for its end. Another subscribe begins a new one. */
  isLeft: boolean;
  leave: () => void;
  isOver: boolean;
  /** Called at its end: continues the subscribe that waits for it. */
  next?: () => void;
}

const sessions = new WeakMap<WebSocket, Session>();

export function sessionOf(socket: WebSocket): Session | undefined {
  return sessions.get(socket);
}

/** Handles the frames that a client sends on its WebSocket, in the order in which they arrive. */
export class Session {
  readonly #followed = new Map<string, Following>();
  /** The feed of changes. */
  #changes: Following | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #hasSubscribed = false;
  #isRenewing = false;

  constructor(
    socket: WebSocket,
    private readonly writer: WebSocketWriter,
    /** The handshake. */
    private readonly request: IncomingMessage,
    private caller: Promise<AuthContext>,
    private readonly story: Story,
    private readonly parts: {
      readonly callers: Callers;
      readonly followStream: FollowStream;
      readonly followChanges: FollowChanges;
      readonly streams: Streams;
      readonly drain: DrainState;
    },
  ) {
    sessions.set(socket, this);
    // Frames that a client sends before its authentication stay in the network's buffers.
    socket.pause();
    void caller
      .then((auth) => writer.authorise(parts.callers.credentialOf(auth)))
      .catch((error: unknown) => this.refuse(error))
      .finally(() => {
        // The time counts from here: slow credentials are no fault of the client.
        if (!writer.why) this.#deadline = setTimeout(() => writer.end('no_subscribe'), SUBSCRIBE_DEADLINE_MS);
        socket.resume();
      });
    writer.atEnd(() => clearTimeout(this.#deadline));
    parts.streams.join(writer);
  }

  subscribe(frame: SubscribeFrameDto): void {
    if (this.endsNow()) return;
    this.subscribes();
    const earlier = this.#followed.get(frame.taskId);
    if (!this.writer.carriesMany) {
      if (frame.ref !== undefined || frame.from !== undefined) throw new FrameRefused('multiplex_only');
      if (this.#hasSubscribed) throw new FrameRefused('second_subscribe');
    }
    this.#hasSubscribed = true;
    if (earlier && !earlier.isLeft) return this.writer.refuse(new AlreadySubscribed('the task'), frame);
    const following: Following = { isLeft: false, leave: () => undefined, isOver: false };
    this.#followed.set(frame.taskId, following);
    void this.follow(frame, following, earlier);
  }

  unsubscribe(frame: UnsubscribeFrameDto): void {
    if (!this.writer.carriesMany) throw new FrameRefused('multiplex_only');
    if (this.endsNow()) return;
    const following = this.#followed.get(frame.taskId);
    if (!following || following.isLeft) return this.writer.refuse(new NotSubscribed(), frame);
    following.isLeft = true;
    following.leave();
  }

  /** Frames behind it count with the newer credentials. */
  authenticate({ token }: AuthenticateFrameDto): void {
    if (!this.writer.carriesMany) throw new FrameRefused('multiplex_only');
    if (this.endsNow()) return;
    if (this.#isRenewing) return this.writer.refuse(new TooManyRequests(1), {});
    this.#isRenewing = true;
    this.caller = this.renewed(token).finally(() => (this.#isRenewing = false));
  }

  subscribeChanges(frame: SubscribeChangesFrameDto): void {
    const { writer } = this;
    if (!(writer instanceof MultiplexWriter)) throw new FrameRefused('multiplex_only');
    if (this.endsNow()) return;
    this.subscribes();
    if (this.#changes && !this.#changes.isLeft) return writer.refuse(new AlreadySubscribed('changes'), frame);
    const earlier = this.#changes;
    const following: Following = { isLeft: false, leave: () => undefined, isOver: false };
    this.#changes = following;
    void this.followChanges(writer, frame, following, earlier);
  }

  unsubscribeChanges(): void {
    if (!this.writer.carriesMany) throw new FrameRefused('multiplex_only');
    if (this.endsNow()) return;
    if (!this.#changes || this.#changes.isLeft) return this.writer.refuse(new NotSubscribed(), {});
    this.#changes.isLeft = true;
    this.#changes.leave();
  }

  /** Ends the connection with the error's close code. */
  refuse(error: unknown): void {
    this.writer.refuse(error);
  }

  /** Those that are no better change nothing. */
  private async renewed(token: string): Promise<AuthContext> {
    const earlier = await this.caller;
    try {
      const auth = await runInStory(this.story, () => this.parts.callers.renewed(this.request, token, earlier));
      if (this.writer.why) return earlier;
      this.writer.authorise(this.parts.callers.credentialOf(auth));
      this.writer.authenticated(auth);
      return auth;
    } catch (error) {
      this.writer.refuse(error, {});
      return earlier;
    }
  }

  /** Resolves when the stream has begun. Never rejects. */
  private async follow(frame: SubscribeFrameDto, following: Following, earlier?: Following): Promise<void> {
    const { taskId, lastEventId: cursor, from } = frame;
    const over = () => this.over(taskId, following);
    try {
      const caller = await this.caller.catch(() => undefined);
      if (!caller || this.writer.why) return over();
      this.parts.callers.judgeAgain(caller);
      // A left subscription may still be ending. Its end comes before the next beginning.
      const after = earlier && endOf(earlier);
      const wanted = { caller, taskId, cursor, from, transport: this.writer.transport, ...(after && { after }) };
      await runInStory(this.story, () =>
        this.parts.followStream.execute(wanted, ({ subscription, feed, leave }) => {
          following.leave = leave;
          this.writer.confirm(subscription);
          const snapshot = subscription.takeSnapshot();
          // Reading it takes time.
          this.writer.judgeCredential();
          if (snapshot && !this.writer.why) this.writer.snapshot(snapshotFrame(snapshot));
          if (following.isLeft) leave();
          feed(this.writer, over);
        }),
      );
    } catch (error) {
      over();
      this.writer.refuse(error, frame);
    }
  }

  /** Resolves when the feed has begun. Never rejects. */
  private async followChanges(
    writer: MultiplexWriter,
    { action: _, ref, ...wanted }: SubscribeChangesFrameDto,
    following: Following,
    earlier?: Following,
  ): Promise<void> {
    const over = () => {
      following.isOver = true;
      following.next?.();
      if (this.#changes === following) this.#changes = undefined;
    };
    try {
      const caller = await this.caller.catch(() => undefined);
      // A feed that was left may still be ending. Its end comes before the next beginning.
      if (earlier) await endOf(earlier);
      if (!caller || writer.why) return over();
      this.parts.callers.judgeAgain(caller);
      await runInStory(this.story, () =>
        this.parts.followChanges.execute(caller, wanted, writer.transport, ({ subscription, feed }) => {
          following.leave = () => subscription.close();
          writer.confirmChanges(subscription.next);
          if (following.isLeft) subscription.close();
          feed(writer, over);
        }),
      );
    } catch (error) {
      over();
      writer.refuse(error, { ...(ref !== undefined && { ref }) });
    }
  }

  /** The client has said what it wants. */
  private subscribes(): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
  }

  private over(taskId: string, following: Following): void {
    following.isOver = true;
    following.next?.();
    if (this.#followed.get(taskId) === following) this.#followed.delete(taskId);
  }

  /** Frames after the end are ignored. A client that sends frames and reads no answers gets answers only up to a limit. */
  private endsNow(): boolean {
    if (this.parts.drain.has('streams end')) this.writer.end('draining');
    if (this.writer.isOverrun) this.writer.end('slow_consumer');
    this.writer.judgeCredential();
    return this.writer.why !== undefined;
  }
}

async function endOf(following: Following): Promise<void> {
  if (!following.isOver) await new Promise<void>((resolve) => (following.next = resolve));
}
