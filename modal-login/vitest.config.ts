import path from 'node:path'
import { defineConfig } from 'vitest/config'

/** `unit` needs nothing, `chain` the anvil binary, `browser` a build (`npm run build`) and Chromium besides. */
export default defineConfig({
  resolve: { alias: { '@': path.resolve(import.meta.dirname) } },
  test: {
    // Two cores: real chains and browsers side by side only get in each other's way.
    fileParallelism: false,
    projects: ['unit', 'chain', 'browser'].map((name) => ({
      extends: true as const,
      test: {
        name,
        include: [`tests/${name}/**/*.test.ts`, `tests/${name}/**/*.test.tsx`],
        testTimeout: name === 'unit' ? 10_000 : 60_000,
        hookTimeout: 120_000,
      },
    })),
  },
})
