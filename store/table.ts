// The rows in memory with their indexes, shared by the memory and the JSON store. It may not await, and it
// holds durable rows only: a store applies a transaction here once it is on disk. The cost of a change
// grows with the logarithm of the rows, so it is flat for what a folder can hold.

import BTreeModule from 'sorted-btree'
import type { Filter, Key, Page, StoredRow } from './store.ts'

// The package is CommonJS, so its class lies one level deeper.
const BTree = BTreeModule.default

/** Entries in key order. They are their own keys: a tree without values takes half the memory. */
type Bucket = BTreeModule.default<Entry, undefined>

/** Every index shares one entry a row, and so one string a key. */
interface Entry {
  readonly key: Key
  row: StoredRow
}

const byKey = (a: { key: Key }, b: { key: Key }): number => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)
const newBucket = (): Bucket => new BTree<Entry, undefined>(undefined, byKey)

export class Table {
  readonly #entries = new Map<Key, Entry>()
  readonly #all: Bucket = newBucket()
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
      this.#all.delete(entry)
      for (const index of this.#indexes) index.change(entry, entry.row, null)
    } else if (entry === undefined) {
      const entered = { key, row }
      this.#entries.set(key, entered)
      this.#all.set(entered, undefined)
      for (const index of this.#indexes) index.change(entered, null, row)
    } else {
      const before = entry.row
      entry.row = row
      for (const index of this.#indexes) index.change(entry, before, row)
    }
  }

  list(filter: Filter, page: { after?: Key | null; limit?: number } = {}): Page {
    const limit = page.limit ?? 1_000
    const rows: StoredRow[] = []
    let last: Key | null = null
    const { buckets, exact } = this.#narrowest(filter)
    for (const { key, row } of inKeyOrder(buckets, page.after ?? null)) {
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
    for (const bucket of buckets) for (const { row } of bucket.keys()) if (matches(filter, row)) count++
    return count
  }

  /** Rows from the key `from` (included; undefined: the first) up to `to` (left out), in key order, at most `most`. */
  range(from: Key | undefined, to: Key | undefined, most: number): StoredRow[] {
    const rows: StoredRow[] = []
    for (const { key, row } of this.#all.keys(from === undefined ? undefined : bound(from))) {
      if (rows.length === most || (to !== undefined && key >= to)) break
      rows.push(row)
    }
    return rows
  }

  /** The index that holds the fewest rows besides the matches; `exact` where it holds just the matches. */
  #narrowest(filter: Filter): { buckets: readonly Bucket[]; exact: boolean } {
    const { kind, status, cluster, worker, taken, incarnation_up_to } = filter
    const asks = (...names: (keyof Filter)[]) =>
      Object.entries(filter).every(([name, value]) => value === undefined || names.includes(name as never))
    const candidates: { buckets: readonly Bucket[]; exact: boolean }[] = []
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
  readonly #buckets = new Map<string, Map<unknown, Bucket>>()
  readonly #outer: (row: StoredRow) => unknown
  readonly #inner: (row: StoredRow) => unknown

  constructor(outer: (row: StoredRow) => unknown, inner: (row: StoredRow) => unknown) {
    this.#outer = outer
    this.#inner = inner
  }

  change(entry: Entry, before: StoredRow | null, after: StoredRow | null): void {
    const [left, entered] = [before && this.#outer(before), after && this.#outer(after)]
    const [leftInner, enteredInner] = [before && this.#inner(before), after && this.#inner(after)]
    if (left === entered && leftInner === enteredInner) return
    if (typeof left === 'string') this.#leave(left, leftInner, entry)
    if (typeof entered === 'string') this.#enter(entered, enteredInner, entry)
  }

  buckets(outer: string | undefined, wanted: (inner: unknown) => boolean = () => true): Bucket[] {
    const families = outer === undefined ? this.#buckets.values() : [this.#buckets.get(outer) ?? new Map()]
    const found: Bucket[] = []
    for (const family of families)
      for (const [inner, bucket] of family as Map<unknown, Bucket>) if (wanted(inner)) found.push(bucket)
    return found
  }

  #enter(outer: string, inner: unknown, entry: Entry): void {
    let family = this.#buckets.get(outer)
    if (family === undefined) {
      family = new Map()
      this.#buckets.set(outer, family)
    }
    let bucket = family.get(inner)
    if (bucket === undefined) {
      bucket = newBucket()
      family.set(inner, bucket)
    }
    bucket.set(entry, undefined)
  }

  /** Empty buckets go, so that incarnations long over cost nothing. */
  #leave(outer: string, inner: unknown, entry: Entry): void {
    const family = this.#buckets.get(outer)!
    const bucket = family.get(inner)!
    bucket.delete(entry)
    if (bucket.size === 0) family.delete(inner)
    if (family.size === 0) this.#buckets.delete(outer)
  }
}

/** A place in key order; only its key is looked at. */
const bound = (key: Key): Entry => ({ key }) as Entry

const sizeOf = (buckets: readonly Bucket[]): number => buckets.reduce((sum, bucket) => sum + bucket.size, 0)

/** Merges buckets, which hold no entry twice, from the first key above `after` on. */
function* inKeyOrder(buckets: readonly Bucket[], after: Key | null): Generator<Entry> {
  const heads: { entry: Entry; rest: Iterator<Entry> }[] = []
  for (const bucket of buckets) {
    const rest = bucket.keys(after === null ? undefined : bound(after))
    let first = rest.next()
    if (first.value?.key === after) first = rest.next()
    if (!first.done) heads.push({ entry: first.value, rest })
  }
  while (heads.length > 0) {
    const lowest = heads.reduce((a, b) => (b.entry.key < a.entry.key ? b : a))
    yield lowest.entry
    const next = lowest.rest.next()
    if (next.done) heads.splice(heads.indexOf(lowest), 1)
    else lowest.entry = next.value
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
