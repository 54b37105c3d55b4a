// Operations a second beside the floor of the same disk. Rounds of the two take turns, so that a slow spell of
// the machine meets both; each ratio is of one round.

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { floor } from './floor.ts'
import { type Loaded, load, type Timing } from './load.ts'
import { type Spread, spreadOf } from './spread.ts'
import { createOnce, openRuntime } from './whole.ts'

export interface Throughput {
  readonly in_flight: number
  readonly floor_per_s: Spread
  readonly floor_cpu_ms: Spread
  readonly per_s: Spread
  readonly of_floor: Spread
  readonly cpu_ms: Spread
  readonly p50_ms: Spread
  readonly p99_ms: Spread
  readonly longest_stall_ms: Spread
  readonly rss_mb: Spread
}

/** One round of the whole runtime in a store of its own. */
export async function whole(folder: string, timing: Timing): Promise<Loaded> {
  const own = await mkdtemp(join(folder, 'whole-'))
  const runtime = await openRuntime(own, timing.in_flight)
  try {
    return await load(timing, () => createOnce(runtime))
  } finally {
    await runtime.stop()
    await rm(own, { recursive: true, force: true })
  }
}

export interface Rounds {
  readonly rounds: number
  readonly duration_ms: number
}

export async function throughput(
  folder: string,
  levels: readonly number[],
  { rounds, duration_ms }: Rounds,
  say: (line: string) => void,
): Promise<Throughput[]> {
  const floors = new Map<number, Loaded[]>(levels.map((level) => [level, []]))
  const wholes = new Map<number, Loaded[]>(levels.map((level) => [level, []]))
  for (let round = 1; round <= rounds; round++)
    for (const in_flight of levels) {
      const timing = { in_flight, duration_ms, warm_up_ms: duration_ms / 2 }
      floors.get(in_flight)!.push(await floor(folder, timing))
      wholes.get(in_flight)!.push(await whole(folder, timing))
      say(`round ${round} of ${rounds}: ${in_flight} in flight`)
    }
  return levels.map((in_flight) => {
    const below = floors.get(in_flight)!
    const runs = wholes.get(in_flight)!
    const of = (field: keyof Loaded) => spreadOf(runs.map((run) => run[field]))
    return {
      in_flight,
      floor_per_s: spreadOf(below.map(({ per_s }) => per_s)),
      floor_cpu_ms: spreadOf(below.map(({ cpu_ms }) => cpu_ms)),
      per_s: of('per_s'),
      of_floor: spreadOf(runs.map(({ per_s }, i) => per_s / below[i]!.per_s)),
      cpu_ms: of('cpu_ms'),
      p50_ms: of('p50_ms'),
      p99_ms: of('p99_ms'),
      longest_stall_ms: of('longest_stall_ms'),
      rss_mb: of('rss_mb'),
    }
  })
}
