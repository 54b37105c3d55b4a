// Who is measured side by side, and how each is opened: rekindle, its floor, and the peers. Each does the same:
// accept an operation, take it, do nothing, end it, every step synced to the same disk. `working` is how many
// operations it may work on at once.

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openFloor } from './floor.ts'
import type { Opened } from './load.ts'
import { createOnce, openRuntime } from './whole.ts'

export const CONTESTANTS = ['floor', 'rekindle', 'bullmq', 'graphile', 'graphile_batched'] as const
export type ContestantName = (typeof CONTESTANTS)[number]

export const TITLES: Readonly<Record<ContestantName, string>> = {
  floor: 'floor',
  rekindle: 'rekindle',
  bullmq: 'BullMQ',
  graphile: 'graphile-worker',
  graphile_batched: 'graphile-worker, batched',
}

/** Where a contestant keeps its data. */
export interface Place {
  readonly folder: string
  /** Of rekindle; 1 unless said. */
  readonly nodes?: number
  readonly redis?: { readonly pid: number; readonly port: number }
  readonly postgres?: { readonly pid: number; readonly port: number }
}

/** The packages of the peers are loaded for the peers alone. */
export async function openContestant(name: ContestantName, place: Place, working: number): Promise<Opened> {
  switch (name) {
    case 'floor':
      return openFloor(place.folder)
    case 'rekindle':
      return openRekindle(place.folder, working, place.nodes)
    case 'bullmq':
      return (await import('./bullmq.ts')).openBullmq(place.redis!, working)
    case 'graphile':
      return (await import('./graphile.ts')).openGraphile(place.postgres!, working, false)
    case 'graphile_batched':
      return (await import('./graphile.ts')).openGraphile(place.postgres!, working, true)
  }
}

/** The whole runtime over a JSON store in a folder of its own: one node that works on so many at once. */
export async function openRekindle(folder: string, working: number, nodes = 1): Promise<Opened> {
  const own = await mkdtemp(join(folder, 'rekindle-'))
  const runtime = await openRuntime(own, { working, nodes })
  return {
    async do(count) {
      if (count === 1) await createOnce(runtime)
      else await Promise.all(Array.from({ length: count }, () => createOnce(runtime)))
    },
    async close() {
      await runtime.stop()
      await rm(own, { recursive: true, force: true })
    },
  }
}
