// The rows in memory with their indexes, shared by the memory and the JSON store. It may not await, and it
// holds durable rows only: a store applies a transaction here once it is on disk.

import BTreeModule from 'sorted-btree'
import { type Expectation, type Filter, type Key, keyOf, type Page, type StoredRow } from './store.ts'

// The package is CommonJS, so its class lies one level deeper.
const BTree = BTreeModule.default
type Bucket = BTreeModule.default<Key, StoredRow>

const compareKeys = (a: Key, b: Key): number => (a < b ? -1 : a > b ? 1 : 0)

/** Rows by key, in key order, and by kind, kind + status, cluster, worker + incarnation. */
export class Table {
  readonly #rows = new Map<Key, StoredRow>()
  readonly #all: Bucket = new BTree(undefined, compareKeys)
  readonly #buckets = new Map<string, Bucket>()
  /** The incarnations under which a worker has rows; null stands for queued ones. */
  readonly #incarnations = new Map<string, Set<number | null>>()

  get size(): number {
    return this.#rows.size
  }

  get(key: Key): StoredRow | undefined {
    return this.#rows.get(key)
  }

  version(key: Key): number {
    return this.#rows.get(key)?.version ?? 0
  }

  /** Puts (frozen) or removes one row and keeps every index. */
  set(key: Key, row: StoredRow | null): void {
    const before = this.#rows.get(key)
    const left = before === undefined ? [] : bucketsOf(before)
    const entered = row === null ? [] : bucketsOf(row)
    for (const name of left) if (!entered.includes(name)) this.#leave(name, key)
    if (before !== undefined && before.worker !== row?.worker) this.#forgetWorker(before)
    else if (before !== undefined && before.incarnation !== row?.incarnation) this.#forgetWorker(before)
    if (row === null) {
      this.#rows.delete(key)
      this.#all.delete(key)
      return
    }
    this.#rows.set(key, row)
    this.#all.set(key, row)
    for (const name of entered) {
      let bucket = this.#buckets.get(name)
      if (bucket === undefined) {
        bucket = new BTree<Key, StoredRow>(undefined, compareKeys)
        this.#buckets.set(name, bucket)
      }
      bucket.set(key, row)
    }
    if (typeof row.worker === 'string') {
      const known = this.#incarnations.get(row.worker)
      if (known === undefined) this.#incarnations.set(row.worker, new Set([incarnationOf(row)]))
      else known.add(incarnationOf(row))
    }
  }

  list(filter: Filter, page: { after?: Key | null; limit?: number } = {}): Page {
    const limit = page.limit ?? 1_000
    const after = page.after ?? undefined
    const { buckets, exact } = this.#narrowest(filter)
    const rows: StoredRow[] = []
    for (const bucket of buckets) {
      let taken = 0
      for (
        let pair = bucket.nextHigherPair(after);
        pair !== undefined;
        pair = bucket.nextHigherPair(pair[0])
      ) {
        if (!exact && !matches(filter, pair[1])) continue
        rows.push(pair[1])
        // One more than asked tells whether there is a next page.
        if (++taken > limit) break
      }
    }
    if (buckets.length > 1) rows.sort((a, b) => compareKeys(keyOf(a), keyOf(b)))
    const more = rows.length > limit
    if (more) rows.length = limit
    return { rows, next: more ? keyOf(rows.at(-1)!) : null }
  }

  count(filter: Filter): number {
    const { buckets, exact } = this.#narrowest(filter)
    let count = 0
    for (const bucket of buckets) {
      if (exact) count += bucket.size
      else for (const row of bucket.values()) if (matches(filter, row)) count++
    }
    return count
  }

  /** Every row, in key order. */
  rows(): IterableIterator<StoredRow> {
    return this.#all.values()
  }

  #leave(name: string, key: Key): void {
    const bucket = this.#buckets.get(name)
    bucket?.delete(key)
    if (bucket?.size === 0) this.#buckets.delete(name)
  }

  #forgetWorker(row: StoredRow): void {
    if (typeof row.worker !== 'string') return
    if (this.#buckets.has(workerBucket(row.worker, incarnationOf(row)))) return
    const known = this.#incarnations.get(row.worker)
    known?.delete(incarnationOf(row))
    if (known?.size === 0) this.#incarnations.delete(row.worker)
  }

  /** The fewest rows that hold all matches; `exact` where they are just the matches. */
  #narrowest(filter: Filter): { buckets: Bucket[]; exact: boolean } {
    const { kind, status, cluster, worker, taken, incarnation_up_to } = filter
    const present = (name: string) => {
      const bucket = this.#buckets.get(name)
      return bucket === undefined ? [] : [bucket]
    }
    if (worker !== undefined) {
      const wanted = [...(this.#incarnations.get(worker) ?? [])].filter((incarnation) => {
        if (taken !== undefined && taken !== (incarnation !== null)) return false
        return incarnation_up_to === undefined || (incarnation !== null && incarnation <= incarnation_up_to)
      })
      return {
        buckets: wanted.flatMap((incarnation) => present(workerBucket(worker, incarnation))),
        exact: kind === undefined && status === undefined && cluster === undefined,
      }
    }
    const loose = taken !== undefined || incarnation_up_to !== undefined
    if (kind !== undefined && status !== undefined)
      return { buckets: present(statusBucket(kind, status)), exact: !loose && cluster === undefined }
    if (cluster !== undefined)
      return {
        buckets: present(`cluster ${cluster}`),
        exact: !loose && kind === undefined && status === undefined,
      }
    if (kind !== undefined) return { buckets: present(`kind ${kind}`), exact: !loose && status === undefined }
    return { buckets: [this.#all], exact: !loose && status === undefined }
  }
}

const incarnationOf = (row: StoredRow): number | null =>
  typeof row.incarnation === 'number' ? row.incarnation : null
const workerBucket = (worker: string, incarnation: number | null) => `worker ${worker} ${incarnation}`
const statusBucket = (kind: string, status: string) => `status ${kind} ${status}`

function bucketsOf(row: StoredRow): string[] {
  const names = [`kind ${row.kind}`]
  if (typeof row.status === 'string') names.push(statusBucket(row.kind, row.status))
  if (typeof row.cluster === 'string') names.push(`cluster ${row.cluster}`)
  if (typeof row.worker === 'string') names.push(workerBucket(row.worker, incarnationOf(row)))
  return names
}

function matches(filter: Filter, row: StoredRow): boolean {
  const { kind, status, cluster, worker, taken, incarnation_up_to } = filter
  const incarnation = incarnationOf(row)
  return (
    (kind === undefined || row.kind === kind) &&
    (status === undefined || row.status === status) &&
    (cluster === undefined || row.cluster === cluster) &&
    (worker === undefined || row.worker === worker) &&
    (taken === undefined || taken === (incarnation !== null)) &&
    (incarnation_up_to === undefined || (incarnation !== null && incarnation <= incarnation_up_to))
  )
}

/** A copy that nobody can change. */
export function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return Object.freeze(value.map(frozen)) as T
  const copy: Record<string, unknown> = {}
  for (const name of Object.keys(value)) {
    const field = (value as Record<string, unknown>)[name]
    if (field !== undefined) copy[name] = typeof field === 'object' ? frozen(field) : field
  }
  return Object.freeze(copy) as T
}

/** A call that breaks the contract is a mistake in the program, not a conflict: it throws and changes nothing. */
export function assertChanges(
  expect: readonly Expectation[],
  changes: readonly ({ put: StoredRow } | { remove: Key })[],
): void {
  const expected = new Map(expect.map(({ key, version }) => [key, version]))
  const changed = new Set<Key>()
  for (const change of changes) {
    const key = 'put' in change ? keyOf(change.put) : change.remove
    const version = expected.get(key)
    if (version === undefined) throw new TypeError(`${key} is changed but not expected`)
    if (changed.has(key)) throw new TypeError(`${key} is changed twice in one transaction`)
    changed.add(key)
    if ('put' in change && change.put.version !== version + 1)
      throw new TypeError(
        `${key} is put with version ${change.put.version}; ${version + 1} follows the one expected`,
      )
    if ('remove' in change && version === 0)
      throw new TypeError(`${key} is removed but expected to be absent`)
  }
}
