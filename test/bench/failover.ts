// A node dies with thousands of rows in its hands: how long until it is noticed, and from then until the last row
// is at rest again. All settings are the defaults, save that one node takes so many at once. One process: the
// node's life ends, its beats stand still, and a scheduler finds out as it would of another machine.

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { volume } from '../../machines/volume.ts'
import type { Driver, DriverMethod } from '../../runtime/driver.ts'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { jsonStore } from '../../store/index.ts'

export interface Failover {
  readonly rows: number
  /** What their table says is done: create ends in `error`, a delete is done again by another node. */
  readonly policy: 'error' | 'requeue'
  /** From the node's end to its service row saying down, on disk. */
  readonly noticed_ms: number
  /** From then to the last row at rest, on disk. */
  readonly put_right_ms: number
  readonly longest_stall_ms: number
}

/** Ends when its signal is aborted, never before. */
const hanging: DriverMethod = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))

const operations = { error: 'create', requeue: 'delete' } as const

export async function failover(folder: string, rows: number, policy: Failover['policy']): Promise<Failover> {
  const own = await mkdtemp(join(folder, 'failover-'))
  let taken = 0
  let allTaken = () => {}
  const everyTaken = new Promise<void>((resolve) => {
    allTaken = resolve
  })
  const dying: Driver = noopDriver({
    volume: {
      [operations[policy]]: (context) => {
        if (++taken === rows) allTaken()
        return hanging(context)
      },
    },
  })
  const node = { cluster: 'bench', backend: 'noop' }
  const runtime = await createRuntime({
    store: jsonStore(own),
    resources: [volume],
    nodes: [
      { ...node, host: 'h1', driver: dying },
      { ...node, host: 'h2', driver: noopDriver() },
    ],
    settings: { concurrency: rows },
  })
  try {
    await runtime.admin.disableNode('h2', 'so that one node takes all')
    const made = await inTurns(rows, () => runtime.volume.create({ name: 'bench', size: 1 }))
    const ids = made.flatMap((answer) => (answer.ok ? [answer.id] : []))
    if (policy === 'requeue') {
      await Promise.all(made.map((answer) => (answer.ok ? answer.settled() : undefined)))
      await inTurns(rows, (i) => runtime.volume(ids[i]!).delete())
    }
    await everyTaken
    await runtime.admin.enableNode('h2')
    const waiting = new Set(ids)
    let down_at = 0
    const ended = new Promise<number>((resolve) => {
      runtime.watch((event) => {
        if (event.type !== 'change' || event.row === null) return
        const { kind, id, state, worker } = event.row as Record<string, unknown>
        if (kind === 'service' && state === 'down' && down_at === 0) down_at = performance.now()
        if (kind === 'volume' && worker === null && waiting.delete(id as string) && waiting.size === 0)
          resolve(performance.now())
      })
    })
    const stalls = monitorEventLoopDelay({ resolution: 2 })
    stalls.enable()
    const killed_at = performance.now()
    runtime.node('h1').kill()
    const rest_at = await ended
    stalls.disable()
    return {
      rows,
      policy,
      noticed_ms: down_at - killed_at,
      put_right_ms: rest_at - down_at,
      longest_stall_ms: stalls.max / 1e6,
    }
  } finally {
    await runtime.stop()
    await rm(own, { recursive: true, force: true })
  }
}

/** So many calls, a thousand at once. */
async function inTurns<T>(count: number, call: (i: number) => Promise<T>): Promise<T[]> {
  const answers: T[] = []
  for (let from = 0; from < count; from += 1_000)
    answers.push(
      ...(await Promise.all(Array.from({ length: Math.min(1_000, count - from) }, (_, i) => call(from + i)))),
    )
  return answers
}
