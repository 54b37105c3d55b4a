// One run of the bench: which parts there are, what each measures, and the figures of all of them as one value.
// A part that cannot be measured here is left out by name, with the reason.

import { cpus } from 'node:os'
import type { ContestantName, Place } from './contestants.ts'
import { type Failover, failover } from './failover.ts'
import { type Profile, profile } from './profile.ts'
import { type Server, startPostgres, startRedis } from './servers.ts'
import { type Level, Processes, type Shape, throughput } from './throughput.ts'

export const PARTS = {
  throughput: 'operations/s at 1, 16 and 64 in flight beside the floor, BullMQ and graphile-worker',
  bulk: 'the same with a thousand operations waiting, 64 of them worked on',
  in_flight: '100 and 10,000 in flight, beside the floor',
  nodes: '1, 10 and 100 nodes, 64 in flight',
  failover: 'a node dies with 10,000 rows in its hands',
  profile: 'where the time of one operation goes, 64 in flight',
} as const
export type Part = keyof typeof PARTS

/** What was measured. A part that was not run is not there. */
export interface Results {
  readonly machine: string
  /** By name: what the peers ran on. */
  readonly servers?: readonly string[]
  /** What was left out, and why. */
  readonly skipped?: readonly { readonly name: string; readonly why: string }[]
  readonly throughput?: readonly Level[]
  readonly bulk?: readonly Level[]
  readonly in_flight?: readonly Level[]
  readonly nodes?: readonly (Level & { readonly nodes: number })[]
  readonly failover?: readonly Failover[]
  readonly profile?: Profile
}

export interface Surroundings {
  readonly folder: string
  readonly quick: boolean
  readonly say: (line: string) => void
  /** Told of each server, so that none outlives the bench. */
  readonly started: (server: Server) => void
}

export async function measure(parts: readonly Part[], around: Surroundings): Promise<Results> {
  const { folder, quick, say } = around
  const wants = (part: Part) => parts.includes(part)
  const rounds = quick ? { rounds: 2, duration_ms: 500 } : { rounds: 3, duration_ms: 1_600 }
  let found: Results = {
    machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`,
  }
  const processes = new Processes()
  const servers: Server[] = []
  const levels = (names: readonly ContestantName[], place: Place, shapes: readonly Shape[]) =>
    throughput(names, place, shapes, rounds, processes.run, say)
  try {
    if (wants('throughput') || wants('bulk')) {
      const names: ContestantName[] = ['floor', 'rekindle']
      const skipped: { name: string; why: string }[] = []
      const start = async (name: string, starts: () => ReturnType<typeof startRedis>) => {
        const server = await starts()
        if ('missing' in server) {
          say(`${name} is left out: ${server.missing}`)
          skipped.push({ name, why: server.missing })
          return undefined
        }
        servers.push(server)
        around.started(server)
        return server
      }
      const redis = await start('BullMQ', startRedis)
      const postgres = await start('graphile-worker', startPostgres)
      if (redis !== undefined) names.push('bullmq')
      if (postgres !== undefined) names.push('graphile', 'graphile_batched')
      const place = {
        folder,
        ...(redis && { redis: portOf(redis) }),
        ...(postgres && { postgres: portOf(postgres) }),
      }
      found = { ...found, servers: servers.map(({ version }) => version), skipped }
      if (wants('throughput')) {
        say('throughput')
        const shapes = [1, 16, 64].map((in_flight) => ({ in_flight }))
        found = { ...found, throughput: await levels(names, place, shapes) }
      }
      if (wants('bulk')) {
        say('bulk')
        found = { ...found, bulk: await levels(names, place, [{ in_flight: 64, callers: 2, bulk: 500 }]) }
      }
      for (const server of servers.splice(0)) await server.stop()
    }
    if (wants('in_flight')) {
      say('in flight')
      const shapes = [{ in_flight: 100 }, { in_flight: 10_000 }]
      found = { ...found, in_flight: await levels(['floor', 'rekindle'], { folder }, shapes) }
    }
    if (wants('nodes')) {
      say('nodes')
      const of = async (nodes: number) => {
        const [level] = await levels(['rekindle'], { folder, nodes }, [{ in_flight: 64 }])
        return { ...level!, nodes }
      }
      found = { ...found, nodes: [await of(1), await of(10), await of(100)] }
    }
    processes.end()
    if (wants('failover')) {
      const rows = quick ? 1_000 : 10_000
      say(`fail-over of ${rows} rows`)
      found = {
        ...found,
        failover: [await failover(folder, rows, 'error'), await failover(folder, rows, 'requeue')],
      }
    }
    if (wants('profile')) {
      say('profile')
      const duration_ms = quick ? 2_000 : 5_000
      const timing = { in_flight: 64, warm_up_ms: duration_ms / 2, duration_ms }
      found = { ...found, profile: await profile(folder, timing) }
    }
    return found
  } finally {
    processes.end()
    for (const server of servers) await server.stop()
  }
}

const portOf = ({ pid, port }: Server) => ({ pid, port })
