import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { EVENTS } from '#protocol/events.js';
import { TRANSPORTS } from '../../packages/conformance/src/transports.js';
import type { Transport } from '../../src/following/transport.js';
import { asyncApi } from '../../src/streaming/asyncapi/document.js';

const page = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

interface Place {
  /** In PROTOCOL.md. */
  readonly section: string;
  readonly followers: readonly (keyof typeof TRANSPORTS)[];
  /** An address in AsyncAPI. A page of events is in OpenAPI alone. */
  readonly address: string | undefined;
}

/** The compiler asks for the row of a new transport. */
const PLACES: Readonly<Record<Transport, Place>> = {
  websocket: { section: '## WebSocket', followers: ['websocket', 'multiplex'], address: '/api/v1/tasks/ws' },
  sse: {
    section: '## Server-Sent Events',
    followers: ['sse'],
    address: '/api/v1/tasks/{taskId}/events/stream',
  },
  long_poll: { section: '### Events, by page: `GET /tasks/{taskId}/events`', followers: ['poll'], address: undefined },
};

describe.each(Object.entries(PLACES))('The transport %s', (transport, { section, followers, address }) => {
  it('has its section in PROTOCOL.md, and its value in docs/hosting.md', () => {
    expect(page('PROTOCOL.md')).toContain(`\n${section}\n`);
    expect(page('docs/hosting.md')).toContain(`\`${transport}\``);
  });

  it('is followed by the conformance kit', () => {
    expect(followers.length).toBeGreaterThan(0);
    expect(Object.keys(TRANSPORTS)).toEqual(expect.arrayContaining([...followers]));
  });

  it('has its channel in AsyncAPI, if it is a stream', () => {
    const addresses = Object.values(asyncApi(undefined).channels).map((channel) => channel.address);
    // The feed of changes is on the same transports.
    const taken = [...Object.values(PLACES).map((place) => place.address), '/api/v1/tasks/changes/stream'];
    if (address !== undefined) expect(addresses).toContain(address);
    expect(addresses.filter((one) => !taken.includes(one))).toEqual([]);
  });
});

it('every follower of the conformance kit belongs to a transport', () => {
  const known = Object.values(PLACES).flatMap(({ followers }) => followers);
  expect(Object.keys(TRANSPORTS).sort()).toEqual([...known].sort());
});

it.each(['docs/handlers.md', 'packages/worker/README.md'])('%s has every member of a progress', (path) => {
  const optional = Object.keys(EVENTS.TASK_PROGRESS.payload).filter((name) => name !== 'progress');
  const members = optional.map((name) => `${name}?`).join(', ');
  expect(page(path)).toContain(`progress(0..100, { ${members} })`);
});
