import { defineConfig } from 'vitest/config'

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  // Here the kit is its sources; a user gets what is built.
  resolve: { alias: { 'rekindle/testing': new URL('./test/kit/index.ts', import.meta.url).pathname } },
  test: {
    // Packages are imported as Node imports them.
    deps: { interopDefault: false },
    include: ['test/**/*.test.ts'],
    // Minutes of real images: `npm run effects`.
    exclude: process.env.EFFECTS === 'all' ? [] : ['test/drivers/qemu{,_crash}.test.ts', 'test/drivers/file_runtime.test.ts'],
    // A worker loads what it tests once, not once a file: half of the whole time. Modules here keep no state.
    isolate: false,
    testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 3,
  },
})
