// A rig for faults: a backend whose calls a test holds in its hand, a store that can be lost, refused,
// gated or frozen, and a ledger that sees every commit with the actor that made it and judges the
// protocol's invariants. It plays any number of processes on one store, in virtual time.

import { backup, snapshot, volume } from '../../machines/index.ts'
import type { BeatRow, JsonObject, ResourceRow, ServiceRow } from '../../machines/row.ts'
import type { Runtime, SettledOf } from '../../runtime/api.ts'
import type { Driver, DriverContext } from '../../runtime/driver.ts'
import type { NodeConfig } from '../../runtime/node.ts'
import type { Seams } from '../../runtime/options.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import type { Settings } from '../../runtime/settings.ts'
import { memoryStore, StoreError } from '../../store/index.ts'
import {
  type Change,
  type Commit,
  type Expectation,
  type Filter,
  type Key,
  keyOf,
  type Store,
  type StoredRow,
  type StoreSource,
} from '../../store/store.ts'
import { VirtualEnvironment } from './virtual_environment.ts'

// ---- the backend ----

/** One call of a driver's method, in the test's hand. */
export interface BackendCall {
  readonly host: string
  readonly key: Key
  /** `undo` for a cleanup. */
  readonly operation: string
  readonly fence: number
  readonly context: DriverContext
  readonly began_at: number
  aborted_at: number | null
  settled_at: number | null
  /** What a held call waits for. */
  readonly gate: Promise<JsonObject | undefined>
  finish(changes?: JsonObject): void
  fail(error: unknown): void
}

export interface DriverShape {
  /** The driver raises a mark that refuses older fences. */
  readonly fences?: boolean
  readonly undoes?: boolean
  /** More or other members. */
  readonly over?: Partial<Driver>
}

export class Backend {
  readonly calls: BackendCall[] = []
  readonly marks = new Map<Key, number>()
  readonly violations: Violation[] = []
  /** What a call does; without an answer it is done at once. */
  behave: (call: BackendCall) => unknown = () => undefined
  readonly #environment: VirtualEnvironment

  constructor(environment: VirtualEnvironment) {
    this.#environment = environment
  }

  /** From now on every call waits for the test; an abort ends it as it should. */
  hold(): void {
    this.behave = (call) => orAborted(call)
  }

  /** From now on every call waits for the test, and an abort does not reach it. */
  holdDeaf(): void {
    this.behave = (call) => call.gate
  }

  of(key: Key): BackendCall[] {
    return this.calls.filter((call) => call.key === key)
  }

  running(): BackendCall[] {
    return this.calls.filter((call) => call.settled_at === null)
  }

  driver(host: string, shape: DriverShape = {}): Driver {
    const methods = (...names: string[]) =>
      Object.fromEntries(
        names.map((name) => [name, (context: DriverContext) => this.#run(host, name, context)]),
      )
    return {
      operations: {
        volume: methods('create', 'extend', 'delete', 'force_delete'),
        snapshot: methods('create', 'delete'),
        backup: methods('create', 'restore', 'delete', 'force_delete'),
      },
      ...(shape.fences
        ? {
            fence: async (row: ResourceRow, fence: number) => {
              this.marks.set(keyOf(row), Math.max(fence, this.marks.get(keyOf(row)) ?? 0))
            },
          }
        : {}),
      ...(shape.undoes ? { undo: (context: DriverContext) => this.#run(host, 'undo', context) } : {}),
      ...shape.over,
    } as Driver
  }

  #run(host: string, operation: string, context: DriverContext): Promise<JsonObject | undefined> {
    let finish: (changes?: JsonObject) => void = () => {}
    let fail: (error: unknown) => void = () => {}
    const gate = new Promise<JsonObject | undefined>((resolve, reject) => {
      finish = resolve
      fail = reject
    })
    gate.catch(() => {})
    const call: BackendCall = {
      host,
      key: keyOf(context.row),
      operation,
      fence: context.fence,
      context,
      began_at: this.#environment.monotonic(),
      aborted_at: null,
      settled_at: null,
      gate,
      finish,
      fail,
    }
    context.signal.addEventListener('abort', () => {
      call.aborted_at = this.#environment.monotonic()
    })
    for (const other of this.of(call.key))
      if (other.settled_at === null && !this.isFencedOff(other))
        this.violations.push({
          invariant: 'one_worker',
          message: `${host} begins ${operation} of ${call.key} (fence ${call.fence}) while ${other.host} runs ${other.operation} (fence ${other.fence})`,
        })
    this.calls.push(call)
    const settled = () => {
      call.settled_at = this.#environment.monotonic()
    }
    const work = (async () => this.behave(call) as JsonObject | undefined)()
    work.then(settled, settled)
    return work
  }

  /** The backend refuses what this call still does. */
  isFencedOff(call: BackendCall): boolean {
    return (this.marks.get(call.key) ?? 0) > call.fence
  }
}

/** The call's gate, or its abort, whichever comes first. */
export function orAborted(call: BackendCall): Promise<JsonObject | undefined> {
  const { signal } = call.context
  return Promise.race([
    call.gate,
    new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason))
    }),
  ])
}

// ---- the store ----

/** A source that can be lost, refused and frozen. Its stores share one fate, as stores on one disk do. */
export class FaultySource implements StoreSource {
  readonly name = 'faulty memory'
  readonly #inner: StoreSource
  readonly #lost = new Set<(cause: unknown) => void>()
  #refusal: string | null = null
  #gone: string | null = null

  constructor(inner: StoreSource) {
    this.#inner = inner
  }

  /** The disk is gone: calls reject, listeners hear of it, opening fails until `back`. */
  lose(cause: string): void {
    this.#gone = cause
    const listeners = [...this.#lost]
    this.#lost.clear()
    for (const listener of listeners) listener(new StoreError('store_lost', cause))
  }

  back(): void {
    this.#gone = null
    this.#refusal = null
  }

  /** Writes are refused, reads go on: a full or read-only disk. */
  refuse(cause: string): void {
    this.#refusal = cause
  }

  async open(): Promise<Store> {
    if (this.#gone !== null) throw new StoreError('store_unusable', this.#gone)
    const inner = await this.#inner.open()
    const session = { over: false }
    const check = () => {
      if (this.#gone !== null) session.over = true
      if (session.over) throw new StoreError('store_lost', this.#gone ?? 'the store was lost')
    }
    const store = overlay(inner, {
      get: async (key) => {
        check()
        return inner.get(key)
      },
      list: async (filter, page) => {
        check()
        return inner.list(filter, page)
      },
      count: async (filter) => {
        check()
        return inner.count(filter)
      },
      transact: async (expect, changes) => {
        check()
        if (this.#refusal !== null) throw new StoreError('store_refused', this.#refusal)
        return inner.transact(expect, changes)
      },
      onLost: (listener) => {
        this.#lost.add((cause) => {
          session.over = true
          listener(cause)
        })
        inner.onLost(listener)
      },
    })
    return store
  }
}

/** A store with some of its methods replaced; `this` stays right for the others. */
export function overlay(inner: Store, over: Partial<Store>): Store {
  return {
    exclusive: over.exclusive ?? inner.exclusive,
    get: over.get ?? ((key) => inner.get(key)),
    list: over.list ?? ((filter, page) => inner.list(filter, page)),
    count: over.count ?? ((filter) => inner.count(filter)),
    transact: over.transact ?? ((expect, changes) => inner.transact(expect, changes)),
    offset: over.offset ?? (() => inner.offset()),
    watch: over.watch ?? ((from, listener) => inner.watch(from, listener)),
    onLost: over.onLost ?? ((listener) => inner.onLost(listener)),
    close: over.close ?? (() => inner.close()),
  }
}

/** A door that lets pass until it is shut; what came meanwhile goes on when it opens. */
export class Gate {
  #shut: Promise<void> | null = null
  #open: () => void = () => {}
  /** How many wait at it. */
  waiting = 0

  get isShut(): boolean {
    return this.#shut !== null
  }

  shut(): void {
    this.#shut ??= new Promise((resolve) => {
      this.#open = resolve
    })
  }

  open(): void {
    this.#shut = null
    this.#open()
  }

  async pass(): Promise<void> {
    if (this.#shut === null) return
    this.waiting++
    await this.#shut
    this.waiting--
  }
}

/** Heartbeats pass through the gate; everything else goes by. */
export function beatsThrough(gate: Gate, store: Store): Store {
  return overlay(store, {
    transact: async (expect, changes) => {
      if (changes.some((change) => 'put' in change && change.put.kind === 'beat')) await gate.pass()
      return store.transact(expect, changes)
    },
  })
}

/** The wrapper for one actor only. */
export function only(actors: string | RegExp, wrap: (store: Store) => Store): NonNullable<Seams['storeFor']> {
  return (actor, store) =>
    (typeof actors === 'string' ? actor === actors : actors.test(actor)) ? wrap(store) : store
}

export function chain(...seams: NonNullable<Seams['storeFor']>[]): NonNullable<Seams['storeFor']> {
  return (actor, store) => seams.reduce((inner, wrap) => wrap(actor, inner), store)
}

// ---- the ledger ----

/** A broken invariant of the protocol, by its name. */
export interface Violation {
  readonly invariant: string
  readonly message: string
}

interface Life {
  readonly actor: string
  readonly process: string
  incarnation: number | null
}

export interface Entry {
  readonly offset: number
  readonly at: number
  readonly life: Life | null
  readonly key: Key
  readonly before: StoredRow | null
  readonly after: StoredRow | null
}

/** Every commit in order, with who made it. */
export class Ledger {
  readonly #commits = new Map<number, { commit: Commit; at: number }>()
  readonly #by = new Map<number, Life>()
  readonly #environment: VirtualEnvironment
  /** Rows as of the last commit seen. */
  readonly rows = new Map<Key, StoredRow>()

  constructor(environment: VirtualEnvironment) {
    this.#environment = environment
  }

  source(inner: StoreSource): StoreSource {
    return {
      name: inner.name,
      open: async () => {
        const store = await inner.open()
        store.watch(store.offset(), (commit) => {
          if (this.#commits.has(commit.offset)) return
          this.#commits.set(commit.offset, { commit, at: this.#environment.monotonic() })
          for (const { key, row } of commit.changes)
            if (row === null) this.rows.delete(key)
            else this.rows.set(key, row)
        })
        return store
      },
    }
  }

  /** The seam that notes who commits; a life of a node is told by the incarnation that it registers. */
  storeFor(process: string): NonNullable<Seams['storeFor']> {
    return (actor, store) => {
      const life: Life = { actor, process, incarnation: null }
      return overlay(store, {
        transact: async (expect, changes) => {
          const result = await store.transact(expect, changes)
          if (result.ok) {
            if (changes.length > 0) this.#by.set(result.offset, life)
            for (const change of changes)
              if ('put' in change && change.put.kind === 'service' && change.put.state === 'starting')
                life.incarnation ??= change.put.incarnation as number
          }
          return result
        },
      })
    }
  }

  entries(): Entry[] {
    const shadow = new Map<Key, StoredRow>()
    const entries: Entry[] = []
    for (const offset of [...this.#commits.keys()].sort((a, b) => a - b)) {
      const { commit, at } = this.#commits.get(offset)!
      const life = this.#by.get(offset) ?? null
      for (const { key, row } of commit.changes) {
        entries.push({ offset, at, life, key, before: shadow.get(key) ?? null, after: row })
        if (row === null) shadow.delete(key)
        else shadow.set(key, row)
      }
    }
    return entries
  }

  of(key: Key): Entry[] {
    return this.entries().filter((entry) => entry.key === key)
  }

  resources(): ResourceRow[] {
    return ([...this.rows.values()] as unknown as ResourceRow[]).filter(isResource)
  }

  service(address: string): ServiceRow | undefined {
    return [...this.rows.values()].find((row) => isServiceOf(row, address)) as ServiceRow | undefined
  }

  beat(address: string): BeatRow | undefined {
    const service = this.service(address)
    return service && (this.rows.get(`beat/${service.id}`) as BeatRow | undefined)
  }

  /** What the protocol says must always hold, over every commit. */
  violations(): Violation[] {
    const found: Violation[] = []
    const services = new Map<string, ServiceRow>()
    const claims = new Map<Key, number>()
    for (const { offset, life, key, before, after } of this.entries()) {
      const say = (invariant: string, what: string) =>
        found.push({ invariant, message: `${key} at ${offset} by ${life?.actor ?? '?'}: ${what}` })
      if (after !== null && before !== null && after.version !== before.version + 1)
        say('version_grows', `version ${before.version} to ${after.version}`)
      if (after?.kind === 'service') {
        const service = after as unknown as ServiceRow
        services.set(`${service.host}@${service.backend}`, service)
      }
      if (after === null || !isResource(after)) continue
      judge(say, services, life, before as ResourceRow | null, after)
      const previous = claims.get(key)
      const isClaim =
        after.incarnation !== null &&
        (before === null || (before as unknown as ResourceRow).incarnation === null)
      if (isClaim && previous !== undefined && after.fence <= previous)
        say('fence_grows', `claimed with fence ${after.fence} after ${previous}`)
      if (isClaim) claims.set(key, after.fence)
    }
    return found
  }

  /** What must hold once faults have stopped. */
  unrested(): Violation[] {
    const found: Violation[] = []
    for (const row of this.resources())
      if (row.operation !== null || row.held_by !== null)
        found.push({
          invariant: 'all_at_rest',
          message: `${keyOf(row)} is still ${row.status} (worker ${row.worker}, incarnation ${row.incarnation})`,
        })
    for (const row of this.rows.values())
      if (row.kind === 'service' && row.state === 'down' && row.cleaned_incarnation !== row.incarnation)
        found.push({ invariant: 'all_at_rest', message: `${row.id} is down and not cleanup_done` })
    return found
  }
}

function judge(
  say: (invariant: string, what: string) => void,
  services: ReadonlyMap<string, ServiceRow>,
  life: Life | null,
  before: ResourceRow | null,
  after: ResourceRow,
): void {
  const busy = after.operation !== null || after.held_by !== null
  if (busy !== (after.worker !== null || after.held_by !== null) || (!busy && after.incarnation !== null))
    say('rest_has_no_worker', `${after.status}, worker ${after.worker}, incarnation ${after.incarnation}`)
  if (before === null || life === null) return
  if (after.fence < before.fence) say('fence_grows', `fence ${before.fence} to ${after.fence}`)
  const name = before.operation?.name
  const accepted = before.operation?.accepted_version
  // Two accepts of one version are two operations: that is what rule R7 is about.
  const sameOperation = accepted === after.operation?.accepted_version && name === after.operation?.name
  if (sameOperation && before.incarnation === after.incarnation && before.worker === after.worker) return
  // Rows that only take part are judged by the row that has the operation.
  if (before.operation === null && after.operation === null && before.held_by !== after.held_by) return
  if (life.actor === 'api') {
    const isForce = /^(force_delete|reset_status)$/.test(after.operation?.name ?? 'reset_status')
    if (before.operation !== null && after.operation !== null && !sameOperation && !isForce)
      say('accept_at_rest', `${after.operation.name} accepted while ${name} was in it`)
    return
  }
  const service = before.worker === null ? undefined : services.get(before.worker)
  const isOver =
    before.incarnation !== null &&
    service !== undefined &&
    (service.incarnation > before.incarnation ||
      (service.incarnation === before.incarnation && service.state === 'down'))
  if (before.incarnation === null) {
    const isClaim = after.incarnation !== null && after.worker === life.actor
    const isMine = isClaim && sameOperation && after.incarnation === life.incarnation
    if (before.operation === null) say('finish_by_owner', `wrote ${after.status} over a row at rest`)
    else if (!isMine && after.incarnation === null)
      say('cleaned_only_if_gone', `took ${name}, which no node had claimed, to ${after.status}`)
    else if (!isMine) say('op_matches_row', `claimed ${after.operation?.name}; the row asked for ${name}`)
    return
  }
  if (life.actor.startsWith('scheduler')) {
    if (!isOver)
      say(
        'cleaned_only_if_gone',
        `cleaned a claim of ${before.worker} life ${before.incarnation}, which is not over`,
      )
    return
  }
  const isOwn = before.worker === life.actor && before.incarnation === life.incarnation
  if (after.incarnation !== null && !sameOperation)
    say('op_matches_row', `claimed ${after.operation?.name}; the row has ${name}`)
  else if (after.incarnation !== null)
    say('one_worker', `claimed by ${after.worker} while ${before.worker} has it`)
  else if (isOwn) {
    if (isOver) say('finish_by_owner', `life ${before.incarnation} finished after it was declared down`)
  } else if (before.worker === life.actor && before.incarnation < (life.incarnation ?? 0)) return
  else
    say(
      'finish_by_owner',
      `${life.actor} life ${life.incarnation} ended a claim of ${before.worker} life ${before.incarnation}`,
    )
}

function isResource(row: StoredRow | ResourceRow): row is ResourceRow {
  return 'fence' in row && 'children' in row
}

function isServiceOf(row: StoredRow, address: string): boolean {
  return row.kind === 'service' && `${row.host}@${row.backend}` === address
}

// ---- the rig ----

export const standardTypes = [volume, snapshot, backup] as const

export interface RigOptions {
  /** Several processes on one store. */
  readonly shared?: boolean
  readonly source?: StoreSource
}

export interface ProcessOptions {
  readonly name?: string
  /** Hosts of the cluster `ssd`, or whole nodes. */
  readonly nodes?: readonly (string | NodeConfig)[]
  readonly cluster?: string
  readonly driver?: DriverShape
  readonly settings?: Partial<Settings>
  readonly seams?: Seams
  readonly types?: typeof standardTypes
  /** Another source for this process alone. */
  readonly source?: StoreSource
}

type Doors = Awaited<ReturnType<typeof createRuntime<typeof standardTypes>>>

export class FaultRig {
  readonly environment = new VirtualEnvironment()
  readonly backend = new Backend(this.environment)
  readonly ledger = new Ledger(this.environment)
  readonly faults: FaultySource
  readonly source: StoreSource
  readonly logs: string[] = []
  readonly #running: Runtime[] = []

  constructor(options: RigOptions = {}) {
    this.faults = new FaultySource(options.source ?? memoryStore({ exclusive: options.shared !== true }))
    this.source = this.ledger.source(this.faults)
  }

  /** Starts a process; resolves when its nodes are up. */
  async start(options: ProcessOptions = {}): Promise<Doors> {
    const { name = 'p1', nodes = ['h1', 'h2'], cluster = 'ssd', driver, settings, seams = {} } = options
    const starting = createRuntime(
      {
        store: options.source ?? this.source,
        resources: options.types ?? standardTypes,
        nodes: nodes.map((node) =>
          typeof node === 'string'
            ? { cluster, backend: 'file', host: node, driver: this.backend.driver(node, driver) }
            : node,
        ),
        environment: this.environment,
        log: ({ level, message }) => {
          if (level !== 'debug') this.logs.push(`${this.environment.monotonic()} ${name} ${message}`)
        },
        ...(settings === undefined ? {} : { settings }),
      },
      {
        ...seams,
        storeFor: seams.storeFor
          ? chain(seams.storeFor, this.ledger.storeFor(name))
          : this.ledger.storeFor(name),
      },
    )
    const runtime = await this.environment.until(starting, 120_000)
    this.#running.push(runtime)
    return runtime as Doors
  }

  advance(ms: number): Promise<void> {
    return this.environment.advance(ms)
  }

  until<T>(promise: Promise<T>, within_ms?: number): Promise<T> {
    return this.environment.until(promise, within_ms)
  }

  /** Moves time on until it is so; fails after `within_ms`. */
  async untilSo(so: () => boolean, within_ms = 60_000, what = 'it'): Promise<void> {
    for (let passed = 0; !so(); passed += 50) {
      if (passed > within_ms) throw new Error(`${what} is not so within ${within_ms} ms`)
      await this.environment.advance(50)
    }
  }

  /** A volume at rest, made. */
  async volume(runtime: Doors, name = 'v'): Promise<string> {
    const { behave } = this.backend
    this.backend.behave = () => undefined
    const made = accepted(await this.until(runtime.volume.create({ name, size: 1 })))
    await this.until(made.settled())
    this.backend.behave = behave
    return made.id
  }

  /** Everything that must hold; with `rested`, also that everything came to rest. */
  violations(options: { readonly rested?: boolean } = {}): Violation[] {
    const rested = options.rested ?? true
    return [
      ...this.backend.violations,
      ...this.ledger.violations(),
      ...(rested ? this.ledger.unrested() : []),
    ]
  }

  async stop(): Promise<void> {
    for (const call of this.backend.running()) call.finish()
    for (const runtime of this.#running) await this.until(runtime.stop({ within_ms: 0 })).catch(() => {})
  }
}

type Accepted<A> = Extract<A, { readonly ok: true }>

/** The acceptance, or the refusal thrown. */
export function accepted<A extends { readonly ok: boolean }>(answer: A): Accepted<A> {
  if (!answer.ok) throw new Error((answer as unknown as { message: string }).message)
  return answer as Accepted<A>
}

/** How an operation ended, in a word. */
export function endOf(settled: SettledOf<{ status: string }>): string {
  return settled.ok ? settled.row.status : `${settled.row.status}: ${settled.error.code}`
}

export type { Change, Expectation, Filter }
