export { type TaskChatOptions, TaskChatTransport, type Turn } from './transport.js';
