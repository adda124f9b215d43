export { createHooks, type Hooks, type Listed, type Started, type Answering } from './hooks.js';
