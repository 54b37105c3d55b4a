// The load: so many callers, each waiting for the durable end of what it asked for before it asks again. One
// such loop serves the runtime, its floor and the peers, so that in flight means the same for all. What it
// measures is of this process, its CPU, its event loop, its memory; the CPU of a server that does part of the
// work is added.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { percentile } from './spread.ts'

/** What one loop came to. */
export interface Loaded {
  readonly operations: number
  readonly per_s: number
  /** From asking to the durable end; of a bulk, of the whole bulk. */
  readonly p50_ms: number
  readonly p99_ms: number
  /** CPU an operation, user and system, of this process and of the server. */
  readonly cpu_ms: number
  /** The server's share of it. */
  readonly server_cpu_ms: number
  readonly longest_stall_ms: number
  /** The most that this process ever had. */
  readonly peak_rss_mb: number
}

export interface Timing {
  /** Callers. */
  readonly in_flight: number
  readonly warm_up_ms: number
  readonly duration_ms: number
  /** Operations that a caller asks for at once; 1 unless said. */
  readonly bulk?: number
}

/** What the load asks of a contestant. */
export interface Asked {
  /** Does so many operations, asked for at once; resolves when the last has ended durably. */
  do(count: number): Promise<void>
  /** CPU that its server has had by now. */
  serverCpu?(): number
}

/** A contestant that is open. */
export interface Opened extends Asked {
  close(): Promise<void>
}

/** Runs `asked` in closed loops: first to warm up, unmeasured, then for so long. */
export async function load(timing: Timing, asked: Asked): Promise<Loaded> {
  const { in_flight, warm_up_ms, duration_ms, bulk = 1 } = timing
  const loop = (for_ms: number) => loopOf(in_flight, for_ms, () => asked.do(bulk))
  if (warm_up_ms > 0) await loop(warm_up_ms)
  const stalls = monitorEventLoopDelay({ resolution: 2 })
  stalls.enable()
  const cpu = process.cpuUsage()
  const server_before = asked.serverCpu?.() ?? 0
  const begun = performance.now()
  const latencies = await loop(duration_ms)
  const took_ms = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  const server_ms = (asked.serverCpu?.() ?? 0) - server_before
  stalls.disable()
  const operations = latencies.length * bulk
  const sorted = [...latencies.sort()]
  return {
    operations,
    per_s: (operations / took_ms) * 1000,
    p50_ms: percentile(sorted, 0.5),
    p99_ms: percentile(sorted, 0.99),
    cpu_ms: ((user + system) / 1000 + server_ms) / operations,
    server_cpu_ms: server_ms / operations,
    longest_stall_ms: stalls.max / 1e6,
    peak_rss_mb: process.resourceUsage().maxRSS / 1024,
  }
}

/** How long each call took, in ms. At least one a caller. */
async function loopOf(
  in_flight: number,
  duration_ms: number,
  call: () => Promise<void>,
): Promise<Float64Array> {
  const latencies: number[] = []
  const until = performance.now() + duration_ms
  const caller = async () => {
    do {
      const begun = performance.now()
      await call()
      latencies.push(performance.now() - begun)
    } while (performance.now() < until)
  }
  await Promise.all(Array.from({ length: in_flight }, caller))
  return Float64Array.from(latencies)
}
