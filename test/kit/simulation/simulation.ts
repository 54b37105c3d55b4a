// One simulated run: several processes with the shipped runtime on one store, clients that ask, and faults
// drawn by the seed; then a phase without faults in which everything must settle.

import { createHash } from 'node:crypto'
import { backup } from '../../../machines/backup.ts'
import type { ResourceType } from '../../../machines/definition.ts'
import { snapshot } from '../../../machines/snapshot.ts'
import { volume } from '../../../machines/volume.ts'
import type { Runtime } from '../../../runtime/api.ts'
import type { Seams } from '../../../runtime/options.ts'
import { createRuntime } from '../../../runtime/runtime.ts'
import { StoreError } from '../../../store/error.ts'
import { memoryStore } from '../../../store/memory.ts'
import type { Store, StoreSource } from '../../../store/store.ts'
import { SimulatedBackend, simulatedDriver } from './backend.ts'
import { Choices } from './choices.ts'
import { Invariants, type Violation } from './invariants.ts'
import { Place, SimulatedWorld } from './world.ts'

export interface SimulationOptions {
  readonly seed: number
  /** Steps with faults; the phase without them follows. */
  readonly steps: number
  /** `cluster` of every node; `h1` makes cluster and host one text (rule R17). */
  readonly cluster?: string
  /** The built-in types with other charts: how a rule is switched off. */
  readonly types?: readonly ResourceType[]
  readonly seams?: Seams
  readonly source?: () => StoreSource
}

export interface SimulationResult {
  readonly seed: number
  readonly violations: readonly Violation[]
  /** `sometimes` properties that were reached. */
  readonly reached: ReadonlySet<string>
  readonly commits: number
  readonly trace: readonly string[]
  /** Equal for equal runs. */
  readonly digest: string
}

const settings = {
  heartbeat_ms: 100,
  fence_after_ms: 300,
  down_after_ms: 800,
  sweep_ms: 50,
  schedulers: 1,
  abort_grace_ms: 100,
  operation_timeout_ms: 3_000,
  restarts: 1_000,
} as const

/** A process of the run: a place, and the runtime in it while it lives. */
interface Process {
  place: Place
  runtime: Runtime | null
  /** How its way to the store is. */
  link: 'good' | 'refuses' | 'hangs'
  readonly host: string
}

/** Runs one seed. Never throws for what the runtime does wrong: it says so. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #choices: Choices
  readonly #world: SimulatedWorld
  readonly #types: readonly ResourceType[]
  readonly #invariants: Invariants
  readonly #reached = new Set<string>()
  readonly #backend: SimulatedBackend
  readonly #source: StoreSource
  readonly #processes: Process[]
  /** The mix of faults of this run, drawn by the seed: some runs have many of one kind and none of another. */
  readonly #mix: {
    kill: number
    pause: number
    link: number
    fail: number
    hang: number
    ignoreAbort: number
    slow: number
  }
  #faults = true
  #commits = 0

  constructor(options: SimulationOptions) {
    this.#options = options
    this.#types = options.types ?? [volume, snapshot, backup]
    this.#choices = new Choices(options.seed)
    this.#world = new SimulatedWorld(this.#choices)
    this.#invariants = new Invariants(this.#types)
    this.#backend = new SimulatedBackend(this.#invariants, this.#reached)
    this.#source = options.source?.() ?? memoryStore({ exclusive: false })
    const rate = (most: number) => (this.#choices.chance(0.5) ? (most * (1 + this.#choices.of(10))) / 10 : 0)
    this.#mix = {
      kill: rate(0.01),
      pause: rate(0.01),
      link: rate(0.01),
      fail: rate(0.2),
      hang: rate(0.1),
      ignoreAbort: rate(0.5),
      slow: rate(0.2),
    }
    this.#world.slowness = this.#mix.slow
    this.#processes = ['h1', 'h2', 'h3'].map((host) => ({
      place: new Place(host),
      runtime: null,
      link: 'good',
      host,
    }))
  }

  async run(): Promise<SimulationResult> {
    const observer = await this.#source.open()
    observer.watch(0, (commit) => {
      this.#commits++
      this.#invariants.see(commit)
      for (const { row } of commit.changes)
        if (row !== null && row.operation !== undefined)
          this.#world.note(
            null,
            `${row.kind}/${row.id} v${row.version} ${row.status} ${row.worker} ${row.incarnation} f${row.fence}`,
          )
    })
    for (const process of this.#processes) this.#start(process)
    for (let step = 0; step < this.#options.steps && this.#holds(); step++) {
      this.#disturb()
      if (this.#choices.chance(0.1)) this.#ask()
      await this.#world.step()
    }
    await this.#settle()
    return {
      seed: this.#options.seed,
      violations: this.#invariants.violations,
      reached: this.#reached,
      commits: this.#commits,
      trace: this.#world.trace,
      digest: createHash('sha256').update(this.#world.trace.join('\n')).digest('hex').slice(0, 16),
    }
  }

  #holds(): boolean {
    return this.#invariants.violations.length === 0
  }

  /** No more faults: every process is up and reaches the store, and everything must come to rest. */
  async #settle(): Promise<void> {
    this.#faults = false
    this.#world.slowness = 0
    for (const process of this.#processes) {
      process.place.pausedUntil = 0
      process.link = 'good'
      if (!process.place.alive) this.#start(process)
    }
    const until = this.#world.now + 20_000
    while (this.#world.now < until && this.#holds()) {
      await this.#world.step()
      if (this.#world.now > until - 12_000 && this.#isSettled()) break
    }
    if (!this.#holds()) return
    this.#invariants.checkSettled()
    this.#backend.checkAgrees()
  }

  #isSettled(): boolean {
    for (const row of this.#invariants.rows.values())
      if (row.operation !== null || row.held_by !== null) return false
    for (const service of this.#invariants.services.values())
      if (service.state === 'down' && service.cleaned_incarnation !== service.incarnation) return false
    return true
  }

  #start(process: Process): void {
    const place = new Place(process.host)
    process.place = place
    process.runtime = null
    const driver = simulatedDriver(this.#world, place, this.#backend, () =>
      this.#faults ? this.#mix : { fail: 0, hang: 0, ignoreAbort: 0 },
    )
    const source: StoreSource = {
      name: 'simulated',
      open: async () => this.#linked(process, place, await this.#source.open()),
    }
    const cluster = this.#options.cluster ?? 'ssd'
    createRuntime(
      {
        store: source,
        resources: this.#types,
        nodes: [{ cluster, backend: 'file', host: process.host, driver }],
        settings,
        environment: this.#world.environment(place),
        log: (message) => this.#world.note(place, `"${message}"`),
      },
      this.#options.seams,
    ).then(
      (runtime) => {
        if (process.place === place) process.runtime = runtime
      },
      (error: unknown) => {
        this.#world.note(place, `did not start: ${String(error)}`)
        if (process.place === place && place.alive) this.#world.kill(place)
      },
    )
  }

  /** The store as this process reaches it: each call goes there and comes back as steps of the world. */
  #linked(process: Process, place: Place, inner: Store): Store {
    const world = this.#world
    const go = async <A>(label: string, call: () => Promise<A>): Promise<A> => {
      await world.hop(place, label)
      if (process.link === 'refuses') throw new StoreError('store_refused', 'the disk is full')
      while (process.link === 'hangs') await world.hop(place, `${label} hangs`, 100)
      const answer = await call()
      // A kill from here on: durable, and nobody was told.
      await world.hop(place, `${label} answered`)
      return answer
    }
    return {
      exclusive: inner.exclusive,
      get: (key) => inner.get(key),
      // A cleaner's list and its swaps are the race that matters; other reads are as fast as memory.
      list: (filter, page) =>
        filter.taken === true ? go('list', () => inner.list(filter, page)) : inner.list(filter, page),
      count: (filter) => inner.count(filter),
      transact: (expect, changes) => go('swap', () => inner.transact(expect, changes)),
      offset: () => inner.offset(),
      watch: (from, listener) => inner.watch(from, (commit) => place.alive && listener(commit)),
      onLost: (listener) => inner.onLost(listener),
      close: () => inner.close(),
    }
  }

  #disturb(): void {
    const choices = this.#choices
    const process = this.#processes[choices.of(this.#processes.length)]!
    const { place } = process
    if (!place.alive) {
      if (choices.chance(0.01)) this.#start(process)
      return
    }
    if (choices.chance(this.#mix.kill)) this.#world.kill(place)
    else if (choices.chance(this.#mix.pause)) {
      place.pausedUntil = this.#world.now + choices.pick([50, 400, 1_000, 2_500])
      this.#world.note(place, `paused until ${place.pausedUntil}`)
    } else if (choices.chance(this.#mix.link)) {
      process.link = choices.pick(['good', 'good', 'refuses', 'hangs'] as const)
      this.#world.note(place, `link ${process.link}`)
    }
  }

  /** A client asks something of a process that is there; what it is told does not matter here. */
  #ask(): void {
    const { runtime, place } = this.#choices.pick(this.#processes)
    if (runtime === null || !place.alive || place.pausedUntil > this.#world.now) return
    this.#wish(runtime)?.catch(() => {})
  }

  #wish(runtime: Runtime): Promise<unknown> | undefined {
    const choices = this.#choices
    const rows = [...this.#invariants.rows.values()]
    const some = (kind: string) => rows.filter((row) => row.kind === kind && row.status !== 'gone')
    const volumes = some('volume')
    const backups = some('backup')
    const snapshots = some('snapshot')
    const dice = choices.of(10)
    if (volumes.length === 0 || dice < 2)
      return runtime.accept('volume', null, 'create', { name: 'v', size: 1 })
    const { id, data } = choices.pick(volumes)
    if (dice < 4) return runtime.accept('volume', id, 'extend', { size: (data.size as number) + 1 })
    if (dice < 5) return runtime.accept('volume', id, 'delete')
    if (dice < 6) return runtime.accept('snapshot', null, 'create', { name: 's', volume_id: id })
    if (dice < 7) return runtime.accept('backup', null, 'create', { name: 'b', volume_id: id })
    if (dice < 8)
      return snapshots.length === 0
        ? undefined
        : runtime.accept('snapshot', choices.pick(snapshots).id, 'delete')
    if (backups.length > 0 && dice < 9)
      return runtime.accept('backup', choices.pick(backups).id, 'restore', { volume_id: id })
    const last = choices.of(3)
    if (last === 0) return runtime.accept('volume', id, 'force_delete')
    if (last === 1) return runtime.cancel('volume', id)
    return backups.length === 0 ? undefined : runtime.accept('backup', choices.pick(backups).id, 'delete')
  }
}
