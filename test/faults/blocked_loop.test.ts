// A driver that blocks the event loop, for real: with an exclusive store one clock serves fences and
// observers, so a blocked loop alone makes nobody look silent (rule R12).

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { volume } from '../../machines/index.ts'
import type { Driver } from '../../runtime/driver.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { jsonStore } from '../../store/index.ts'

/** Holds the event loop, as a driver with a long computation does. */
function block(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

test('a driver that blocks the event loop for several times down_after fences nobody and finishes', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rekindle-blocked-'))
  const logs: string[] = []
  const driver: Driver = { operations: { volume: { create: async () => block(3_000) } } }
  const runtime = await createRuntime({
    store: jsonStore(folder),
    resources: [volume],
    nodes: ['h1', 'h2', 'h3'].map((host) => ({ cluster: 'ssd', backend: 'file', host, driver })),
    settings: { heartbeat_ms: 100, fence_after_ms: 300, down_after_ms: 800, sweep_ms: 100 },
    log: ({ level, message }) => {
      if (level !== 'debug') logs.push(message)
    },
  })
  const made = await runtime.volume.create({ name: 'slow', size: 1 })
  if (!made.ok) throw new Error(made.message)
  expect((await made.settled()).row.status).toBe('available')
  expect(runtime.nodes().map(({ state, incarnation }) => `${state} ${incarnation}`)).toEqual([
    'up 1',
    'up 1',
    'up 1',
  ])
  expect(logs).toEqual([])
  await runtime.stop()
  await rm(folder, { recursive: true })
})
