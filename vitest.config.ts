import { defineConfig } from 'vitest/config'

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  // Here the kit is its sources; a user gets what is built.
  resolve: { alias: { 'rekindle/testing': new URL('./test/kit/index.ts', import.meta.url).pathname } },
  test: {
    // Packages are imported as Node imports them.
    deps: { interopDefault: false },
    include: ['test/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 3,
  },
})
