// The rows in memory with their indexes, shared by the memory and the JSON store. It may not await, and it
// holds durable rows only: a store applies a transaction here once it is on disk. The cost of a change
// grows with the logarithm of the rows, so it is flat for what a folder can hold.

import { SortedKeys } from './sorted_keys.ts'
import type { Filter, Key, Page, StoredRow } from './store.ts'

/** Every index holds the same string for a key: the one here. */
interface Entry {
  readonly key: Key
  row: StoredRow
}

export class Table {
  readonly #entries = new Map<Key, Entry>()
  readonly #all = new SortedKeys()
  readonly #statuses = new Index(
    (row) => row.kind,
    (row) => row.status,
  )
  readonly #clusters = new Index(
    (row) => row.cluster,
    () => null,
  )
  readonly #workers = new Index((row) => row.worker, incarnationOf)
  readonly #indexes = [this.#statuses, this.#clusters, this.#workers]

  get size(): number {
    return this.#entries.size
  }

  get(key: Key): StoredRow | undefined {
    return this.#entries.get(key)?.row
  }

  version(key: Key): number {
    return this.#entries.get(key)?.row.version ?? 0
  }

  /** Puts (frozen) or removes one row and keeps every index. */
  set(key: Key, row: StoredRow | null): void {
    const entry = this.#entries.get(key)
    if (row === null) {
      if (entry === undefined) return
      this.#entries.delete(key)
      this.#all.remove(key)
      for (const index of this.#indexes) index.change(key, entry.row, null)
    } else if (entry === undefined) {
      this.#entries.set(key, { key, row })
      this.#all.add(key)
      for (const index of this.#indexes) index.change(key, null, row)
    } else {
      const before = entry.row
      entry.row = row
      for (const index of this.#indexes) index.change(entry.key, before, row)
    }
  }

  list(filter: Filter, page: { after?: Key | null; limit?: number } = {}): Page {
    const limit = page.limit ?? 1_000
    const rows: StoredRow[] = []
    let last: Key | null = null
    const { buckets, exact } = this.#narrowest(filter)
    for (const key of inKeyOrder(buckets, page.after ?? null)) {
      const { row } = this.#entries.get(key)!
      if (!exact && !matches(filter, row)) continue
      // One more than asked tells that there is a next page.
      if (rows.length === limit) return { rows, next: last }
      rows.push(row)
      last = key
    }
    return { rows, next: null }
  }

  count(filter: Filter): number {
    const { buckets, exact } = this.#narrowest(filter)
    if (exact) return sizeOf(buckets)
    let count = 0
    for (const bucket of buckets)
      for (const key of bucket.from()) if (matches(filter, this.#entries.get(key)!.row)) count++
    return count
  }

  /** Rows from the key `from` (included; undefined: the first) up to `to` (left out), in key order, at most `most`. */
  range(from: Key | undefined, to: Key | undefined, most: number): StoredRow[] {
    const rows: StoredRow[] = []
    for (const key of this.#all.from(from)) {
      if (rows.length === most || (to !== undefined && key >= to)) break
      rows.push(this.#entries.get(key)!.row)
    }
    return rows
  }

  /** The index that holds the fewest rows besides the matches; `exact` where it holds just the matches. */
  #narrowest(filter: Filter): { buckets: readonly SortedKeys[]; exact: boolean } {
    const { kind, status, cluster, worker, taken, incarnation_up_to } = filter
    const asks = (...names: (keyof Filter)[]) =>
      Object.entries(filter).every(([name, value]) => value === undefined || names.includes(name as never))
    const candidates: { buckets: readonly SortedKeys[]; exact: boolean }[] = []
    if (worker !== undefined)
      candidates.push({
        buckets: this.#workers.buckets(worker, (incarnation) =>
          incarnationMatches(filter, incarnation as number | null),
        ),
        exact: asks('worker', 'taken', 'incarnation_up_to'),
      })
    if (kind !== undefined || status !== undefined)
      candidates.push({
        buckets: this.#statuses.buckets(kind, (found) => status === undefined || found === status),
        exact: asks('kind', 'status'),
      })
    if (cluster !== undefined)
      candidates.push({ buckets: this.#clusters.buckets(cluster), exact: asks('cluster') })
    if (candidates.length === 0)
      return { buckets: [this.#all], exact: taken === undefined && incarnation_up_to === undefined }
    return candidates.reduce((a, b) => (sizeOf(b.buckets) < sizeOf(a.buckets) ? b : a))
  }
}

/** Buckets by two fields of the row. A row whose first field is no text is in none of them. */
class Index {
  readonly #buckets = new Map<string, Map<unknown, SortedKeys>>()
  readonly #outer: (row: StoredRow) => unknown
  readonly #inner: (row: StoredRow) => unknown

  constructor(outer: (row: StoredRow) => unknown, inner: (row: StoredRow) => unknown) {
    this.#outer = outer
    this.#inner = inner
  }

  change(key: Key, before: StoredRow | null, after: StoredRow | null): void {
    const left = before === null ? null : this.#outer(before)
    const leftInner = before === null ? null : this.#inner(before)
    const entered = after === null ? null : this.#outer(after)
    const enteredInner = after === null ? null : this.#inner(after)
    if (left === entered && leftInner === enteredInner) return
    if (typeof left === 'string') this.#leave(left, leftInner, key)
    if (typeof entered === 'string') this.#enter(entered, enteredInner, key)
  }

  buckets(outer: string | undefined, wanted: (inner: unknown) => boolean = () => true): SortedKeys[] {
    const families = outer === undefined ? this.#buckets.values() : [this.#buckets.get(outer) ?? new Map()]
    const found: SortedKeys[] = []
    for (const family of families)
      for (const [inner, bucket] of family as Map<unknown, SortedKeys>) if (wanted(inner)) found.push(bucket)
    return found
  }

  #enter(outer: string, inner: unknown, key: Key): void {
    let family = this.#buckets.get(outer)
    if (family === undefined) {
      family = new Map()
      this.#buckets.set(outer, family)
    }
    let bucket = family.get(inner)
    if (bucket === undefined) {
      bucket = new SortedKeys()
      family.set(inner, bucket)
    }
    bucket.add(key)
  }

  /** Empty buckets go, so that incarnations long over cost nothing. */
  #leave(outer: string, inner: unknown, key: Key): void {
    const family = this.#buckets.get(outer)!
    const bucket = family.get(inner)!
    bucket.remove(key)
    if (bucket.size === 0) family.delete(inner)
    if (family.size === 0) this.#buckets.delete(outer)
  }
}

const sizeOf = (buckets: readonly SortedKeys[]): number =>
  buckets.reduce((sum, bucket) => sum + bucket.size, 0)

/** Merges buckets, which hold no key twice, from the first key above `after` on. */
function* inKeyOrder(buckets: readonly SortedKeys[], after: Key | null): Generator<Key, void, undefined> {
  const heads: { key: Key; rest: Generator<Key, void, undefined> }[] = []
  for (const bucket of buckets) {
    const rest = bucket.from(after ?? undefined)
    let first = rest.next()
    if (first.value === after) first = rest.next()
    if (!first.done) heads.push({ key: first.value, rest })
  }
  while (heads.length > 0) {
    const lowest = heads.reduce((a, b) => (b.key < a.key ? b : a))
    yield lowest.key
    const next = lowest.rest.next()
    if (next.done) heads.splice(heads.indexOf(lowest), 1)
    else lowest.key = next.value
  }
}

function incarnationOf(row: StoredRow): number | null {
  return typeof row.incarnation === 'number' ? row.incarnation : null
}

function incarnationMatches({ taken, incarnation_up_to }: Filter, incarnation: number | null): boolean {
  if (taken !== undefined && taken !== (incarnation !== null)) return false
  return incarnation_up_to === undefined || (incarnation !== null && incarnation <= incarnation_up_to)
}

function matches(filter: Filter, row: StoredRow): boolean {
  const { kind, status, cluster, worker } = filter
  return (
    (kind === undefined || row.kind === kind) &&
    (status === undefined || row.status === status) &&
    (cluster === undefined || row.cluster === cluster) &&
    (worker === undefined || row.worker === worker) &&
    incarnationMatches(filter, incarnationOf(row))
  )
}
