// The memory store: the contract without a disk, for tests and trials. "Durable" is the source's own
// memory: a store that is opened again finds what was committed. It may not use timers.

import { StoreError } from './error.ts'
import { Feed } from './feed.ts'
import { plan } from './plan.ts'
import type {
  Change,
  Commit,
  Committed,
  Conflict,
  Expectation,
  Filter,
  Key,
  Page,
  Store,
  StoredRow,
  StoreSource,
} from './store.ts'
import { Table } from './table.ts'

/**
 * A source whose stores share one memory. With `exclusive: false` several may be open at once and play
 * several processes on one store.
 */
export function memoryStore(options: { readonly exclusive?: boolean } = {}): StoreSource {
  const exclusive = options.exclusive ?? true
  const shared = { table: new Table(), feed: new Feed() }
  let open: MemoryStore | null = null
  return {
    name: 'memory',
    async open() {
      if (exclusive && open !== null && !open.ended)
        throw new StoreError('store_locked', 'this memory store is open already; close it first')
      open = new MemoryStore(shared, exclusive)
      return open
    },
  }
}

class MemoryStore implements Store {
  readonly exclusive: boolean
  readonly #table: Table
  readonly #feed: Feed
  readonly #watches = new Set<() => void>()
  ended = false

  constructor({ table, feed }: { table: Table; feed: Feed }, exclusive: boolean) {
    this.#table = table
    this.#feed = feed
    this.exclusive = exclusive
  }

  async get(key: Key): Promise<StoredRow | undefined> {
    this.#assertOpen()
    return this.#table.get(key)
  }

  async list(filter: Filter, page?: { after?: Key | null; limit?: number }): Promise<Page> {
    this.#assertOpen()
    return this.#table.list(filter, page)
  }

  async count(filter: Filter): Promise<number> {
    this.#assertOpen()
    return this.#table.count(filter)
  }

  async transact(expect: readonly Expectation[], changes: readonly Change[]): Promise<Committed | Conflict> {
    this.#assertOpen()
    const planned = plan(expect, changes)
    const conflicts = expect
      .filter(({ key, version }) => this.#table.version(key) !== version)
      .map(({ key, version }) => ({ key, expected: version, found: this.#table.get(key) ?? null }))
    if (conflicts.length > 0) return { ok: false, conflicts }
    if (changes.length === 0) return { ok: true, offset: this.#feed.offset }
    for (const { key, row } of planned) this.#table.set(key, row)
    const offset = this.#feed.offset + 1
    this.#feed.add({ offset, changes: planned.map(({ key, row }) => ({ key, row })) })
    return { ok: true, offset }
  }

  offset(): number {
    return this.#feed.offset
  }

  watch(from: number, listener: (commit: Commit) => void): () => void {
    this.#assertOpen()
    const stop = this.#feed.watch(from, listener)
    this.#watches.add(stop)
    return () => {
      this.#watches.delete(stop)
      stop()
    }
  }

  /** Memory is never lost while its process lives. */
  onLost(): void {}

  async close(): Promise<void> {
    this.ended = true
    for (const stop of this.#watches) stop()
    this.#watches.clear()
  }

  #assertOpen(): void {
    if (this.ended) throw new StoreError('store_lost', 'the store is closed')
  }
}
