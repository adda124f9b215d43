import tailwind from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const API = { target: process.env['TASKBRIDGE_URL'] ?? 'http://127.0.0.1:3000', ws: true };

export default defineConfig({
  base: '/console/',
  plugins: [react(), tailwind()],
  resolve: {
    // The client is compiled with the console, from its source.
    alias: { '@taskbridge/client': fileURLToPath(new URL('../client/src/client-api.ts', import.meta.url)) },
  },
  build: {
    target: 'es2023',
    // The policy allows neither scripts in the page nor data: addresses.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: { proxy: { '/api': API } },
});
