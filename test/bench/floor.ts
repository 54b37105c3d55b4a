// The floor: what the same rows cost on this disk when nothing but serialising and group commit is done.
// Two flushes an operation (accept and claim share one), one caller an operation, no charts, no actors, no
// index, no checks. It may not be faster than durable: every write is followed by fdatasync.

import * as fs from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ResourceRow } from '../../machines/row.ts'
import type { Opened } from './load.ts'

const at = 1_700_000_000_000

/** The three rows of one operation, as the runtime would write them. */
export function rowsOf(n: number): readonly [ResourceRow, ResourceRow, ResourceRow] {
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
    placed: true as const,
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

/** As far as the store takes room ahead, so that a small batch's sync has no new size to write. */
const ROOM = 256 * 1024

const written = (descriptor: number, bytes: Uint8Array, position: number) =>
  new Promise<void>((resolve, reject) =>
    fs.write(descriptor, bytes, 0, bytes.length, position, (error, count) => {
      if (error !== null) reject(error)
      else if (count < bytes.length) reject(new Error(`${count} of ${bytes.length} bytes were written`))
      else resolve()
    }),
  )
const synced = (descriptor: number) =>
  new Promise<void>((resolve, reject) =>
    fs.fdatasync(descriptor, (error) => (error === null ? resolve() : reject(error))),
  )

/** A log that commits in groups: everything appended while a sync runs goes with the next. */
class GroupLog {
  readonly #descriptor: number
  #queue: { readonly text: string; readonly resolve: () => void; readonly reject: (e: unknown) => void }[] =
    []
  #isFlushing = false
  #size = 0
  #room = 0

  constructor(path: string) {
    this.#descriptor = fs.openSync(path, 'w')
  }

  /** Resolves when the text is on disk. */
  append(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ text, resolve, reject })
      if (this.#isFlushing) return
      this.#isFlushing = true
      // After this turn's microtasks: who appends in the same turn comes along.
      process.nextTick(() => void this.#flush())
    })
  }

  async #flush(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue
      this.#queue = []
      try {
        const bytes = Buffer.from(batch.map(({ text }) => text).join(''))
        const end = this.#size + bytes.length
        if (end > this.#room && bytes.length < ROOM / 4) {
          await written(this.#descriptor, Buffer.concat([bytes, Buffer.alloc(ROOM)]), this.#size)
          this.#room = end + ROOM
        } else await written(this.#descriptor, bytes, this.#size)
        await synced(this.#descriptor)
        this.#size = end
        for (const { resolve } of batch) resolve()
      } catch (cause) {
        for (const { reject } of batch) reject(cause)
      }
    }
    this.#isFlushing = false
  }

  close(): void {
    fs.closeSync(this.#descriptor)
  }
}

/** The floor with a log in a file of that folder, which goes when it is closed. */
export async function openFloor(folder: string): Promise<Opened> {
  const path = join(folder, `floor-${process.pid}.log`)
  const log = new GroupLog(path)
  let number = 0
  const one = async () => {
    const [accepted, claimed, finished] = rowsOf(number++)
    await log.append(`${JSON.stringify(accepted)}\n${JSON.stringify(claimed)}\n`)
    await log.append(`${JSON.stringify(finished)}\n`)
  }
  return {
    do: async (count) => void (await Promise.all(Array.from({ length: count }, one))),
    async close() {
      log.close()
      await rm(path)
    },
  }
}
