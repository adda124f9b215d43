import { randomBytes } from 'node:crypto';
import { FOLLOW_TOKEN_PREFIX } from '#protocol/follow-tokens.js';
import type { Json } from './memory-task.js';
import { invalidMembers, Refusal } from './refusal.js';

/** What a route takes a follow token for. */
export interface Opening {
  readonly right: 'read' | 'answer' | 'cancel';
  /** It shows all tasks of an owner. */
  readonly forOwner?: true;
  /** The token may be in the query. */
  readonly inQuery?: true;
}

export interface FollowToken {
  readonly text: string;
  readonly owner: string;
  /** Absent: all tasks of the owner. */
  readonly taskId?: string;
  readonly may: readonly string[];
  readonly expiresAt: number;
  isRevoked: boolean;
  /** Called when it is revoked. */
  readonly watchers: Set<() => void>;
}

/** Who asks, and by which follow token. */
export interface Caller {
  readonly principal: string;
  readonly token?: FollowToken;
}

const RIGHTS = ['read', 'answer', 'cancel'];

/** Follow tokens in memory. They are not signed: their texts are random. A mutant may replace every method. */
export class MemoryTokens {
  readonly all: FollowToken[] = [];

  mint(owner: string, { taskId, owner: ofOwner, may, seconds = 300, ...more }: Json): FollowToken {
    const wrong = Object.keys(more);
    if ((taskId === undefined) === (ofOwner === undefined)) wrong.push('taskId');
    if (!Array.isArray(may) || may.length === 0 || !may.every((right) => RIGHTS.includes(right as string))) {
      wrong.push('may');
    }
    if (!Number.isInteger(seconds) || !(Number(seconds) >= 1 && Number(seconds) <= 900)) wrong.push('seconds');
    if (wrong.length > 0) throw invalidMembers(...wrong);
    const token: FollowToken = {
      text: `${FOLLOW_TOKEN_PREFIX}${randomBytes(20).toString('base64url')}.${randomBytes(32).toString('base64url')}`,
      owner,
      ...(typeof taskId === 'string' && { taskId }),
      may: ['read', ...(may as string[])],
      expiresAt: Date.now() + Number(seconds) * 1_000,
      isRevoked: false,
      watchers: new Set(),
    };
    this.all.push(token);
    return token;
  }

  answer({ text, expiresAt }: FollowToken): Json {
    return { token: text, expiresAt: new Date(expiresAt).toISOString() };
  }

  /** The token with this text. @throws Refusal unless it counts */
  counted(text: string): FollowToken {
    const token = this.all.find((one) => this.isSame(one, text));
    if (!token || this.isOver(token)) throw new Refusal(401, 'AUTHENTICATION_ERROR');
    return token;
  }

  isSame(token: FollowToken, text: string): boolean {
    return token.text === text;
  }

  isOver(token: FollowToken | undefined): boolean {
    return token !== undefined && (token.isRevoked || token.expiresAt <= Date.now());
  }

  /** Whether the token may be shown beside a proof of this principal. */
  goesWith({ owner }: FollowToken, principal: string | undefined): boolean {
    return principal === undefined || principal === owner;
  }

  /** @throws Refusal */
  checkOpens({ may, taskId }: FollowToken, opening: Opening | undefined): void {
    const isOpen = opening !== undefined && may.includes(opening.right) && !(opening.forOwner && taskId !== undefined);
    if (!isOpen) throw new Refusal(403, 'ACCESS_DENIED');
  }

  covers(token: FollowToken | undefined, taskId: string): boolean {
    return token?.taskId === undefined || token.taskId === taskId.toLowerCase();
  }

  revoke(fits: (token: FollowToken) => boolean): void {
    for (const token of this.all.filter(fits)) {
      token.isRevoked = true;
      for (const watcher of [...token.watchers]) watcher();
    }
  }

  /** Calls `end` when the token is over. Returns the function that stops this. */
  whenOver(token: FollowToken | undefined, end: () => void): () => void {
    if (!token) return () => undefined;
    const timer = setTimeout(end, token.expiresAt - Date.now());
    token.watchers.add(end);
    return () => {
      clearTimeout(timer);
      token.watchers.delete(end);
    };
  }

  /** The token that takes the place of another one. @throws Refusal */
  renewed(earlier: FollowToken | undefined, text: string): FollowToken {
    const token = this.counted(text);
    const isSame = earlier !== undefined && token.owner === earlier.owner && token.taskId === earlier.taskId;
    if (!isSame) throw new Refusal(401, 'AUTHENTICATION_ERROR');
    return token;
  }
}
