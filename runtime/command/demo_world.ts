// The world of the demo: real files on a real file driver, made slow enough to watch, and a way to wait for
// what happens in it.

import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import type { StoredRow } from '../../store/index.ts'
import { fileDriver } from '../drivers/file.ts'
import type { Driver, DriverMethod, Environment, ResourceRow, Runtime, RuntimeEvent } from '../index.ts'

export const MIB = 2 ** 20
const PIECE_BYTES = 256 * 1024

/** How the backend works: so slowly that one can watch, and no further than half-way while it is held. */
export interface Pace {
  /** A piece of a copy, in milliseconds; making a volume takes some pieces. */
  piece_ms: number
  isHeld: boolean
}

/** Of 32 pieces of an 8 MiB image. */
const HELD_AT_PIECE = 20
const HELD_AT = 0.6

/** The file driver at this pace. Copies are real copies, piece by piece, on every file system. */
export function watchable(folder: string, pace: Pace, environment: Environment): Driver {
  const whileHeld = async (signal?: AbortSignal) => {
    while (pace.isHeld && !signal?.aborted) await pause(environment, 20)
  }
  const disk: typeof fs = {
    ...fs,
    copyFile: () =>
      Promise.reject(Object.assign(new Error('no blocks are shared here'), { code: 'ENOTSUP' })),
    async open(path, flags, mode) {
      const handle = await fs.open(path, flags, mode)
      if (flags !== 'r') return handle
      const read = handle.read.bind(handle) as (...given: unknown[]) => Promise<never>
      let pieces = 0
      handle.read = (async (...given: unknown[]) => {
        await pause(environment, pace.piece_ms)
        if (++pieces > HELD_AT_PIECE) await whileHeld()
        return read(...given)
      }) as typeof handle.read
      return handle
    },
  }
  const driver = fileDriver(folder, { piece_bytes: PIECE_BYTES, disk })
  // What is done at once would be over before anyone could look at it.
  const stretched =
    (method: DriverMethod): DriverMethod =>
    async (context) => {
      for (let part = 0; part < 5; part++) {
        context.progress((part / 5) * HELD_AT, 'preparing')
        await pause(environment, pace.piece_ms)
      }
      context.progress(HELD_AT, 'preparing')
      await whileHeld(context.signal)
      context.signal.throwIfAborted()
      return method(context)
    }
  const { volume, ...others } = driver.operations
  const methods = Object.entries(volume!).map(([name, method]) => [name, stretched(method)] as const)
  return { ...driver, operations: { ...others, volume: Object.fromEntries(methods) } }
}

function pause(environment: Environment, ms: number): Promise<void> {
  return new Promise((resolve) => {
    if (ms === 0) resolve()
    else environment.timer(ms, resolve)
  })
}

/** What went on too long, told to the person who watches. */
export class DemoStopped extends Error {}

/** Everything that happened, in order, with its time; and waits that look again whenever something does. */
export class Watched {
  readonly events: { readonly at: number; readonly event: RuntimeEvent }[] = []
  readonly #environment: Environment
  readonly #waits = new Set<() => void>()

  constructor(runtime: Runtime, environment: Environment) {
    this.#environment = environment
    runtime.watch((event) => {
      this.events.push({ at: environment.monotonic(), event })
      // The runtime has to see the event, too.
      queueMicrotask(() => {
        for (const look of [...this.#waits]) look()
      })
    })
  }

  /** Resolves with the time, in milliseconds, at which it was found to be so. */
  until(what: string, isSo: () => boolean | Promise<boolean>, within_ms = 8_000): Promise<number> {
    return new Promise((resolve, reject) => {
      let again = this.#environment.timer(0, () => look())
      const end = () => {
        this.#waits.delete(look)
        limit.clear()
        again.clear()
      }
      const limit = this.#environment.timer(within_ms, () => {
        end()
        reject(new DemoStopped(`${what}: this did not happen within ${within_ms / 1000} seconds`))
      })
      const look = async () => {
        again.clear()
        again = this.#environment.timer(50, look)
        try {
          if (!(await isSo())) return
          end()
          resolve(this.#environment.monotonic())
        } catch (error) {
          end()
          reject(error)
        }
      }
      this.#waits.add(look)
    })
  }

  /** The durable rows of a resource, oldest first; those after the first row of any kind that `since` accepts. */
  rowsOf(
    { kind, id }: { readonly kind: string; readonly id: string },
    since?: (row: StoredRow) => boolean,
  ): readonly ResourceRow[] {
    const changes = this.events.flatMap(({ event }) =>
      event.type === 'change' && event.row !== null ? [event.row] : [],
    )
    const from = since === undefined ? 0 : changes.findIndex(since) + 1
    return changes.slice(from).filter((row) => row.kind === kind && row.id === id) as unknown as ResourceRow[]
  }

  /** The last progress of a resource, 0 to 1. */
  progressOf({ kind, id }: { readonly kind: string; readonly id: string }): number {
    for (let i = this.events.length - 1; i >= 0; i--) {
      const { event } = this.events[i]!
      if (event.type === 'progress' && event.kind === kind && event.id === id) return event.progress.fraction
    }
    return 0
  }
}

/** What lies half-made in the folder of a file driver. */
export async function halfMade(
  folder: string,
): Promise<readonly { readonly name: string; readonly bytes: number }[]> {
  const work = join(folder, 'work')
  const found: { name: string; bytes: number }[] = []
  for (const name of await fs.readdir(work))
    found.push({ name, bytes: await bytesUnder(join(work, name)).catch(() => 0) })
  return found
}

/** Bytes that are really on the disk: an image is as long as its volume from the first piece on. */
async function bytesUnder(path: string): Promise<number> {
  const stat = await fs.stat(path)
  if (!stat.isDirectory()) return stat.blocks * 512
  const inner = await Promise.all((await fs.readdir(path)).map((name) => bytesUnder(join(path, name))))
  return inner.reduce((sum, bytes) => sum + bytes, 0)
}
