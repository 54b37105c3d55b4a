// A test's world: one store, one virtual time, any number of processes on it, and a driver whose calls the
// test settles. A process can be crashed (nothing of it goes on), and each actor's store made to fail.
// Nothing here decides anything about the protocol, and nothing sleeps.

import assert from 'node:assert/strict'
import { backup, type ResourceRow, type ResourceType, snapshot, volume } from '../../machines/index.ts'
import type { Capabilities, ClusterRow, JsonObject, ServiceRow } from '../../machines/row.ts'
import type { Answer, Runtime } from '../../runtime/api.ts'
import type { Doors } from '../../runtime/doors.ts'
import type { Driver, DriverContext, DriverMethod } from '../../runtime/driver.ts'
import type { Environment } from '../../runtime/environment.ts'
import type { LogEntry } from '../../runtime/log.ts'
import type { NodeConfig } from '../../runtime/node.ts'
import type { Seams } from '../../runtime/options.ts'
import type { PlacementOptions } from '../../runtime/placement_options.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import type { Settings } from '../../runtime/settings.ts'
import { StoreError } from '../../store/error.ts'
import { memoryStore } from '../../store/index.ts'
import type { Change, Filter, Store, StoredRow, StoreSource } from '../../store/store.ts'
import { VirtualEnvironment } from './virtual_environment.ts'

/** Every suite also runs with cluster = host, where queued and taken have the same text (rule R17). */
export const clusterings = [
  { clustering: 'in a cluster with a name of its own', cluster: 'ssd' },
  { clustering: 'in a cluster named as its first host', cluster: 'h1' },
] as const

export const builtIns = [volume, snapshot, backup] as const
export type BuiltIns = typeof builtIns

/** A call of a driver's method, as the test sees it. */
export interface DriverCall {
  readonly context: DriverContext
  /** `volume/id000001`. */
  readonly key: string
  readonly operation: string
  /** `host@backend` of the node that made it. */
  readonly worker: string
  /** `undo` where the driver is asked to undo instead of to do. */
  readonly method: string
  settled: boolean
  done(changes?: JsonObject): void
  fail(error: unknown): void
}

export interface ControlledDriverOptions {
  /** The driver has a mark at its backend; its calls are in `fences`. */
  readonly fences?: boolean
  readonly undoes?: boolean
  /** Its calls ignore the abort signal. */
  readonly stubborn?: boolean
  /** Its calls resolve at once; the test need not settle them. */
  readonly auto?: boolean
}

/** A driver for every operation of every kind whose calls wait until the test settles them. */
export class ControlledDriver implements Driver {
  readonly calls: DriverCall[] = []
  /** A mark that can't be raised. */
  faultOfMark: (key: string) => Error | undefined = () => undefined
  /** `[key, fence]` of each mark raised. */
  readonly marks: [string, number][] = []
  readonly operations: Driver['operations']
  auto: boolean
  capabilities?: () => Promise<Capabilities>
  setup?: () => Promise<void>
  readonly fence?: (row: ResourceRow, fence: number) => Promise<void>
  readonly undo?: DriverMethod
  readonly #stubborn: boolean

  constructor(options: ControlledDriverOptions = {}) {
    this.auto = options.auto ?? false
    this.#stubborn = options.stubborn ?? false
    const methods = new Proxy({}, { get: (_, name) => this.#method(String(name)) })
    this.operations = new Proxy({}, { get: () => methods }) as Driver['operations']
    if (options.fences)
      this.fence = async (row, fence) => {
        const fault = this.faultOfMark(`${row.kind}/${row.id}`)
        if (fault !== undefined) throw fault
        this.marks.push([`${row.kind}/${row.id}`, fence])
      }
    if (options.undoes) this.undo = this.#method('undo')
  }

  /** The calls that have not settled, oldest first. */
  get open(): readonly DriverCall[] {
    return this.calls.filter(({ settled }) => !settled)
  }

  /** How often a resource was worked on, by worker. */
  callsOn(id: string): readonly DriverCall[] {
    return this.calls.filter(({ context }) => context.row.id === id)
  }

  #method(method: string): DriverMethod {
    return (context) =>
      new Promise<JsonObject | void>((resolve, reject) => {
        const { row, operation, signal } = context
        const call: DriverCall = {
          context,
          key: `${row.kind}/${row.id}`,
          operation,
          worker: row.worker!,
          method,
          settled: false,
          done: (changes) => {
            call.settled = true
            resolve(changes)
          },
          fail: (error) => {
            call.settled = true
            reject(error)
          },
        }
        this.calls.push(call)
        if (this.auto) call.done(operation === 'extend' ? context.input : undefined)
        else if (!this.#stubborn) signal.addEventListener('abort', () => call.fail(signal.reason))
      })
  }
}

/** What an actor's store does instead of its work; a promise: its work, once that has resolved. */
export type Fault = 'refuses' | 'is lost' | 'hangs' | Promise<void>

export interface StoreCall {
  /** `api`, `scheduler 1`, or `host@backend`. */
  readonly actor: string
  readonly method: 'get' | 'list' | 'count' | 'transact'
  /** Of a transaction. */
  readonly changes: readonly Change[]
  /** Of a list or count. */
  readonly filter: Filter
}

export interface ProcessOptions {
  readonly nodes: readonly (Partial<NodeConfig> & { readonly host: string })[]
  /** Null: the nodes are configured without a cluster. */
  readonly cluster?: string | null
  readonly backend?: string
  readonly driver?: Driver
  readonly settings?: Partial<Settings>
  readonly placement?: PlacementOptions
  readonly renamed?: (from: string, to: string) => Promise<void>
  readonly seams?: Seams
  readonly resources?: readonly ResourceType[]
}

/** One runtime with its nodes; it shares store and time with the other processes of its world. */
export class Process {
  readonly runtime: Runtime & Doors<BuiltIns>
  readonly #world: World
  readonly #crash: () => Promise<void>
  constructor(world: World, runtime: Runtime & Doors<BuiltIns>, crash: () => Promise<void>) {
    this.#world = world
    this.runtime = runtime
    this.#crash = crash
  }

  /** As by `kill -9`: no timer of it fires any more, no call to the store comes back. */
  crash(): Promise<void> {
    return this.#crash()
  }

  stop(): Promise<void> {
    return this.#world.environment.until(this.runtime.stop())
  }
}

export class World {
  readonly environment = new VirtualEnvironment()
  /** Everything told, in order. */
  readonly entries: LogEntry[] = []
  /** What it says, the details of each operation aside. */
  readonly logs: string[] = []
  readonly source: StoreSource
  /** Asked before each call of an actor to its store. */
  fault: (call: StoreCall) => Fault | undefined = () => undefined
  #reader: Store | null = null
  readonly #exclusive: boolean

  constructor(options: { readonly exclusive?: boolean } = {}) {
    this.#exclusive = options.exclusive ?? true
    this.source = memoryStore({ exclusive: this.#exclusive })
  }

  /** Starts a process and moves time on until its nodes are up, or have failed to start. */
  start(options: ProcessOptions): Promise<Process> {
    return this.environment.until(this.begin(options))
  }

  /** Starts several processes at once. */
  startAll(...all: readonly ProcessOptions[]): Promise<Process[]> {
    return this.environment.until(Promise.all(all.map((options) => this.begin(options))))
  }

  /** Begins to start a process; the test moves time on. */
  async begin(options: ProcessOptions): Promise<Process> {
    const life = { over: false }
    const opened: Store[] = []
    const source: StoreSource = {
      name: 'memory',
      open: async () => {
        const store = await this.source.open()
        opened.push(store)
        if (this.#exclusive) this.#reader = store
        return store
      },
    }
    const {
      nodes,
      cluster = 'ssd',
      backend = 'file',
      driver,
      settings,
      placement,
      renamed,
      seams,
      resources,
    } = options
    const runtime = await createRuntime(
      {
        store: source,
        resources: (resources ?? builtIns) as BuiltIns,
        nodes: nodes.map((node) => ({
          ...(cluster === null ? {} : { cluster }),
          backend,
          driver: driver!,
          ...node,
        })),
        environment: this.#environmentOf(life),
        log: (entry) => {
          this.entries.push(entry)
          if (entry.level !== 'debug') this.logs.push(entry.message)
        },
        ...(settings === undefined ? {} : { settings }),
        ...(placement === undefined ? {} : { placement }),
        ...(renamed === undefined ? {} : { renamed }),
      },
      {
        ...seams,
        storeFor: (actor, store) => {
          const wrapped = new FaultyStore(store, actor, (call) => (life.over ? 'hangs' : this.fault(call)))
          return seams?.storeFor?.(actor, wrapped) ?? wrapped
        },
      },
    )
    return new Process(this, runtime, async () => {
      life.over = true
      // Its own stores are never told: the process is not there to hear it.
      if (this.#exclusive) for (const store of opened) await store.close()
    })
  }

  /** The store as it is, past every fault. With an exclusive store: of the process opened last. */
  async #store(): Promise<Store> {
    if (this.#exclusive) return this.#reader!
    this.#reader ??= await this.source.open()
    return this.#reader
  }

  async row(kind: string, id: string): Promise<ResourceRow> {
    return (await (await this.#store()).get(`${kind}/${id}`)) as unknown as ResourceRow
  }

  /** The service row of a node. */
  async service(host: string, backend = 'file'): Promise<ServiceRow> {
    const services = await this.rows('service')
    return services.find((row) => row.host === host && row.backend === backend) as unknown as ServiceRow
  }

  async rows(kind: string): Promise<readonly StoredRow[]> {
    return (await (await this.#store()).list({ kind })).rows
  }

  /** Swaps one row from outside, as another process would. */
  async put(row: ResourceRow | ServiceRow | ClusterRow): Promise<void> {
    const store = await this.#store()
    const key = `${row.kind}/${row.id}`
    const version = (await store.get(key))?.version ?? 0
    const put = { ...row, version: version + 1 } as unknown as StoredRow
    const result = await store.transact([{ key, version }], [{ put }])
    if (!result.ok) throw new Error(`${key} changed meanwhile`)
  }

  /** Moves time on until this is true. */
  async until(isTrue: () => boolean | Promise<boolean>, within_ms = 60_000): Promise<void> {
    for (let passed = 0; passed <= within_ms; passed += 100) {
      await this.environment.settle()
      if (await isTrue()) return
      await this.environment.advance(100)
    }
    throw new Error(`not so within ${within_ms} ms of virtual time: ${isTrue.toString()}`)
  }

  /** Moves time on until the resource is at rest (or queued with nobody to take it: then it fails). */
  async rest(kind: string, id: string, within_ms = 60_000): Promise<ResourceRow> {
    await this.until(async () => {
      const row = await this.row(kind, id)
      return row.operation === null && row.held_by === null
    }, within_ms)
    return this.row(kind, id)
  }

  /** Takes a row out from outside. */
  async remove(kind: string, id: string): Promise<void> {
    const store = await this.#store()
    const { version } = (await store.get(`${kind}/${id}`))!
    await store.transact([{ key: `${kind}/${id}`, version }], [{ remove: `${kind}/${id}` }])
  }

  /** Every durable state that the rows of a kind have had, in commit order. */
  async historyOf(kind: string, id?: string): Promise<readonly ResourceRow[]> {
    const history: ResourceRow[] = []
    const stop = (await this.#store()).watch(0, ({ changes }) => {
      for (const { row } of changes)
        if (row?.kind === kind && (id === undefined || row.id === id))
          history.push(row as unknown as ResourceRow)
    })
    stop()
    return history
  }

  #environmentOf(life: { readonly over: boolean }): Environment {
    const { environment } = this
    return {
      now: () => environment.now(),
      monotonic: () => environment.monotonic(),
      id: () => environment.id(),
      timer: (ms, run) =>
        environment.timer(ms, () => {
          if (!life.over) run()
        }),
    }
  }
}

class FaultyStore implements Store {
  readonly #store: Store
  readonly #actor: string
  readonly #fault: (call: StoreCall) => Fault | undefined
  constructor(store: Store, actor: string, fault: (call: StoreCall) => Fault | undefined) {
    this.#store = store
    this.#actor = actor
    this.#fault = fault
  }

  get exclusive(): boolean {
    return this.#store.exclusive
  }

  #run<T>(call: Omit<StoreCall, 'actor'>, run: () => Promise<T>): Promise<T> {
    const fault = this.#fault({ actor: this.#actor, ...call })
    if (fault === 'hangs') return new Promise(() => {})
    if (fault === 'refuses') return Promise.reject(new StoreError('store_refused', 'no space left on device'))
    if (fault === 'is lost') return Promise.reject(new StoreError('store_lost', 'the store does not answer'))
    return fault === undefined ? run() : fault.then(run)
  }

  get: Store['get'] = (key) =>
    this.#run({ method: 'get', changes: [], filter: {} }, () => this.#store.get(key))
  list: Store['list'] = (filter, page) =>
    this.#run({ method: 'list', changes: [], filter }, () => this.#store.list(filter, page))
  count: Store['count'] = (filter) =>
    this.#run({ method: 'count', changes: [], filter }, () => this.#store.count(filter))
  transact: Store['transact'] = (expects, changes) =>
    this.#run({ method: 'transact', changes, filter: {} }, () => this.#store.transact(expects, changes))
  offset: Store['offset'] = () => this.#store.offset()
  watch: Store['watch'] = (from, listener) => this.#store.watch(from, listener)
  onLost: Store['onLost'] = (listener) => this.#store.onLost(listener)
  close: Store['close'] = () => this.#store.close()
}

/** A fault that takes one actor's store away altogether. */
export const storeOf =
  (actor: string, fault: Fault): World['fault'] =>
  (call) =>
    call.actor === actor ? fault : undefined

/** A fault that touches a node's heartbeats and nothing else of it. */
export const beatsOf =
  (actor: string, fault: Fault): World['fault'] =>
  (call) =>
    call.actor === actor && call.changes.some((change) => 'put' in change && change.put.kind === 'beat')
      ? fault
      : undefined

/** The answer of an accept that the test counts on. */
export function accepted<Row>(answer: Answer<Row>): Extract<Answer<Row>, { ok: true }> {
  if (!answer.ok) throw new Error(answer.message)
  return answer
}

/** At rest, nobody has it (rest_has_no_worker). */
export function expectAtRest(row: ResourceRow, status: string): void {
  const { operation, worker, incarnation, held_by } = row
  assert.deepEqual(
    { status: row.status, operation, worker, incarnation, held_by },
    { status, operation: null, worker: null, incarnation: null, held_by: null },
  )
}
