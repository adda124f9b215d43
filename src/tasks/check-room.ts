import { Injectable } from '@nestjs/common';
import { type AuthContext, ownerOf } from '../auth/auth-context.js';
import { Database } from '../database/database.js';
import { Observer } from '../observability/observer.js';
import { TooManyOpenTasks } from './domain/tasks.errors.js';
import { findByClientRequest } from './store/insert-task.js';
import { hasRoom } from './store/open-tasks.js';
import { TasksConfig } from './tasks.config.js';

/** For a create that takes long to arrive: checks early whether the owner has room. The insert decides finally. */
@Injectable()
export class CheckRoom {
  constructor(
    private readonly database: Database,
    private readonly config: TasksConfig,
    private readonly observer: Observer,
  ) {}

  /** @throws TooManyOpenTasks when the caller is at its cap, and has a task of none of these ids */
  execute(auth: AuthContext, clientRequestIds: readonly string[]): Promise<void> {
    const [clientRequestId = ''] = clientRequestIds;
    return this.observer.query('check_room', { principalId: auth.subject, clientRequestId }, async () => {
      const { openTasksPerPrincipal } = this.config;
      const owner = ownerOf(auth);
      if (await hasRoom(this.database, owner, openTasksPerPrincipal || null)) return;
      for (const id of clientRequestIds) {
        if (await findByClientRequest(this.database, { ...owner, clientRequestId: id })) return;
      }
      throw new TooManyOpenTasks(openTasksPerPrincipal);
    });
  }
}
