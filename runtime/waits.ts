// Who waits for the end of an operation. An operation is named by its resource and the version at which it
// was accepted; the first durable row in which it no longer stands tells how it ended. A wait outlives a
// lost store; only the runtime's stop rejects it.

import { FORCED } from '../machines/resource.ts'
import type { RequestRow, ResourceRow, RowError } from '../machines/row.ts'
import { type Key, keyOf, type Store } from '../store/store.ts'
import { requestKey } from './commit.ts'

/** How an operation ended. `row` is the resource at that moment. */
export type Settled =
  | { readonly ok: true; readonly row: ResourceRow }
  | { readonly ok: false; readonly error: RowError; readonly row: ResourceRow }

class Wait {
  readonly version: number
  readonly request_id: string | null
  /** A commit before the operation's end, by the store's feed. */
  readonly since: number
  readonly promise: Promise<Settled>
  resolve!: (settled: Settled) => void
  reject!: (error: Error) => void

  constructor(version: number, request_id: string | null, since: number) {
    this.version = version
    this.request_id = request_id
    this.since = since
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  /** The operation no longer stands in this row. */
  isEndedIn(row: ResourceRow): boolean {
    return row.version >= this.version && row.operation?.accepted_version !== this.version
  }
}

export class Waits {
  readonly #byKey = new Map<Key, Set<Wait>>()

  /**
   * The end of the operation accepted at this version of the row. `since` is a commit before that end, or
   * any where the request row tells of it.
   */
  async settled(
    store: () => Store,
    row: ResourceRow,
    version: number,
    request_id: string | null,
    since: number,
  ): Promise<Settled> {
    // An instant operation is done with its accept; an error in the row is that of what it interrupted.
    if (row.version === version && row.operation === null) return { ok: true, row }
    const key = keyOf(row)
    const waits = this.#byKey.get(key) ?? new Set<Wait>()
    // However often it is asked for, one operation is one wait.
    for (const earlier of waits) if (earlier.version === version) return earlier.promise
    const wait = new Wait(version, request_id, since)
    waits.add(wait)
    this.#byKey.set(key, waits)
    // Listening first, looking second: an end between the two is not missed.
    await this.#look(store, key, wait).catch(() => {})
    return wait.promise
  }

  /** Resources with an operation whose end is waited for. */
  get size(): number {
    return this.#byKey.size
  }

  /** A durable change of a resource. */
  see(key: Key, row: ResourceRow): void {
    const waits = this.#byKey.get(key)
    if (waits === undefined) return
    for (const wait of waits) {
      if (!wait.isEndedIn(row)) continue
      waits.delete(wait)
      wait.resolve(endOf(row))
    }
    if (waits.size === 0) this.#byKey.delete(key)
  }

  /** After the store was lost: what happened meanwhile was not seen. */
  async lookAgain(store: () => Store): Promise<void> {
    for (const [key, waits] of this.#byKey)
      for (const wait of waits) await this.#look(store, key, wait).catch(() => {})
  }

  rejectAll(error: Error): void {
    for (const waits of this.#byKey.values()) for (const { reject } of waits) reject(error)
    this.#byKey.clear()
  }

  async #look(store: () => Store, key: Key, wait: Wait): Promise<void> {
    // The resource may have moved on since; the request row remembers how this operation ended.
    const request =
      wait.request_id === null
        ? undefined
        : ((await store().get(requestKey(wait.request_id))) as RequestRow | undefined)
    const row = (await store().get(key)) as unknown as ResourceRow | undefined
    if (row === undefined) return
    if (request?.settled != null) return this.#end(key, wait, request.settled.error, row)
    if (wait.isEndedIn(row)) this.#tellAgain(store(), key, wait.since)
    this.see(key, row)
  }

  #end(key: Key, wait: Wait, error: RowError | null, row: ResourceRow): void {
    const waits = this.#byKey.get(key)
    waits?.delete(wait)
    if (waits?.size === 0) this.#byKey.delete(key)
    wait.resolve(error === null ? { ok: true, row } : { ok: false, error, row })
  }

  /** The rows of the past, of which one is the end: the row of now may be that of a later operation. */
  #tellAgain(store: Store, key: Key, since: number): void {
    try {
      const stop = store.watch(since, ({ changes }) => {
        for (const change of changes)
          if (change.key === key && change.row !== null) this.see(key, change.row as unknown as ResourceRow)
      })
      stop()
    } catch {
      // No longer kept: the row of now is all there is.
    }
  }
}

function endOf(row: ResourceRow): Settled {
  if (row.operation !== null)
    return {
      ok: false,
      error: { code: 'forced', message: FORCED, at: row.updated_at },
      row,
    }
  return row.error === null ? { ok: true, row } : { ok: false, error: row.error, row }
}
