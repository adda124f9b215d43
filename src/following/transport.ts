/** How a client follows a task, in the spelling of labels and log fields. */
export type Transport = 'websocket' | 'sse' | 'long_poll';
