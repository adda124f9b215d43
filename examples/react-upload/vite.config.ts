import { defineConfig } from 'vite';

export default defineConfig({
  // The packages are linked from this repository, where they have a React of their own for their tests.
  resolve: { dedupe: ['react', 'react-dom', '@taskbridge/client'] },
  server: { proxy: { '/api': { target: process.env['TASKBRIDGE_URL'] ?? 'http://127.0.0.1:3000', ws: true } } },
});
