// Who waits for the end of an operation. An operation is named by its resource and the version at which it
// was accepted; the first durable row in which it no longer stands tells how it ended. A wait outlives a
// lost store; only the runtime's stop rejects it.

import type { Ref, RequestRow, ResourceRow, RowError } from '../machines/row.ts'
import { type Key, keyOf, type Store } from '../store/store.ts'
import { requestKey } from './commit.ts'

/** How an operation ended. `row` is the resource at that moment. */
export type Settled =
  | { readonly ok: true; readonly row: ResourceRow }
  | { readonly ok: false; readonly error: RowError; readonly row: ResourceRow }

class Wait {
  readonly version: number
  readonly promise: Promise<Settled>
  resolve!: (settled: Settled) => void
  reject!: (error: Error) => void

  constructor(version: number) {
    this.version = version
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}

export class Waits {
  readonly #byKey = new Map<Key, Set<Wait>>()

  /** The end of the operation accepted at this version. */
  async settled(store: () => Store, ref: Ref, version: number, request_id: string | null): Promise<Settled> {
    const key = keyOf(ref)
    const waits = this.#byKey.get(key) ?? new Set<Wait>()
    // However often it is asked for, one operation is one wait.
    for (const earlier of waits) if (earlier.version === version) return earlier.promise
    const wait = new Wait(version)
    waits.add(wait)
    this.#byKey.set(key, waits)
    // Listening first, looking second: an end between the two is not missed.
    await this.#look(store, key, version, request_id).catch(() => {})
    return wait.promise
  }

  /** A durable change of a resource. */
  see(row: ResourceRow): void {
    const key = keyOf(row)
    const waits = this.#byKey.get(key)
    if (waits === undefined) return
    for (const wait of waits) {
      if (row.version < wait.version || row.operation?.accepted_version === wait.version) continue
      waits.delete(wait)
      wait.resolve(endOf(row))
    }
    if (waits.size === 0) this.#byKey.delete(key)
  }

  /** After the store was lost: what happened meanwhile was not seen. */
  async lookAgain(store: () => Store): Promise<void> {
    for (const [key, waits] of this.#byKey)
      for (const { version } of waits) await this.#look(store, key, version, null).catch(() => {})
  }

  rejectAll(error: Error): void {
    for (const waits of this.#byKey.values()) for (const { reject } of waits) reject(error)
    this.#byKey.clear()
  }

  async #look(store: () => Store, key: Key, version: number, request_id: string | null): Promise<void> {
    const row = (await store().get(key)) as unknown as ResourceRow | undefined
    if (row === undefined) return
    // The resource may have moved on since; the request row remembers how this operation ended.
    const request =
      request_id === null
        ? undefined
        : ((await store().get(requestKey(request_id))) as RequestRow | undefined)
    const waits = this.#byKey.get(key)
    if (request?.settled != null && waits !== undefined) {
      const { error } = request.settled
      for (const wait of [...waits].filter((w) => w.version === version)) {
        waits.delete(wait)
        wait.resolve(error === null ? { ok: true, row } : { ok: false, error, row })
      }
    }
    this.see(row)
  }
}

function endOf(row: ResourceRow): Settled {
  if (row.operation !== null)
    return {
      ok: false,
      error: { code: 'forced', message: 'a force operation took its place', at: row.updated_at },
      row,
    }
  return row.error === null ? { ok: true, row } : { ok: false, error: row.error, row }
}
