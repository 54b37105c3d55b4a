// One simulated process: a place, the shipped runtime in it while it lives, its way to the store, and what may
// befall it. The runtime is given an environment, a store, mailboxes and drivers, and knows of nothing else.

import type { ResourceType } from '../../../machines/definition.ts'
import type { ResourceRow } from '../../../machines/row.ts'
import type { Runtime } from '../../../runtime/api.ts'
import type { Driver } from '../../../runtime/driver.ts'
import type { Environment } from '../../../runtime/environment.ts'
import { Mailbox } from '../../../runtime/mailbox.ts'
import type { Seams } from '../../../runtime/options.ts'
import { createRuntime } from '../../../runtime/runtime.ts'
import { StoreError } from '../../../store/error.ts'
import type { Change, Commit, Key, Store, StoredRow, StoreSource } from '../../../store/store.ts'
import { type SimulatedBackend, SimulatedDriver } from './backend.ts'
import type { Invariants, Writer, Writers } from './invariants.ts'
import type { SimulatedStorage } from './storage.ts'
import type { NodeAt, Topology } from './topology.ts'
import { Place, type SimulatedWorld } from './world.ts'

/** What a sabotage of one life of a process may see. */
export interface SeamContext {
  readonly process: string
  /** The durable rows. */
  readonly rows: ReadonlyMap<Key, StoredRow>
  readonly environment: Environment
  /** Those of the process, as they are made. */
  readonly mailboxes: readonly Mailbox[]
  /** Hears of every doorbell before it is put. */
  readonly onDoorbell: (listener: (key: Key) => void) => void
}

export type Seamed = (context: SeamContext) => Seams

export interface ProcessParts {
  readonly name: string
  readonly nodes: readonly NodeAt[]
  readonly topology: Topology
  readonly types: readonly ResourceType[]
  readonly reached: (property: string) => void
  readonly world: SimulatedWorld
  readonly storage: SimulatedStorage
  readonly invariants: Invariants
  readonly writers: Writers
  readonly backend: SimulatedBackend
  /** The user's driver, which all nodes share as they share its backend; null for the generic one. */
  readonly own: Driver | null
  readonly driverOver: Partial<Driver>
  readonly seamed: Seamed | null
  readonly doorbells: () => number
  readonly driverFaults: () => number
}

const settings = {
  heartbeat_ms: 100,
  fence_after_ms: 300,
  down_after_ms: 800,
  sweep_ms: 50,
  abort_grace_ms: 100,
  operation_timeout_ms: 3_000,
  progress_ms: 100,
  restarts: 1_000,
} as const

const BACKEND = 'sim'

export class SimulatedProcess {
  readonly name: string
  place: Place
  runtime: Runtime | null = null
  readonly #parts: ProcessParts
  #link: { how: 'refuses' | 'hangs'; until: number } = { how: 'refuses', until: 0 }
  /** By `host@backend`, until when its store is silent. */
  readonly #held = new Map<string, number>()
  /** The crash point at which it dies. */
  #dying: { readonly point: 1 | 2 | 3; readonly back: number } | null = null
  /** Whoever hears that the store is lost to it, and whether that comes with the next answer. */
  #session: { lost: boolean; listeners: Set<(cause: unknown) => void> } = {
    lost: false,
    listeners: new Set(),
  }
  #losesAnswer = false
  /** Swaps of cleaners that are under way. */
  #cleaning = 0

  constructor(parts: ProcessParts) {
    this.#parts = parts
    this.name = parts.name
    this.place = new Place(parts.name)
    this.place.alive = false
  }

  get hosts(): readonly string[] {
    return this.#parts.nodes.map(({ host }) => host)
  }

  // ---- life and death ----

  start(): void {
    const { world, topology, types, nodes, invariants, seamed, reached } = this.#parts
    const place = new Place(this.name)
    this.place = place
    this.runtime = null
    this.#dying = null
    this.#losesAnswer = false
    world.trace.add({ kind: 'fault', lane: this.name, text: 'starts', lifeline: 'begins' })
    const environment = world.environment(place)
    const mailboxes: Mailbox[] = []
    const listeners: ((key: Key) => void)[] = []
    const seams =
      seamed?.({
        process: this.name,
        rows: invariants.all,
        environment,
        mailboxes,
        onDoorbell: (listener) => listeners.push(listener),
      }) ?? {}
    createRuntime(
      {
        store: this.#source(place),
        resources: types,
        nodes: nodes.map(({ host, cluster }) => ({
          ...{ cluster, backend: BACKEND, host },
          driver: { ...this.#driver(place, host), ...this.#parts.driverOver },
        })),
        settings: {
          ...settings,
          schedulers: topology.schedulers,
          mailbox: topology.mailbox,
          concurrency: topology.concurrency,
        },
        environment,
        log: ({ level, message, fields }) => {
          // How operations end is in the trace already.
          if (level === 'debug' || fields.status !== undefined) return
          world.note(message)
          if (message.includes('is over (fenced)')) reached('self_fenced')
          if (place.alive && !message.includes('put right'))
            world.trace.add({ kind: 'step', lane: this.name, text: message })
        },
      },
      {
        ...seams,
        storeFor: (actor, store) => {
          const mine = this.#storeFor(place, actor, store)
          return seams.storeFor?.(actor, mine) ?? mine
        },
        mailboxFor: (topic, capacity) => {
          const mailbox = new SimulatedMailbox(capacity, topic, {
            ...{ process: this, place, world, reached },
            rate: this.#parts.doorbells,
            heard: (key) => {
              for (const listener of listeners) listener(key)
            },
          })
          mailboxes.push(mailbox)
          return mailbox
        },
      },
    ).then(
      (runtime) => {
        if (this.place === place) this.runtime = runtime
      },
      (error: unknown) => {
        world.note(`${this.name} did not start: ${String(error)}`)
        if (this.place === place && place.alive) this.kill(500, false)
      },
    )
  }

  kill(back: number, power: boolean): void {
    const { world, storage } = this.#parts
    if (!this.place.alive) return
    for (const { host } of this.#parts.nodes) this.#noteDeath(host)
    if (this.#cleaning > 0) this.#parts.reached('cleaner_crashed')
    this.#cleaning = 0
    world.kill(this.place)
    world.trace.add({ kind: 'fault', lane: this.name, text: 'dies', lifeline: 'ends' })
    storage.kill(power)
    this.runtime = null
    const ended = this.place
    world.later(back, `${this.name} is started again`, () => {
      if (this.place === ended) this.start()
    })
  }

  /** What its death falls into, for the `sometimes` properties. */
  #noteDeath(host: string): void {
    const { invariants, backend, reached, nodes } = this.#parts
    const address = `${host}@${BACKEND}`
    const topic = `${nodes.find((node) => node.host === host)!.cluster}@${BACKEND}`
    for (const row of invariants.rows.values()) {
      if (row.operation === null) continue
      if (row.incarnation === null) {
        if (row.worker === topic) reached('crash_before_claim')
      } else if (row.worker === address && invariants.isUp(address, row.incarnation))
        reached(
          backend.thing(row).fence === row.fence ? 'crash_after_effect_before_finish' : 'crash_after_claim',
        )
    }
  }

  dieAt(point: 1 | 2 | 3, back: number): void {
    this.#dying = { point, back }
  }

  /** True where it has just died at this crash point. */
  dies(place: Place, point: 1 | 2 | 3): boolean {
    if (place !== this.place || this.#dying?.point !== point) return false
    const { back } = this.#dying
    this.#dying = null
    this.#parts.world.trace.add({ kind: 'fault', lane: this.name, text: `crash point ${point}` })
    this.kill(back, false)
    return true
  }

  pause(ms: number): void {
    this.place.pausedUntil = Math.max(this.place.pausedUntil, this.#parts.world.now + ms)
  }

  setLink(how: 'refuses' | 'hangs', ms: number): void {
    const { now } = this.#parts.world
    // One trouble at a time: the next one may not end it.
    if (this.#link.until <= now) this.#link = { how, until: now + ms }
  }

  hold(host: string, ms: number): void {
    this.#held.set(`${host}@${BACKEND}`, this.#parts.world.now + ms)
  }

  lose(withAnswer: boolean): void {
    if (withAnswer) this.#losesAnswer = true
    else this.#lost()
  }

  #lost(): void {
    this.#losesAnswer = false
    if (this.#session.lost) return
    this.#session.lost = true
    for (const listener of this.#session.listeners)
      listener(new StoreError('store_lost', 'the connection was lost'))
  }

  node(host: string, what: 'kill' | 'drain' | 'start'): void {
    if (this.runtime === null || this.place.pausedUntil > this.#parts.world.now) return
    if (what === 'kill') this.#noteDeath(host)
    try {
      this.runtime.node(host)[what]()
    } catch {
      // It does not run, or it does already.
    }
  }

  /** Faults have stopped. */
  recover(): void {
    this.place.pausedUntil = 0
    this.#link = { how: 'refuses', until: 0 }
    this.#held.clear()
    this.#dying = null
    this.#losesAnswer = false
  }

  /** Whatever was stopped is started; of nodes that an administrator stopped, those that are needed. */
  revive(): void {
    if (!this.place.alive) this.start()
    else for (const node of this.#parts.nodes) if (this.#isMissing(node)) this.node(node.host, 'start')
  }

  isUp(): boolean {
    return this.runtime !== null && !this.#parts.nodes.some((node) => this.#isMissing(node))
  }

  /** What a client can ask; null where nobody answers. */
  get answering(): Runtime | null {
    return this.place.pausedUntil > this.#parts.world.now ? null : this.runtime
  }

  /** Not up, though its cluster needs it: one node of each is enough where not all come back. */
  #isMissing({ host, cluster }: NodeAt): boolean {
    if (this.#isNodeUp(host)) return false
    if (this.#parts.topology.returns === 'all') return true
    for (const service of this.#parts.invariants.services.values()) {
      if (service.cluster !== cluster || service.state !== 'up') continue
      // It is up and drained: it goes on.
      return service.host === host
    }
    return true
  }

  #isNodeUp(host: string): boolean {
    for (const service of this.#parts.invariants.services.values())
      if (service.host === host && service.state === 'up')
        return this.runtime === null || this.#stateOf(host) === 'up'
    return false
  }

  #stateOf(host: string): string | undefined {
    try {
      return this.runtime!.nodes().find((node) => node.host === host)?.here?.state
    } catch {
      return undefined
    }
  }

  #driver(place: Place, host: string): Driver {
    const { world, backend, topology, own, types, driverFaults } = this.#parts
    const fences = own === null ? topology.fences : own.fence !== undefined
    const driver = new SimulatedDriver(world, place, host, backend, {
      traits: { fences, undoes: topology.undoes },
      rate: driverFaults,
      mayBeDeaf: topology.deaf && (fences || own === null),
    })
    return own === null ? driver.generic(types) : driver.wrapped(own)
  }

  // ---- the way to the store ----

  #source(place: Place): StoreSource {
    const inner = this.#parts.storage.sourceFor(place)
    const { world } = this.#parts
    return {
      name: 'simulated',
      open: async () => {
        await world.hop(place, `${this.name} open`, 'open')
        if (this.#link.until > world.now) throw new StoreError('store_unusable', 'the store does not answer')
        const store = await inner.open()
        const session = { lost: false, listeners: new Set<(cause: unknown) => void>() }
        this.#session = session
        const check = () => {
          if (session.lost) throw new StoreError('store_lost', 'the connection was lost')
        }
        return {
          exclusive: store.exclusive,
          get: async (key) => {
            check()
            return store.get(key)
          },
          list: async (filter, page) => {
            check()
            return store.list(filter, page)
          },
          count: async (filter) => {
            check()
            return store.count(filter)
          },
          transact: async (expect, changes) => {
            check()
            return store.transact(expect, changes)
          },
          offset: () => store.offset(),
          watch: (from, listener) =>
            store.watch(
              from,
              this.#heard(place, (commit) => !session.lost && listener(commit)),
            ),
          onLost: (listener) => {
            session.listeners.add(listener)
            store.onLost(listener)
          },
          close: () => store.close(),
        }
      },
    }
  }

  /** A process that is stopped or cut off hears what others commit only afterwards, in order. */
  #heard(place: Place, listener: (commit: Commit) => void): (commit: Commit) => void {
    const { world, topology } = this.#parts
    const late: Commit[] = []
    const deafUntil = () => {
      const isCutOff = this.#link.how === 'hangs' && topology.cut_off
      return Math.max(place.pausedUntil, isCutOff ? this.#link.until : 0)
    }
    const goOn = async () => {
      while (deafUntil() > world.now) await world.wait(place, 'hears', deafUntil() - world.now)
      for (const commit of late.splice(0)) listener(commit)
    }
    return (commit) => {
      if (!place.alive) return
      if (late.length === 0 && deafUntil() <= world.now) listener(commit)
      else if (late.push(commit) === 1) void goOn()
    }
  }

  /** The store as one actor reaches it: its calls go there and come back as steps of the world. */
  #storeFor(place: Place, actor: string, store: Store): Store {
    const isNode = actor.includes('@')
    const who = isNode ? actor.slice(0, actor.indexOf('@')) : `${this.name} ${actor}`
    const writer: { process: string; actor: string; incarnation: number | null } = {
      ...{ process: this.name, actor, incarnation: null },
    }
    return {
      exclusive: store.exclusive,
      get: (key) => store.get(key),
      // A cleaner's list and its swaps are the race that matters; other reads are as fast as memory.
      list: async (filter, page) => {
        if (filter.taken !== true) return store.list(filter, page)
        await this.#reach(place, actor, `${who} list`)
        const found = await store.list(filter, page)
        await this.#answered(place, actor, `${who} list`)
        return found
      },
      count: (filter) => store.count(filter),
      transact: (expect, changes) => this.#transact(place, who, writer, store, expect, changes),
      offset: () => store.offset(),
      watch: (from, listener) => store.watch(from, listener),
      onLost: (listener) => store.onLost(listener),
      close: () => store.close(),
    }
  }

  async #transact(
    place: Place,
    who: string,
    writer: { process: string; actor: string; incarnation: number | null },
    store: Store,
    expect: Parameters<Store['transact']>[0],
    changes: readonly Change[],
  ): Promise<Awaited<ReturnType<Store['transact']>>> {
    const rows = changes.flatMap((change) => ('put' in change ? [change.put] : []))
    const isBeat = rows[0]?.kind === 'beat'
    const what = isBeat ? 'beat' : this.#whatOf(writer, rows)
    const isCommit = !isBeat && rows.some((row) => 'fence' in row)
    const name = `${who} ${isBeat ? 'beat' : 'swap'}`
    if (what === 'cleanup') this.#cleaning++
    try {
      await this.#reach(place, writer.actor, name)
      if (isCommit && this.dies(place, 1)) return await never()
      for (const { kind, state, incarnation } of rows)
        if (kind === 'service' && state === 'starting') writer.incarnation = incarnation as number
      this.#parts.writers.asks(rows, { ...writer })
      const result = await store.transact(expect, changes)
      if (isCommit && result.ok && this.dies(place, 2)) return await never()
      if (!result.ok) this.#noteConflict(what)
      if (this.#losesAnswer) this.#lost()
      if (this.#session.lost) throw new StoreError('store_lost', 'the answer was lost')
      await this.#answered(place, writer.actor, name)
      return result
    } finally {
      if (what === 'cleanup' && this.place === place) this.#cleaning = Math.max(0, this.#cleaning - 1)
    }
  }

  #noteConflict(what: string): void {
    const { reached } = this.#parts
    if (what === 'claim') reached('claim_lost')
    else if (what === 'cleanup') reached('cleanup_lost')
    else if (what === 'finish') reached('zombie_refused')
  }

  /** What a node or cleaner is about to do to a row. */
  #whatOf({ actor }: Writer, rows: readonly StoredRow[]): string {
    for (const row of rows as unknown as readonly ResourceRow[]) {
      if (row.fence === undefined) continue
      const before = this.#parts.invariants.rows.get(`${row.kind}/${row.id}`)
      if (before === undefined || actor === 'api') return 'accept'
      if (row.incarnation !== null && row.fence > before.fence) return 'claim'
      if (row.incarnation !== null) return before.fence === row.fence ? 'progress' : 'claim'
      if (actor.startsWith('scheduler')) return 'cleanup'
      if (before.worker !== actor || before.fence > row.fence) return 'finish'
      return before.fence < row.fence ? 'cleanup' : 'own finish'
    }
    return 'other'
  }

  /** On the way there. */
  async #reach(place: Place, actor: string, name: string): Promise<void> {
    const { world } = this.#parts
    await world.hop(place, name, name)
    for (;;) {
      const { how, until } = this.#link
      const silentUntil = Math.max(how === 'hangs' ? until : 0, this.#held.get(actor) ?? 0)
      if (until > world.now && how === 'refuses')
        throw new StoreError('store_refused', 'the store takes no writes')
      if (silentUntil <= world.now) return
      await world.wait(place, `${name} hangs`, silentUntil - world.now)
    }
  }

  /** A kill from here on: durable, and nobody was told. */
  async #answered(place: Place, actor: string, name: string): Promise<void> {
    const { world } = this.#parts
    if (!name.endsWith('beat')) await world.hop(place, `${name} answer`, `${name} answered`)
    for (;;) {
      const silentUntil = Math.max(
        this.#link.how === 'hangs' ? this.#link.until : 0,
        this.#held.get(actor) ?? 0,
      )
      if (silentUntil <= world.now) return
      await world.wait(place, `${name} answer hangs`, silentUntil - world.now)
    }
  }
}

const never = (): Promise<never> => new Promise(() => {})

interface MailboxParts {
  readonly process: SimulatedProcess
  readonly place: Place
  readonly world: SimulatedWorld
  readonly reached: (property: string) => void
  readonly rate: () => number
  readonly heard: (key: Key) => void
}

const doorbells = ['in order', 'lost', 'doubled', 'late'] as const

/** A mailbox whose doorbells are lost, doubled and late. */
class SimulatedMailbox extends Mailbox {
  readonly #topic: string
  readonly #parts: MailboxParts

  constructor(capacity: number, topic: string, parts: MailboxParts) {
    super(capacity)
    this.#topic = topic
    this.#parts = parts
  }

  override put(key: Key): void {
    const { process, place, world, reached, rate, heard } = this.#parts
    if (!place.alive || process.dies(place, 3)) return
    heard(key)
    const fate =
      doorbells[
        world.choices.of(`doorbell ${process.name}`, {
          count: doorbells.length,
          rate: rate(),
          say: (choice) => doorbells[choice]!,
        })
      ]!
    if (fate !== 'in order')
      world.trace.add({
        ...{ kind: 'fault', lane: process.name, text: `a doorbell of ${key} at ${this.#topic} is ${fate}` },
      })
    if (fate === 'lost') reached('doorbell_dropped')
    if (fate === 'in order' || fate === 'doubled') this.#ring(key)
    if (fate === 'doubled' || fate === 'late')
      void world.wait(place, 'doorbell', 60).then(() => this.#ring(key))
  }

  #ring(key: Key): void {
    const { dropped } = this
    super.put(key)
    if (this.dropped > dropped) this.#parts.reached('doorbell_dropped')
  }
}
