// One simulated run: processes with the shipped runtime on one store, clients that ask, and faults; then a phase
// without faults in which everything must settle. The seed decides all, or a schedule repeats what it decided.
// Nothing of the runtime is done here: this is only the world around it.

import { backup } from '../../../machines/backup.ts'
import type { ResourceType } from '../../../machines/definition.ts'
import { snapshot } from '../../../machines/snapshot.ts'
import { volume } from '../../../machines/volume.ts'
import type { Driver } from '../../../runtime/driver.ts'
import type { Key, StoredRow } from '../../../store/store.ts'
import { builtInInputs, checkInputs, type Inputs } from '../inputs.ts'
import { inShort, type TraceEvent } from '../trace.ts'
import { SimulatedBackend } from './backend.ts'
import { Choices, type Deviation, type Schedule } from './choices.ts'
import { Clients } from './clients.ts'
import { type Fault, Faults, inWords } from './faults.ts'
import { Invariants, type OwnInvariant, type Violation, Writers } from './invariants.ts'
import { type Seamed, SimulatedProcess } from './process.ts'
import { SimulatedStorage } from './storage.ts'
import { type Drawn, drawn, type Mix, type Topology } from './topology.ts'
import { SimulatedWorld } from './world.ts'

export interface SimulationOptions {
  /** Draws topology, faults and the order of everything; with a schedule the topology alone. */
  readonly seed: number
  /** Steps with faults; the phase without them follows. */
  readonly steps: number
  /** Repeats these deviations; everything else is the default. */
  readonly schedule?: Schedule
  /** The types to run; the built-in ones where absent. */
  readonly resources?: readonly ResourceType[]
  /** What operations are asked with. */
  readonly inputs?: Inputs
  /**
   * A driver of one's own, called once a run: the state of its backend begins anew with it. Where absent, a generic
   * backend in which a thing is there after an operation from `new` and away after one to `gone`.
   */
  readonly driver?: () => Driver
  readonly invariants?: readonly OwnInvariant[]
  /** Instead of what the seed draws. */
  readonly topology?: Partial<Topology>
  readonly mix?: Partial<Mix>
  /** How a rule is switched off. */
  readonly seamsFor?: Seamed
  readonly driverOver?: Partial<Driver>
}

export interface SimulationResult {
  readonly seed: number
  readonly violations: readonly Violation[]
  /** `sometimes` properties that were reached. */
  readonly reached: ReadonlySet<string>
  readonly commits: number
  /** Steps of the world, up to the violation if there is one. */
  readonly steps: number
  readonly trace: readonly TraceEvent[]
  /** Equal for equal runs. */
  readonly digest: string
  /** The deviations from the default, by which the run can be repeated. */
  readonly made: readonly Deviation[]
  readonly topology: Topology
}

/** Runs one seed or schedule. Never throws for what the runtime does wrong: it says so. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const resources = options.resources ?? [volume, snapshot, backup]
  const inputs = options.inputs ?? (options.resources === undefined ? builtInInputs : {})
  const simulation = new Simulation(options, resources, await checkInputs(resources, inputs))
  return simulation.run()
}

/** No run needs longer to settle, in simulated time. */
const MOST_SETTLING_MS = 60_000
/** So long nothing may be left to do before a run is over. */
const CALM_MS = 1_500

class Simulation {
  readonly #options: SimulationOptions
  readonly #world: SimulatedWorld
  readonly #types: readonly ResourceType[]
  readonly #invariants: Invariants
  readonly #writers = new Writers()
  readonly #reached = new Set<string>()
  readonly #backend: SimulatedBackend
  readonly #storage: SimulatedStorage
  readonly #clients: Clients
  readonly #processes: readonly SimulatedProcess[]
  readonly #faults: Faults
  readonly #topology: Topology
  #mix: Mix
  #isFaulty = true
  #commits = 0

  constructor(
    options: SimulationOptions,
    types: readonly ResourceType[],
    inputs: Awaited<ReturnType<typeof checkInputs>>,
  ) {
    this.#options = options
    this.#types = types
    const { topology, mix, weigh }: Drawn = drawn(options.seed, options.topology, options.mix)
    this.#topology = topology
    this.#mix = mix
    this.#faults = new Faults(topology)
    const choices = new Choices(options.seed, options.schedule)
    this.#world = new SimulatedWorld(choices)
    this.#world.haste = mix
    const reached = (property: string) => void this.#reached.add(property)
    this.#invariants = new Invariants(types, options.invariants ?? [], reached)
    this.#backend = new SimulatedBackend(this.#invariants, reached)
    this.#storage = new SimulatedStorage({
      world: this.#world,
      invariants: this.#invariants,
      isDisk: topology.store === 'disk',
      seed: options.seed,
      failures: () => (this.#isFaulty ? this.#mix.disk : 0),
      see: (commit) => this.#see(commit),
      onReopened: () => this.#clients.check(),
    })
    const own = options.driver?.()
    this.#processes = topology.processes.map(
      (nodes, index) =>
        new SimulatedProcess({
          ...{ name: `p${index + 1}`, nodes, topology, types, reached },
          ...{ world: this.#world, storage: this.#storage, invariants: this.#invariants },
          ...{ writers: this.#writers, backend: this.#backend },
          ...{ own: own ?? null, driverOver: options.driverOver ?? {}, seamed: options.seamsFor ?? null },
          doorbells: () => (this.#isFaulty ? this.#mix.doorbell : 0),
          driverFaults: () => (this.#isFaulty ? this.#mix.driver : 0),
        }),
    )
    this.#clients = new Clients(this.#world, this.#invariants, types, inputs, weigh, topology.force)
  }

  async run(): Promise<SimulationResult> {
    await this.#storage.begin()
    for (const process of this.#processes) process.start()
    for (let step = 0; step < this.#options.steps && this.#holds(); step++) {
      this.#disturb()
      this.#clients.turn(this.#mix.ask, this.#processes)
      if (!(await this.#world.step())) break
    }
    if (this.#holds()) await this.#settle()
    const [violation] = this.#invariants.violations
    if (violation !== undefined)
      this.#world.trace.add({
        ...{ kind: 'violation', lane: 'store', invariant: violation.invariant, text: violation.message },
      })
    return {
      seed: this.#options.seed,
      violations: this.#invariants.violations,
      reached: this.#reached,
      commits: this.#commits,
      steps: this.#world.steps,
      trace: this.#world.trace.events,
      digest: this.#world.digest(),
      made: this.#world.choices.made,
      topology: this.#topology,
    }
  }

  #holds(): boolean {
    return this.#invariants.violations.length === 0
  }

  /** A commit is durable: who made it, and is all as it must be? */
  #see(commit: Parameters<Invariants['see']>[0]): void {
    this.#commits++
    const writer = this.#writers.of(commit)
    const befores = new Map<Key, StoredRow | undefined>()
    for (const { key } of commit.changes) befores.set(key, this.#invariants.all.get(key))
    this.#invariants.see(commit, writer)
    for (const { key, row } of commit.changes) {
      this.#world.note(`${key} ${row === null ? 'removed' : inShort(row)}`)
      if (row?.kind === 'beat' || row?.kind === 'request' || row?.kind === 'quota') continue
      this.#world.trace.add({
        kind: 'swap',
        lane: writer === null ? 'store' : laneOf(writer.actor, writer.process),
        text: '',
        key,
        before: inShort(befores.get(key) ?? null),
        after: inShort(row),
      })
    }
  }

  /** Once a step: maybe a fault. */
  #disturb(): void {
    const choice = this.#world.choices.of('fault', {
      count: 1 + this.#faults.list.length,
      rate: this.#faults.rate(this.#mix),
      draw: (random) => this.#faults.draw(this.#mix, random),
      say: (chosen) => inWords(this.#faults.at(chosen)),
    })
    if (choice > 0) this.#befall(this.#faults.at(choice))
  }

  #befall(fault: Fault): void {
    const world = this.#world
    const process = 'process' in fault && fault.process !== null ? this.#processes[fault.process]! : null
    const lane =
      fault.type === 'hold' || fault.type === 'node'
        ? `node ${fault.host}`
        : fault.type === 'full'
          ? 'store'
          : (process?.name ?? 'store')
    world.note(inWords(fault))
    if (process !== null && !process.place.alive) return
    world.trace.add({ kind: 'fault', lane, text: inWords(fault) })
    if (fault.type === 'kill') process!.kill(fault.back, fault.power)
    else if (fault.type === 'crash') process!.dieAt(fault.point, fault.back)
    else if (fault.type === 'pause') process!.pause(fault.ms)
    else if (fault.type === 'link')
      for (const one of process === null ? this.#processes : [process]) one.setLink(fault.link, fault.ms)
    else if (fault.type === 'lose') process!.lose(fault.answered)
    else if (fault.type === 'hold') process!.hold(fault.host, fault.ms)
    else if (fault.type === 'node') process!.node(fault.host, fault.what)
    else this.#storage.fill(fault.ms)
  }

  /** No more faults: every process is up and reaches the store, and everything must come to rest. */
  async #settle(): Promise<void> {
    const world = this.#world
    this.#isFaulty = false
    world.haste = { reorder: 0, delay: 0 }
    this.#storage.empty()
    this.#backend.recover()
    for (const process of this.#processes) process.recover()
    for (const process of this.#needed()) process.revive()
    world.trace.add({ kind: 'step', lane: 'store', text: 'no more faults' })
    const until = world.now + MOST_SETTLING_MS
    let calmSince = world.now
    let looked = 0
    while (world.now < until && this.#holds()) {
      if (!(await world.step())) break
      if (world.now - looked < 100) continue
      looked = world.now
      for (const process of this.#needed()) process.revive()
      this.#backend.recover()
      if (!this.#isCalm()) calmSince = world.now
      if (world.now - calmSince >= CALM_MS) break
    }
    if (!this.#holds()) return
    this.#invariants.checkSettled()
    for (const process of this.#needed())
      if (!process.isUp())
        this.#invariants.violated('all_at_rest', `a node of ${process.name} does not come up`)
    if (!this.#holds()) return
    if (this.#options.driver === undefined)
      this.#backend.checkAgrees(new Map(this.#types.map((type) => [type.kind, type])))
    this.#clients.check()
    if (this.#holds()) this.#clients.checkHistory()
  }

  /** Without those whose hosts run in another process: they may not start (rule R11). */
  #needed(): SimulatedProcess[] {
    const up = this.#processes.filter((process) => process.isUp())
    return this.#processes.filter(
      (process) =>
        !up.some((other) => other !== process && process.hosts.every((host) => other.hosts.includes(host))),
    )
  }

  #isCalm(): boolean {
    return (
      this.#invariants.isSettled() &&
      !this.#backend.isBusy() &&
      this.#needed().every((process) => process.isUp())
    )
  }
}

/** The lane of a diagram in which an actor of a process stands. */
export function laneOf(actor: string, process: string): string {
  return actor.includes('@') ? `node ${actor.slice(0, actor.indexOf('@'))}` : `${actor} ${process}`
}
