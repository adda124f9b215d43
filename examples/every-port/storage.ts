// Where files and live events are. In the memory of this process: for one replica, until it restarts.
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { Injectable } from '@nestjs/common';
import {
  AttachmentMissing,
  AttachmentStore,
  type ByteRange,
  LiveLog,
  type LiveLogFollower,
  type StoredEvent,
} from 'taskbridge';
import { Asked } from './asked.js';

@Injectable()
export class MemoryFiles extends AttachmentStore {
  readonly #files = new Map<string, Buffer>();

  constructor(private readonly asked: Asked) {
    super();
  }

  override async put(attachmentId: string, bytes: Readable): Promise<void> {
    this.asked.note('AttachmentStore.put');
    this.#files.set(attachmentId, await buffer(bytes));
  }

  override async open(attachmentId: string, range?: ByteRange): Promise<Readable> {
    this.asked.note('AttachmentStore.open');
    const file = this.#files.get(attachmentId);
    if (!file) throw new AttachmentMissing(attachmentId);
    return Readable.from([range ? file.subarray(range.first, range.last + 1) : file]);
  }

  override async remove(attachmentId: string): Promise<void> {
    this.asked.note('AttachmentStore.remove');
    this.#files.delete(attachmentId);
  }

  override async checkHealth(): Promise<void> {
    this.asked.note('AttachmentStore.checkHealth');
  }
}

@Injectable()
export class NearbyEvents extends LiveLog {
  readonly #followers: LiveLogFollower[] = [];

  constructor(private readonly asked: Asked) {
    super();
  }

  override publish(events: readonly StoredEvent[]): void {
    this.asked.note('LiveLog.publish');
    for (const follower of this.#followers) {
      const wanted = events.filter(({ taskId }) => follower.follows(taskId));
      if (wanted.length > 0) follower.receive(wanted);
    }
  }

  override follow(follower: LiveLogFollower): void {
    this.asked.note('LiveLog.follow');
    this.#followers.push(follower);
  }

  override async start(): Promise<void> {
    this.asked.note('LiveLog.start');
  }

  override async stop(): Promise<void> {
    this.asked.note('LiveLog.stop');
  }
}
