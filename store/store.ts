// The Store contract: rows with a kind, an id and a version, changed only by compare-and-swap
// transactions that are durable when they resolve. A store knows nothing of charts, volumes or nodes.
// It may not hand out a row that is not durable, and it may not let a caller change a row in place.

/** A row as a store sees it. Frozen: a store never hands out an object that a caller could change. */
export interface StoredRow {
  readonly kind: string
  readonly id: string
  /** 1 for the first put, then +1 at every put. */
  readonly version: number
  readonly [field: string]: unknown
}

/** `kind/id`. A kind holds no slash; an id may. */
export type Key = string

export function keyOf(row: { readonly kind: string; readonly id: string }): Key {
  return `${row.kind}/${row.id}`
}

/** What a caller believes a row's version to be. Version 0: the row is absent. */
export interface Expectation {
  readonly key: Key
  readonly version: number
}

/** A put carries the whole next row, with `version` one above the version expected of its key. */
export type Change = { readonly put: StoredRow } | { readonly remove: Key }

export interface Committed {
  readonly ok: true
  /** Place in the commit order, counted from 1 and never reused, not even across reopening. */
  readonly offset: number
}

/** Nothing was changed. `found` shows durable state only; null where the row is absent. */
export interface Conflict {
  readonly ok: false
  readonly conflicts: readonly {
    readonly key: Key
    readonly expected: number
    readonly found: StoredRow | null
  }[]
}

/** One committed transaction, as the change feed tells it. A removed row is `row: null`. */
export interface Commit {
  readonly offset: number
  readonly changes: readonly { readonly key: Key; readonly row: StoredRow | null }[]
}

/**
 * Every field given must match. `worker`, `incarnation`, `status` and `cluster` are fields of the row;
 * `taken` asks whether the row's `incarnation` is a number (true) or null (false): the text of `worker`
 * alone never tells (rule R17). `incarnation_up_to` matches taken rows whose incarnation is at most that.
 * Served by index: kind, kind + status, cluster, worker (with `taken`, `incarnation_up_to`).
 */
export interface Filter {
  readonly kind?: string
  readonly status?: string
  readonly cluster?: string
  readonly worker?: string
  readonly taken?: boolean
  readonly incarnation_up_to?: number
}

export interface Page {
  readonly rows: readonly StoredRow[]
  /** Give it as `after` to go on; null at the end. */
  readonly next: Key | null
}

export interface Store {
  /** True where one process owns the store, so that a life that does not run here is over (rule R11). */
  readonly exclusive: boolean

  /** The durable row, or undefined. Rejects with `store_lost` once the store is lost or closed. */
  get(key: Key): Promise<StoredRow | undefined>

  /** Rows that match, in key order, at most `limit` (default 1,000). Not a snapshot across pages. */
  list(filter: Filter, page?: { readonly after?: Key | null; readonly limit?: number }): Promise<Page>

  /** How many rows match. */
  count(filter: Filter): Promise<number>

  /**
   * All or nothing, durable when it resolves. Every changed key is in `expect`; an expectation on a row
   * that is not changed binds as well (no write skew). Three outcomes: committed, conflict (nothing
   * changed), or a rejection: `store_refused` where nothing was written and the store goes on (disk full,
   * read-only), `store_lost` where the outcome is unknown and only reopening decides.
   * Transactions of one process commit in the order of their calls wherever they touch the same row.
   */
  transact(expect: readonly Expectation[], changes: readonly Change[]): Promise<Committed | Conflict>

  /** The offset of the last durable commit. */
  offset(): number

  /**
   * Committed changes in commit order, from `from + 1` on (the past first, then the live ones), each
   * exactly once. The last 100,000 commits are kept; an older `from` throws `offset_too_old`.
   * The listener runs synchronously after the commit is durable; one that throws is not told again.
   */
  watch(from: number, listener: (commit: Commit) => void): () => void

  /** Called at most once, when the store can no longer promise anything. Not called by `close`. */
  onLost(listener: (cause: unknown) => void): void

  /** Waits for pending transactions, then releases everything. Idempotent. */
  close(): Promise<void>
}

/** A place where a store lives. `open` may be called again after the store it gave was lost or closed. */
export interface StoreSource {
  /** Names the place in messages: a folder, a URL without secrets. */
  readonly name: string
  open(): Promise<Store>
}
