/** How a client follows a task. As labels and fields of logs have it. */
export type Transport = 'websocket' | 'sse' | 'long_poll';
