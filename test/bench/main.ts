// npm run bench: operations a second through the whole runtime (accept, claim, no-op driver, finish, every
// step fsynced), beside the floor of the same disk in the same run. What counts is the ratio: absolute
// values swing with the machine. Nothing here asserts a speed.

import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { volume } from '../../machines/volume.ts'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { jsonStore } from '../../store/index.ts'
import { floor } from './floor.ts'

const quick = process.argv.includes('--quick')
const json = process.argv.includes('--json')
const rounds = quick ? 1 : 3
const duration_ms = quick ? 1_000 : 3_000
const levels = [1, 16, 64, 256]

interface Figure {
  readonly in_flight: number
  readonly floor_per_s: number
  readonly operations_per_s: number
  readonly ratio: number
  readonly cpu_ms: number
  readonly p50_ms: number
  readonly p99_ms: number
  readonly longest_stall_ms: number
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
const percentile = (sorted: readonly number[], share: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!

/** The whole runtime with so many callers, each waiting for its operation to settle before the next. */
async function measure(folder: string, in_flight: number) {
  const runtime = await createRuntime({
    store: jsonStore(join(folder, `store-${in_flight}-${performance.now()}`)),
    resources: [volume],
    nodes: ['h1', 'h2', 'h3'].map((host) => ({
      cluster: 'bench',
      backend: 'noop',
      host,
      driver: noopDriver(),
    })),
    settings: { concurrency: 256 },
  })
  const latencies: number[] = []
  const stalls = monitorEventLoopDelay({ resolution: 5 })
  const run = async (ms: number) => {
    const until = performance.now() + ms
    const caller = async () => {
      while (performance.now() < until) {
        const begun = performance.now()
        const made = await runtime.volume.create({ name: 'bench', size: 1 })
        if (!made.ok) throw new Error(made.message)
        const settled = await made.settled()
        if (!settled.ok) throw new Error(settled.error.message)
        latencies.push(performance.now() - begun)
      }
    }
    await Promise.all(Array.from({ length: in_flight }, caller))
  }
  await run(duration_ms / 4)
  latencies.length = 0
  stalls.enable()
  const cpu = process.cpuUsage()
  const begun = performance.now()
  await run(duration_ms)
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  stalls.disable()
  await runtime.stop()
  latencies.sort((a, b) => a - b)
  return {
    per_s: latencies.length / seconds,
    cpu_ms: (user + system) / 1000 / latencies.length,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    stall: stalls.max / 1e6,
  }
}

async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'rekindle-bench-'))
  const figures: Figure[] = []
  try {
    for (const in_flight of levels) {
      const floors: number[] = []
      const runs: Awaited<ReturnType<typeof measure>>[] = []
      for (let round = 0; round < rounds; round++) {
        floors.push(await floor(folder, in_flight, duration_ms))
        runs.push(await measure(folder, in_flight))
        process.stderr.write(`${in_flight} in flight, round ${round + 1} of ${rounds}\n`)
      }
      const floor_per_s = median(floors)
      const operations_per_s = median(runs.map(({ per_s }) => per_s))
      figures.push({
        in_flight,
        floor_per_s: Math.round(floor_per_s),
        operations_per_s: Math.round(operations_per_s),
        ratio: Number((operations_per_s / floor_per_s).toFixed(2)),
        cpu_ms: Number(median(runs.map(({ cpu_ms }) => cpu_ms)).toFixed(3)),
        p50_ms: Number(median(runs.map(({ p50 }) => p50)).toFixed(2)),
        p99_ms: Number(median(runs.map(({ p99 }) => p99)).toFixed(2)),
        longest_stall_ms: Number(Math.max(...runs.map(({ stall }) => stall)).toFixed(1)),
      })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`
  if (json) process.stdout.write(`${JSON.stringify({ machine, rounds, duration_ms, figures })}\n`)
  else {
    process.stdout.write(`${machine}; ${rounds} rounds of ${duration_ms} ms each, median\n`)
    process.stdout.write(
      '| in flight | floor ops/s | rekindle ops/s | ratio | CPU ms/op | p50 ms | p99 ms | longest stall ms |\n|---|---|---|---|---|---|---|---|\n',
    )
    for (const f of figures)
      process.stdout.write(
        `| ${f.in_flight} | ${f.floor_per_s} | ${f.operations_per_s} | ${f.ratio} | ${f.cpu_ms} | ${f.p50_ms} | ${f.p99_ms} | ${f.longest_stall_ms} |\n`,
      )
  }
}

await main()
