// The load: so many callers, each waiting for the durable end of its operation before it asks for the next.
// One such loop serves the runtime, its floor and the peers, so that in flight means the same for all. What
// it measures is of this process: its CPU, its event loop, its memory.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { percentile } from './spread.ts'

/** What one loop came to. */
export interface Loaded {
  readonly operations: number
  readonly per_s: number
  readonly p50_ms: number
  readonly p99_ms: number
  /** CPU of this process an operation, user and system. */
  readonly cpu_ms: number
  readonly longest_stall_ms: number
  readonly rss_mb: number
}

export interface Timing {
  readonly in_flight: number
  readonly warm_up_ms: number
  readonly duration_ms: number
}

/** Runs `once` in closed loops: first to warm up, unmeasured, then for so long. */
export async function load(timing: Timing, once: () => Promise<void>): Promise<Loaded> {
  await loop(timing.in_flight, timing.warm_up_ms, once)
  const stalls = monitorEventLoopDelay({ resolution: 2 })
  stalls.enable()
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const latencies = await loop(timing.in_flight, timing.duration_ms, once)
  const took_ms = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  stalls.disable()
  latencies.sort()
  const sorted = [...latencies]
  return {
    operations: sorted.length,
    per_s: (sorted.length / took_ms) * 1000,
    p50_ms: percentile(sorted, 0.5),
    p99_ms: percentile(sorted, 0.99),
    cpu_ms: (user + system) / 1000 / sorted.length,
    longest_stall_ms: stalls.max / 1e6,
    rss_mb: process.memoryUsage.rss() / 2 ** 20,
  }
}

/** How long each operation took, in ms. At least one a caller. */
async function loop(
  in_flight: number,
  duration_ms: number,
  once: () => Promise<void>,
): Promise<Float64Array> {
  const latencies: number[] = []
  const until = performance.now() + duration_ms
  const caller = async () => {
    do {
      const begun = performance.now()
      await once()
      latencies.push(performance.now() - begun)
    } while (performance.now() < until)
  }
  await Promise.all(Array.from({ length: in_flight }, caller))
  return Float64Array.from(latencies)
}
