// A simulated backend and its driver: what exists, how large it is, and the mark below which effects are
// refused. A driver's work is done in pieces, each a step of the world; it may fail, hang or ignore its abort.

import type { JsonObject, ResourceRow } from '../../../machines/row.ts'
import { type Driver, type DriverContext, DriverError } from '../../../runtime/driver.ts'
import type { Invariants } from './invariants.ts'
import type { Place, SimulatedWorld } from './world.ts'

interface Thing {
  exists: boolean
  size: number
  mark: number
  /** The highest fence whose effect was taken. */
  fence: number
}

export class SimulatedBackend {
  readonly things = new Map<string, Thing>()
  readonly #invariants: Invariants
  /** Sometimes properties: what happened at least once in a run. */
  readonly reached: Set<string>

  constructor(invariants: Invariants, reached: Set<string>) {
    this.#invariants = invariants
    this.reached = reached
  }

  thing(row: { kind: string; id: string }): Thing {
    const key = `${row.kind}/${row.id}`
    const thing = this.things.get(key) ?? { exists: false, size: 0, mark: 0, fence: 0 }
    this.things.set(key, thing)
    return thing
  }

  /** One effect. The mark refuses an older fence; without marks an older one is a violation. */
  effect(row: ResourceRow, fence: number, change: (thing: Thing) => void): void {
    const thing = this.thing(row)
    if (fence < thing.mark) {
      this.reached.add('zombie_refused')
      throw new DriverError('fenced', `fence ${fence} is older than the mark ${thing.mark}`)
    }
    if (fence < thing.fence)
      this.#invariants.violated(
        'one_worker',
        `${row.kind}/${row.id}: an effect of fence ${fence} after one of ${thing.fence}`,
      )
    thing.fence = fence
    change(thing)
  }

  /** Never available but gone, never gone but still there, once all is at rest. */
  checkAgrees(): void {
    for (const [key, row] of this.#invariants.rows) {
      const thing = this.things.get(key)
      if (row.status === 'available' && thing?.exists !== true)
        this.#invariants.violated('store_and_backend_agree', `${key} is available and does not exist`)
      if (row.status === 'gone' && thing?.exists === true)
        this.#invariants.violated('store_and_backend_agree', `${key} is gone and still exists`)
      if (
        row.kind === 'volume' &&
        row.status === 'available' &&
        thing !== undefined &&
        thing.size !== row.data.size
      )
        this.#invariants.violated(
          'store_and_backend_agree',
          `${key} has size ${row.data.size}, the backend ${thing.size}`,
        )
    }
  }
}

export interface DriverFaults {
  readonly fail: number
  readonly hang: number
  readonly ignoreAbort: number
}

export function simulatedDriver(
  world: SimulatedWorld,
  place: Place,
  backend: SimulatedBackend,
  faults: () => DriverFaults,
): Driver {
  const work = async (context: DriverContext, change: (thing: Thing) => void): Promise<void> => {
    const { signal, row, fence } = context
    const stubborn = world.choices.chance(faults().ignoreAbort)
    const pieces = 1 + world.choices.of(3)
    for (let piece = 0; piece < pieces; piece++) {
      await world.hop(place, `${context.operation} ${row.kind}/${row.id} fence ${fence}`, 400)
      if (!stubborn) signal.throwIfAborted()
      context.progress((piece + 1) / pieces)
    }
    if (world.choices.chance(faults().hang)) {
      backend.reached.add('driver_hangs')
      await new Promise<void>((_, reject) => {
        if (!stubborn) signal.addEventListener('abort', () => reject(signal.reason))
      })
    }
    if (world.choices.chance(faults().fail)) throw new Error('the backend says no')
    backend.effect(row, fence, change)
    await world.hop(place, `${context.operation} ${row.kind}/${row.id} done`, 200)
  }
  const create = (context: DriverContext) =>
    work(context, (thing) => {
      thing.exists = true
      thing.size = (context.input.size as number) ?? 0
    })
  const remove = (context: DriverContext) =>
    work(context, (thing) => {
      thing.exists = false
    })
  const extend = async (context: DriverContext): Promise<JsonObject> => {
    await work(context, (thing) => {
      thing.size = context.input.size as number
    })
    return { size: context.input.size as number }
  }
  const operations = {
    create,
    delete: remove,
    force_delete: remove,
    extend,
    restore: (c: DriverContext) => work(c, () => {}),
  }
  return {
    operations: { volume: operations, snapshot: operations, backup: operations },
    async fence(row, fence) {
      await world.hop(place, `mark ${row.kind}/${row.id} ${fence}`)
      const thing = backend.thing(row)
      thing.mark = Math.max(thing.mark, fence)
    },
  }
}
