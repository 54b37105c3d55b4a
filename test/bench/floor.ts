// The floor: what the same rows cost on this disk when nothing but serialising and group commit is done.
// Two flushes an operation (accept and claim share one), one caller an operation, no charts, no actors, no
// index, no checks. It may not be faster than durable: every write is followed by fdatasync.

import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ResourceRow } from '../../machines/row.ts'

const at = 1_700_000_000_000

/** The three rows of one operation, as the runtime would write them. */
function rowsOf(n: number): readonly [ResourceRow, ResourceRow, ResourceRow] {
  const operation = {
    name: 'create',
    input: { name: `volume ${n}`, size: 1 },
    request_id: null,
    accepted_at: at,
    accepted_version: 1,
    progress: null,
    cancel_requested_at: null,
    history: [],
    cleanup: null,
  }
  const accepted: ResourceRow = {
    kind: 'volume',
    id: `m5x0000${n}`.padEnd(25, '0'),
    version: 1,
    status: 'creating',
    previous_status: null,
    worker: 'bench@noop',
    incarnation: null,
    operation,
    cluster: 'bench@noop',
    host: null,
    held_by: null,
    fence: 0,
    attempts: 0,
    children: {},
    data: operation.input,
    error: null,
    created_at: at,
    updated_at: at,
  }
  const attempt = { worker: 'h1@noop', incarnation: 1, fence: 1, at }
  const claimed = {
    ...accepted,
    version: 2,
    worker: 'h1@noop',
    host: 'h1',
    incarnation: 1,
    fence: 1,
    attempts: 1,
    operation: { ...operation, history: [attempt] },
  }
  const finished = {
    ...claimed,
    version: 3,
    status: 'available',
    worker: null,
    incarnation: null,
    operation: null,
  }
  return [accepted, claimed, finished]
}

/** Operations a second with so many in flight, for about so long. */
export async function floor(folder: string, in_flight: number, duration_ms: number): Promise<number> {
  const path = join(folder, 'floor.log')
  const file = await open(path, 'w')
  let queue: { text: string; resolve: () => void }[] = []
  let flushing = false
  const flush = async () => {
    flushing = true
    while (queue.length > 0) {
      const batch = queue
      queue = []
      await file.write(batch.map(({ text }) => text).join(''))
      await file.datasync()
      for (const { resolve } of batch) resolve()
    }
    flushing = false
  }
  const append = (text: string) =>
    new Promise<void>((resolve) => {
      queue.push({ text, resolve })
      if (!flushing) void Promise.resolve().then(() => (flushing ? undefined : flush()))
    })
  let done = 0
  const begun = performance.now()
  const until = begun + duration_ms
  const caller = async () => {
    while (performance.now() < until) {
      const [accepted, claimed, finished] = rowsOf(done)
      await append(`${JSON.stringify(accepted)}\n${JSON.stringify(claimed)}\n`)
      await append(`${JSON.stringify(finished)}\n`)
      done++
    }
  }
  await Promise.all(Array.from({ length: in_flight }, caller))
  const seconds = (performance.now() - begun) / 1000
  await file.close()
  await rm(path)
  return done / seconds
}
