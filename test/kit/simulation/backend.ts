// A simulated backend and the drivers in front of it. Generic: a thing is there after an operation from `new` and
// away after one to `gone`. It keeps a mark a thing, below which effects are refused, and knows every call that
// runs. A driver of the user's own is wrapped: a step of the world before each call and one after it.

import { isCreate, type ResourceType } from '../../../machines/definition.ts'
import type { JsonObject, ResourceRow } from '../../../machines/row.ts'
import { type Driver, type DriverContext, DriverError, type DriverMethod } from '../../../runtime/driver.ts'
import { keyOf } from '../../../store/store.ts'
import type { Invariants } from './invariants.ts'
import type { Place, SimulatedWorld } from './world.ts'

interface Thing {
  exists: boolean
  size: number
  mark: number
  /** The highest fence whose effect was taken. */
  fence: number
  /** What it was before the last operation that had an effect. */
  before: { readonly version: number; readonly exists: boolean; readonly size: number } | null
}

interface Running {
  readonly place: Place
  readonly host: string
  readonly operation: string
  readonly fence: number
}

export interface DriverTraits {
  /** It raises a mark that refuses older fences. */
  readonly fences: boolean
  readonly undoes: boolean
}

export class SimulatedBackend {
  readonly things = new Map<string, Thing>()
  /** Calls that were done, with their fence. */
  readonly done = new Map<string, number>()
  readonly #running = new Map<string, Set<Running>>()
  readonly #hung = new Set<() => unknown>()
  readonly #invariants: Invariants
  readonly #reached: (property: string) => void

  constructor(invariants: Invariants, reached: (property: string) => void) {
    this.#invariants = invariants
    this.#reached = reached
  }

  thing(row: { kind: string; id: string }): Thing {
    const key = `${row.kind}/${row.id}`
    const thing = this.things.get(key) ?? { exists: false, size: 0, mark: 0, fence: 0, before: null }
    this.things.set(key, thing)
    return thing
  }

  mark(row: ResourceRow, fence: number): void {
    const thing = this.thing(row)
    thing.mark = Math.max(thing.mark, fence)
  }

  /** A driver's call begins. Any other that is alive and not fenced off is one too many. */
  begins(place: Place, host: string, { row, operation, fence }: DriverContext): () => void {
    const key = keyOf(row)
    const calls = this.#running.get(key) ?? new Set()
    this.#running.set(key, calls)
    const { mark } = this.thing(row)
    const said = `${host} begins ${operation} of ${key} with fence ${fence}`
    for (const other of calls)
      if (other.place.alive && other.fence >= mark)
        this.#invariants.violated(
          'one_worker',
          `${said} while ${other.host} runs ${other.operation} with fence ${other.fence}`,
        )
    const claimed = this.#invariants.claimOf(key, fence)
    if (claimed === undefined || (claimed.cleanup === null && claimed.name !== operation))
      this.#invariants.violated('op_matches_row', `${said}; claimed was ${claimed?.name ?? 'nothing'}`)
    const call = { place, host, operation, fence }
    calls.add(call)
    return () => calls.delete(call)
  }

  /** One effect. The mark refuses an older fence; without marks an older one is a violation. */
  effect(row: ResourceRow, fence: number, change: (thing: Thing) => void): void {
    const thing = this.thing(row)
    if (fence < thing.mark) {
      this.#reached('zombie_refused')
      throw new DriverError('fenced', `fence ${fence} is older than the mark ${thing.mark}`)
    }
    if (fence < thing.fence)
      this.#invariants.violated(
        'one_worker',
        `${keyOf(row)}: an effect of fence ${fence} after one of ${thing.fence}`,
      )
    thing.fence = fence
    const version = row.operation?.accepted_version ?? 0
    if (thing.before?.version !== version) thing.before = { version, exists: thing.exists, size: thing.size }
    change(thing)
  }

  isNotIdempotent(message: string): void {
    this.#invariants.violated('driver_idempotent', message)
  }

  /** A call that answers nobody until the backend is well again. */
  hang(place: Place): Promise<void> {
    return new Promise((resolve) => this.#hung.add(() => place.alive && resolve()))
  }

  /** Faults have stopped: what hung goes on. */
  recover(): void {
    for (const go of this.#hung) go()
    this.#hung.clear()
  }

  isBusy(): boolean {
    for (const calls of this.#running.values()) for (const { place } of calls) if (place.alive) return true
    return false
  }

  /** Never at rest but gone, never gone but still there, once all is at rest. */
  checkAgrees(types: ReadonlyMap<string, ResourceType>): void {
    for (const [key, row] of this.#invariants.rows) {
      const thing = this.things.get(key)
      const isGood = row.status !== 'gone' && isWell(types.get(row.kind)!, row.status)
      const disagree = (what: string) =>
        this.#invariants.violated('store_and_backend_agree', `${key} ${what}`)
      if (row.status === 'gone' && thing?.exists === true) disagree('is gone and still exists')
      if (!isGood || this.#invariants.forced.has(key)) continue
      if (thing?.exists !== true) disagree(`is ${row.status} and does not exist`)
      else if (typeof row.data.size === 'number' && thing.size !== row.data.size)
        disagree(`has size ${row.data.size}, the backend ${thing.size}`)
    }
  }
}

/** A status that promises that the thing is there: where an operation that made it ends well. */
function isWell({ table }: ResourceType, status: string): boolean {
  return Object.values(table.operations).some((operation) => isCreate(operation) && operation.to === status)
}

/** Long enough that its node can be declared down meanwhile, shorter than an operation may take. */
const SLOW_MS = 2_000

/** What befalls one call of a driver; the first is the default. */
const fates = [
  'well',
  'fails',
  'hangs',
  'hangs, deaf to its abort',
  'slow',
  'slow, deaf to its abort',
] as const

export interface DriverShape {
  readonly traits: DriverTraits
  /** Of faults: 0 when they have stopped. */
  readonly rate: () => number
  /** Whether a call may be deaf: with nothing at the backend to stop it, that is no fault to survive. */
  readonly mayBeDeaf: boolean
}

export class SimulatedDriver {
  readonly #world: SimulatedWorld
  readonly #place: Place
  readonly #host: string
  readonly #backend: SimulatedBackend
  readonly #shape: DriverShape

  constructor(
    world: SimulatedWorld,
    place: Place,
    host: string,
    backend: SimulatedBackend,
    shape: DriverShape,
  ) {
    this.#world = world
    this.#place = place
    this.#host = host
    this.#backend = backend
    this.#shape = shape
  }

  /** The generic driver of these types. */
  generic(types: readonly ResourceType[]): Driver {
    const operations: { [kind: string]: { [operation: string]: DriverMethod } } = {}
    for (const { kind, table } of types) {
      operations[kind] = {}
      for (const [name, operation] of Object.entries(table.operations)) {
        if (operation.via === undefined) continue
        operations[kind][name] = this.#method((context) => this.#apply(context, operation))
      }
    }
    const { fences, undoes } = this.#shape.traits
    return {
      operations,
      ...(fences ? { fence: (row: ResourceRow, fence: number) => this.#raise(row, fence) } : {}),
      ...(undoes ? { undo: this.#method((context) => this.#undo(context)) } : {}),
    }
  }

  /** A driver of the user's own. Its effects are where they are; only the steps around a call are the world's. */
  wrapped(driver: Driver): Driver {
    const operations = Object.fromEntries(
      Object.entries(driver.operations).map(([kind, methods]) => [
        kind,
        Object.fromEntries(
          Object.entries(methods).map(([name, method]) => [
            name,
            this.#method((context) => method.call(methods, context)),
          ]),
        ),
      ]),
    )
    return {
      operations,
      ...(driver.setup === undefined ? {} : { setup: (setup) => driver.setup!(setup) }),
      ...(driver.capabilities === undefined ? {} : { capabilities: () => driver.capabilities!() }),
      ...(driver.fence === undefined
        ? {}
        : {
            fence: async (row: ResourceRow, fence: number) => {
              await this.#raise(row, fence)
              await driver.fence!(row, fence)
            },
          }),
      ...(driver.undo === undefined ? {} : { undo: this.#method((context) => driver.undo!(context)) }),
      ...(driver.export === undefined ? {} : { export: (row, signal) => driver.export!(row, signal) }),
    }
  }

  async #raise(row: ResourceRow, fence: number): Promise<void> {
    await this.#world.hop(this.#place, `${this.#host} mark`, `mark ${keyOf(row)} ${fence}`)
    this.#backend.mark(row, fence)
  }

  /** One call: a step before the effect, in which it may fail, hang or be slow, and one after it. */
  #method(effect: (context: DriverContext) => Promise<JsonObject | void> | JsonObject | void): DriverMethod {
    return async (context) => {
      const { row, operation, signal, fence } = context
      const world = this.#world
      const lane = `driver ${this.#host}`
      const text = `${operation} ${keyOf(row)} fence ${fence}`
      world.trace.add({ kind: 'message', lane: `node ${this.#host}`, to: lane, text })
      const ended = this.#backend.begins(this.#place, this.#host, context)
      try {
        const fate =
          fates[
            world.choices.of(`driver ${this.#host}`, {
              count: fates.length,
              rate: this.#shape.rate(),
              say: (choice) => fates[choice]!,
            })
          ]!
        const isDeaf = fate.endsWith('abort') && this.#shape.mayBeDeaf
        const step = (name: string, ms: number) => {
          const hop = world.hop(this.#place, `${this.#host} ${name}`, `${text} ${name}`, ms)
          return isDeaf ? hop : orAborted(signal, hop)
        }
        await step('begins', fate.startsWith('slow') ? SLOW_MS : 5)
        context.progress(0.5)
        if (fate.startsWith('hangs')) {
          world.trace.add({ kind: 'fault', lane, text: `${text} hangs` })
          const recovered = this.#backend.hang(this.#place)
          await (isDeaf ? recovered : orAborted(signal, recovered))
        }
        if (fate === 'fails') throw new Error('the backend says no')
        const changes = await this.#once(context, effect)
        world.trace.add({ kind: 'step', lane, text: `${text}: done at the backend` })
        await step('answers', 5)
        return changes
      } finally {
        ended()
      }
    }
  }

  /** A method that was done once for an operation may be called again after a crash, and must then be done again. */
  async #once(
    context: DriverContext,
    effect: (context: DriverContext) => Promise<JsonObject | void> | JsonObject | void,
  ): Promise<JsonObject | void> {
    const { row, operation, fence, signal } = context
    const name = `${keyOf(row)} ${row.operation?.accepted_version} ${operation} ${row.operation?.cleanup === null}`
    const done = this.#backend.done.get(name)
    try {
      const changes = await effect(context)
      this.#backend.done.set(name, fence)
      return changes
    } catch (error) {
      if (done !== undefined && fence > done && !signal.aborted)
        this.#backend.isNotIdempotent(
          `${operation} of ${keyOf(row)} was done with fence ${done}, its node went down before the finish, and fails when it is done again with fence ${fence}: ${String(error)}`,
        )
      throw error
    }
  }

  #apply(
    { row, input, fence, relatedRows, operation: name }: DriverContext,
    operation: ResourceType['table']['operations'][string],
  ): JsonObject | void {
    const created = isCreate(operation)
    this.#backend.effect(row, fence, (thing) => {
      if (created) thing.exists = true
      if (operation.to === 'gone') thing.exists = false
      const size = created ? row.data.size : input.size
      if (typeof size === 'number') thing.size = size
    })
    if (operation.to === 'gone')
      for (const other of relatedRows)
        if (other.held_by?.kind === row.kind && other.held_by.id === row.id)
          this.#backend.thing(other).exists = false
    return !created && name === 'extend' && typeof input.size === 'number' ? { size: input.size } : undefined
  }

  #undo({ row, fence }: DriverContext): void {
    const { before } = this.#backend.thing(row)
    if (before === null || before.version !== row.operation?.accepted_version) return
    this.#backend.effect(row, fence, (thing) => {
      thing.exists = before.exists
      thing.size = before.size
    })
  }
}

function orAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return Promise.race([
    promise,
    new Promise<never>((_, reject) => {
      const abort = () => reject(signal.reason)
      if (signal.aborted) abort()
      else signal.addEventListener('abort', abort, { once: true })
    }),
  ])
}
