// The rows in memory with their indexes, shared by the memory and the JSON store. It may not await, and it
// holds durable rows only: a store applies a transaction here once it is on disk. The cost of a change
// grows with the logarithm of the rows, so it is flat for what a folder can hold.

import type { Filter, Key, Page, StoredRow } from './store.ts'

/** A longer chunk is cut in two. */
const MOST_IN_CHUNK = 1_024

/** A row with its place in the key order. Every index holds this object, and so one string a key. */
interface Entry {
  readonly key: Key
  row: StoredRow
  chunk: Chunk
}

/** Neighbours in the key order. None is empty, and all keys of one are below those of the next. */
interface Chunk {
  readonly entries: Entry[]
}

/**
 * Rows by key and in key order, with indexes. Only a row that comes or goes is searched for in the key order:
 * two binary searches, and a move of a few hundred pointers. A change of a row moves it between buckets of its
 * chunk, which costs the same among a thousand rows and a million.
 */
export class Table {
  readonly #entries = new Map<Key, Entry>()
  readonly #chunks: Chunk[] = []
  readonly #mostInChunk: number
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

  constructor(mostInChunk = MOST_IN_CHUNK) {
    this.#mostInChunk = mostInChunk
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: Key): StoredRow | undefined {
    return this.#entries.get(key)?.row
  }

  version(key: Key): number {
    return this.#entries.get(key)?.row.version ?? 0
  }

  /** The last key in key order. */
  last(): Key | undefined {
    return this.#chunks.at(-1)?.entries.at(-1)?.key
  }

  /** Puts (frozen) or removes one row and keeps every index. */
  set(key: Key, row: StoredRow | null): void {
    const entry = this.#entries.get(key)
    if (row === null) {
      if (entry !== undefined) this.#remove(entry)
    } else if (entry === undefined) {
      this.#add(key, row)
    } else {
      const before = entry.row
      entry.row = row
      for (const index of this.#indexes) index.change(entry, before, row)
    }
  }

  list(filter: Filter, page: { after?: Key | null; limit?: number } = {}): Page {
    const limit = page.limit ?? 1_000
    const after = page.after ?? null
    const rows: StoredRow[] = []
    let last: Key | null = null
    const { buckets, exact } = this.#narrowest(filter)
    for (let index = after === null ? 0 : this.#chunkOf(after); index < this.#chunks.length; index++) {
      for (const { key, row } of membersOf(this.#chunks[index]!, buckets)) {
        if ((after !== null && key <= after) || (!exact && !matches(filter, row))) continue
        // One more than asked tells that there is a next page.
        if (rows.length === limit) return { rows, next: last }
        rows.push(row)
        last = key
      }
    }
    return { rows, next: null }
  }

  count(filter: Filter): number {
    const { buckets, exact } = this.#narrowest(filter)
    if (exact) return buckets === null ? this.size : sizeOf(buckets)
    let count = 0
    for (const chunk of this.#chunks)
      for (const { row } of membersOf(chunk, buckets)) if (matches(filter, row)) count++
    return count
  }

  /** Rows from the key `from` (included; undefined: the first) up to `to` (left out), in key order, at most `most`. */
  range(from: Key | undefined, to: Key | undefined, most: number): StoredRow[] {
    const rows: StoredRow[] = []
    let index = from === undefined ? 0 : this.#chunkOf(from)
    let place = from === undefined || index === this.#chunks.length ? 0 : placeIn(this.#chunks[index]!, from)
    for (; index < this.#chunks.length; index++, place = 0) {
      for (const { entries } = this.#chunks[index]!; place < entries.length; place++) {
        const { key, row } = entries[place]!
        if (rows.length === most || (to !== undefined && key >= to)) return rows
        rows.push(row)
      }
    }
    return rows
  }

  #add(key: Key, row: StoredRow): void {
    const index = this.#chunkOf(key)
    const found = this.#chunks[index]
    const chunk = found ?? { entries: [] }
    if (found === undefined) this.#chunks.push(chunk)
    const entry = { key, row, chunk }
    this.#entries.set(key, entry)
    // Rows that come in key order, as they do when a folder is opened, are found at the end at once.
    const { entries } = chunk
    const place = entries.length === 0 || entries.at(-1)!.key < key ? entries.length : placeIn(chunk, key)
    entries.splice(place, 0, entry)
    for (const index of this.#indexes) index.change(entry, null, row)
    // After rows in order the chunk stays full, else both halves have room for what comes between.
    if (entries.length > this.#mostInChunk)
      this.#cut(index, place === this.#mostInChunk ? place : this.#mostInChunk >> 1)
  }

  #remove(entry: Entry): void {
    for (const index of this.#indexes) index.change(entry, entry.row, null)
    this.#entries.delete(entry.key)
    const { entries } = entry.chunk
    if (entries.length === 1) this.#chunks.splice(this.#chunkOf(entry.key), 1)
    else entries.splice(placeIn(entry.chunk, entry.key), 1)
  }

  #cut(index: number, place: number): void {
    const entries = this.#chunks[index]!.entries.splice(place)
    const chunk = { entries }
    this.#chunks.splice(index + 1, 0, chunk)
    for (const entry of entries) {
      for (const index of this.#indexes) index.change(entry, entry.row, null)
      entry.chunk = chunk
      for (const index of this.#indexes) index.change(entry, null, entry.row)
    }
  }

  /** The last chunk that begins at the key or below; the first one if none does. */
  #chunkOf(key: Key): number {
    let low = 0
    let high = this.#chunks.length
    if (high > 1 && this.#chunks[high - 1]!.entries[0]!.key <= key) return high - 1
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (this.#chunks[middle]!.entries[0]!.key <= key) low = middle
      else high = middle
    }
    return low
  }

  /** The index that holds the fewest rows besides the matches, null for all rows; `exact`: just the matches. */
  #narrowest(filter: Filter): { buckets: readonly Bucket[] | null; exact: boolean } {
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
      return { buckets: null, exact: taken === undefined && incarnation_up_to === undefined }
    return candidates.reduce((a, b) => (sizeOf(b.buckets) < sizeOf(a.buckets) ? b : a))
  }
}

/** Entries with the same values in the fields of an index, by chunk. */
class Bucket {
  readonly #members = new Map<Chunk, Set<Entry>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  in(chunk: Chunk): Iterable<Entry> {
    return this.#members.get(chunk) ?? []
  }

  add(entry: Entry): void {
    this.#size++
    const members = this.#members.get(entry.chunk)
    if (members === undefined) this.#members.set(entry.chunk, new Set([entry]))
    else members.add(entry)
  }

  remove(entry: Entry): void {
    this.#size--
    const members = this.#members.get(entry.chunk)!
    members.delete(entry)
    if (members.size === 0) this.#members.delete(entry.chunk)
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
    const left = before === null ? null : this.#outer(before)
    const leftInner = before === null ? null : this.#inner(before)
    const entered = after === null ? null : this.#outer(after)
    const enteredInner = after === null ? null : this.#inner(after)
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
      bucket = new Bucket()
      family.set(inner, bucket)
    }
    bucket.add(entry)
  }

  /** Empty buckets go, so that incarnations long over cost nothing. */
  #leave(outer: string, inner: unknown, entry: Entry): void {
    const family = this.#buckets.get(outer)!
    const bucket = family.get(inner)!
    bucket.remove(entry)
    if (bucket.size === 0) family.delete(inner)
    if (family.size === 0) this.#buckets.delete(outer)
  }
}

const sizeOf = (buckets: readonly Bucket[]): number => buckets.reduce((sum, bucket) => sum + bucket.size, 0)

/** The entries of a chunk that are in one of the buckets, which hold none twice, in key order. */
function membersOf(chunk: Chunk, buckets: readonly Bucket[] | null): readonly Entry[] {
  if (buckets === null) return chunk.entries
  const members: Entry[] = []
  for (const bucket of buckets) members.push(...bucket.in(chunk))
  return members.sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** Where the key is in a chunk, or would be. */
function placeIn({ entries }: Chunk, key: Key): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (entries[middle]!.key < key) low = middle + 1
    else high = middle
  }
  return low
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
