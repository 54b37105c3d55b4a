// Where the rows of a simulated run are: one memory store that all processes share, or a folder of the JSON store
// on a bad disk, opened anew by each life of the one process. It sees every commit, once, and after each reopening
// compares what is there with what was shown.

import { StoreError } from '../../../store/error.ts'
import { jsonStore } from '../../../store/json/json_store.ts'
import { memoryStore } from '../../../store/memory.ts'
import type { Commit, Key, Store, StoredRow, StoreSource } from '../../../store/store.ts'
import { type Fate, FaultyDisk } from '../faulty_file_system.ts'
import { SimulatedDisk } from './disk.ts'
import type { Invariants } from './invariants.ts'
import type { Place, SimulatedWorld } from './world.ts'

export interface StorageParts {
  readonly world: SimulatedWorld
  readonly invariants: Invariants
  readonly isDisk: boolean
  readonly seed: number
  readonly failures: () => number
  readonly see: (commit: Commit) => void
  readonly onReopened: () => void
}

/** Small, so that checkpoints and rotations are among what a crash falls into. */
const CHECKPOINT_BYTES = 20_000

export class SimulatedStorage {
  readonly #parts: StorageParts
  readonly #shared: StoreSource
  readonly #disk: FaultyDisk
  readonly #simulated: SimulatedDisk
  #seen = 0
  #openings = 0

  constructor(parts: StorageParts) {
    this.#parts = parts
    this.#shared = memoryStore({ exclusive: false })
    this.#disk = new FaultyDisk(parts.seed)
    this.#simulated = new SimulatedDisk(parts.world, this.#disk, parts.failures)
  }

  get isDisk(): boolean {
    return this.#parts.isDisk
  }

  async begin(): Promise<void> {
    if (this.isDisk) await this.#disk.fileSystem().makeFolder('/')
    else (await this.#shared.open()).watch(0, (commit) => this.#see(commit))
  }

  /** The store as the process at this place opens it. */
  sourceFor(place: Place): StoreSource {
    if (!this.isDisk) return this.#shared
    const source = jsonStore('/data', {
      file_system: this.#simulated.fileSystem(place),
      checkpoint_bytes: CHECKPOINT_BYTES,
      shard_rows: 10,
    })
    return {
      name: source.name,
      open: async () => {
        const store = await source.open()
        if (place.alive) await this.#reopened(store, place)
        return store
      },
    }
  }

  async #reopened(store: Store, place: Place): Promise<void> {
    const shown = new Map<Key, StoredRow>()
    let after: Key | null = null
    do {
      const page: Awaited<ReturnType<Store['list']>> = await store.list({}, { after, limit: 10_000 })
      for (const row of page.rows) shown.set(`${row.kind}/${row.id}`, row)
      after = page.next
    } while (after !== null)
    const { invariants, onReopened } = this.#parts
    invariants.checkReopened(shown)
    if (store.offset() < this.#seen)
      invariants.violated(
        'durable_is_visible',
        `the store was at ${this.#seen}, and after the reopening is at ${store.offset()}`,
      )
    this.#watch(store, place)
    // A row that is there and that no commit told of was never asked for.
    for (const [key, row] of shown)
      if (invariants.all.get(key)?.version !== row.version && place.alive)
        invariants.violated(
          'durable_is_visible',
          `${key} is at version ${row.version}; the feed told ${invariants.all.get(key)?.version ?? 'nothing'}`,
        )
    if (this.#openings++ > 0) onReopened()
  }

  #watch(store: Store, place: Place): void {
    try {
      store.watch(this.#seen, (commit) => place.alive && this.#see(commit))
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'offset_too_old') throw error
      this.#parts.invariants.violated('durable_is_visible', `commits after ${this.#seen} are not told again`)
    }
  }

  #see(commit: Commit): void {
    if (commit.offset <= this.#seen) return
    this.#seen = commit.offset
    this.#parts.see(commit)
  }

  /** The process is killed; with `power`, what was not synced is lost, kept or torn. */
  kill(power: boolean): void {
    if (!this.isDisk) return
    if (!power) {
      this.#disk.kill()
      return
    }
    const { choices } = this.#parts.world
    this.#disk.crash(() => {
      const choice = choices.of('torn write', {
        count: FATES.length,
        rate: 0.7,
        say: (chosen) => JSON.stringify(FATES[chosen]),
      })
      return FATES[choice]!
    })
  }

  fill(ms: number): void {
    this.#simulated.fullUntil = this.#parts.world.now + ms
  }

  empty(): void {
    this.#simulated.fullUntil = 0
  }
}

const FATES: readonly Fate[] = ['lost', 'whole', 'sectors', { first: 1 }, { first: 40 }, { first: 300 }]
