import { fileURLToPath } from 'node:url';

/** @type {import('next').NextConfig} */
export default {
  // The packages are linked from this repository.
  turbopack: { root: fileURLToPath(new URL('../../', import.meta.url)) },
};
