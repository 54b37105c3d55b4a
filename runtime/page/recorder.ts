// Keeps the last steps of a runtime in memory, and tells them on in batches: a page that opens sees the last
// minutes, and ten thousand changes a second reach it as a few messages. It holds nothing that the store does
// not have, and forgets the oldest first.

import type {
  ClusterRow,
  Environment,
  ResourceRow,
  Runtime,
  RuntimeEvent,
  ServiceRow,
  Timer,
} from '../index.ts'
import {
  type Brief,
  briefOf,
  clusterBrief,
  clusterTold,
  type Running,
  runningOf,
  type ServiceBrief,
  type Step,
  serviceBrief,
  serviceTold,
  toldOf,
} from './step.ts'

export interface Batch {
  /** The last commit that it holds. */
  readonly offset: number
  readonly steps: readonly Step[]
}

/** Steps that are kept. */
const MOST_STEPS = 20_000
/** A screen shows no more frames than that. */
const BATCH_MS = 50

export class Recorder {
  readonly #runtime: Runtime
  readonly #environment: Environment
  readonly #kinds: ReadonlySet<string>
  readonly #steps: Step[] = []
  readonly #running = new Map<string, Running>()
  readonly #services = new Map<string, ServiceBrief>()
  /** When each node's last beat was seen here. */
  readonly beats = new Map<string, number>()
  readonly #listeners = new Set<(batch: Batch) => void>()
  readonly #stop: () => void
  #pending: Step[] = []
  #timer: Timer | null = null
  #offset: number
  readonly since: number

  constructor(runtime: Runtime, environment: Environment) {
    this.#runtime = runtime
    this.#environment = environment
    this.#kinds = new Set(runtime.kinds.map(({ kind }) => kind))
    this.since = environment.now()
    this.#offset = runtime.offset()
    this.#stop = runtime.watch((event) => this.#see(event), { from: this.#offset })
  }

  /** The last commit whose steps were told to listeners. */
  get offset(): number {
    return this.#offset
  }

  /** The kept steps after this commit, or null where some of them are forgotten. */
  after(offset: number): readonly Step[] | null {
    const first = this.#steps[0]
    if (first !== undefined && this.#steps.length >= MOST_STEPS && offset < first.offset) return null
    return this.#steps.filter((step) => step.offset > offset && step.offset <= this.#offset)
  }

  /** The last so many steps. */
  last(count: number): readonly Step[] {
    return this.#steps.filter(({ offset }) => offset <= this.#offset).slice(-count)
  }

  /** What happened to one resource, as far as it is kept. */
  of(key: string): readonly Step[] {
    return this.#steps.filter((step) => step.key === key)
  }

  listen(listener: (batch: Batch) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  close(): void {
    this.#stop()
    this.#timer?.clear()
    this.#listeners.clear()
  }

  #see(event: RuntimeEvent): void {
    if (event.type !== 'change') return
    const step = this.#stepOf(event)
    if (step === null) return
    this.#steps.push(step)
    // In lumps: taking the first of a long list each time moves all the others.
    if (this.#steps.length > MOST_STEPS * 1.25) this.#steps.splice(0, this.#steps.length - MOST_STEPS)
    this.#pending.push(step)
    this.#timer ??= this.#environment.timer(BATCH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#timer = null
    const steps = this.#pending
    this.#pending = []
    this.#offset = steps.at(-1)?.offset ?? this.#offset
    for (const listener of this.#listeners) listener({ offset: this.#offset, steps })
  }

  #stepOf({ key, offset, row }: Extract<RuntimeEvent, { type: 'change' }>): Step | null {
    const slash = key.indexOf('/')
    const kind = key.slice(0, slash)
    const at = this.#environment.now()
    if (kind === 'beat') {
      if (row !== null) this.beats.set(key.slice(slash + 1), at)
      return null
    }
    const common = { offset, at, key }
    if (row === null) {
      if (!this.#kinds.has(kind) && kind !== 'service' && kind !== 'cluster') return null
      this.#running.delete(key)
      this.#services.delete(key)
      return { ...common, lane: 'scheduler', to: null, what: 'forgotten', reason: null, row: null }
    }
    if (kind === 'service') {
      const service = row as unknown as ServiceRow
      const told = serviceTold(service, this.#services.get(key))
      const brief = serviceBrief(service)
      this.#services.set(key, brief)
      return { ...common, ...told, row: brief }
    }
    if (kind === 'cluster') {
      const cluster = row as unknown as ClusterRow
      return { ...common, ...clusterTold(cluster), row: clusterBrief(cluster) }
    }
    if (!this.#kinds.has(kind)) return null
    const resource = row as unknown as ResourceRow
    const told = toldOf(resource, this.#running.get(key))
    const running = runningOf(resource)
    if (running === null) this.#running.delete(key)
    else this.#running.set(key, running)
    return { ...common, ...told, row: briefOf(resource) }
  }

  /** A page of resources as they are now. */
  async page(
    kind: string,
    after: string | null,
    limit: number,
  ): Promise<{ rows: Brief[]; next: string | null }> {
    const { rows, next } = await this.#runtime.list(kind, { after, limit })
    return { rows: rows.map(briefOf), next }
  }
}
