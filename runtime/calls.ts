// The driver calls of this process that have not settled. An abort is advice: a call may run on after its
// node is over, so its resource is not released, nor claimed again here, before it has settled or the
// backend's mark has been raised (rule R18).

import { holdRefs, type Types } from '../machines/decision.ts'
import type { ResourceRow } from '../machines/row.ts'
import { type Key, keyOf } from '../store/store.ts'

/** One call of a driver's method, from its start until it settles. */
export interface Call {
  readonly key: Key
  /** The resources that its effects reach: its own and those that the operation holds. */
  readonly touches: readonly Key[]
  readonly fence: number
  /** `host@backend` of the node that made it. */
  readonly worker: string
  readonly abort: Abort
  /** The driver can fence: raising the mark makes the call harmless. */
  readonly can_fence: boolean
  /** When it was aborted, by the environment's wall clock; null while it may run. */
  aborted_at: number | null
}

/** An abort that may come, once. The signal is made when a driver looks at it: making one costs 2 µs. */
export class Abort {
  /** Null until it comes. */
  reason: Error | null = null
  #controller: AbortController | null = null
  readonly #listeners: ((reason: Error) => void)[] = []

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController()
      if (this.reason !== null) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  abort(reason: Error): void {
    if (this.reason !== null) return
    this.reason = reason
    for (const listener of this.#listeners.splice(0)) listener(reason)
    this.#controller?.abort(reason)
  }

  /** Calls `listener` when it comes, at once where it has come. */
  onAbort(listener: (reason: Error) => void): void {
    if (this.reason !== null) listener(this.reason)
    else this.#listeners.push(listener)
  }

  /** What was promised, or the abort, whichever comes first: a backend that does not answer holds nobody for ever. */
  orAborted<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onAbort(reject)
      promise.then(resolve, reject)
    })
  }
}

/** The resources that the row's operation works on: its own and those it holds. */
export function touchedBy(types: Types, row: ResourceRow): readonly Key[] {
  if (row.operation === null) return [keyOf(row)]
  return [keyOf(row), ...holdRefs(types, row.kind, row.operation.name, row.operation.input).map(keyOf)]
}

export class Calls {
  /** By each resource that they touch. */
  readonly #byKey = new Map<Key, Set<Call>>()
  readonly #now: () => number
  readonly #onSettled: (key: Key) => void

  /** `onSettled` hears of every call that ended after an abort: its resource may be claimable again. */
  constructor(now: () => number, onSettled: (key: Key) => void) {
    this.#now = now
    this.#onSettled = onSettled
  }

  begin(call: Omit<Call, 'aborted_at'>): Call {
    const begun: Call = { ...call, aborted_at: null }
    for (const key of call.touches) {
      const calls = this.#byKey.get(key)
      if (calls === undefined) this.#byKey.set(key, new Set([begun]))
      else calls.add(begun)
    }
    return begun
  }

  settled(call: Call): void {
    for (const key of call.touches) {
      const calls = this.#byKey.get(key)
      if (calls?.delete(call) !== true) continue
      if (calls.size === 0) this.#byKey.delete(key)
      if (call.aborted_at !== null) this.#onSettled(key)
    }
  }

  abort(call: Call, reason: Error): void {
    if (call.aborted_at !== null) return
    call.aborted_at = this.#now()
    call.abort.abort(reason)
  }

  /** Calls of this process run on the resource. */
  has(key: Key): boolean {
    return this.#byKey.has(key)
  }

  hasSettled(call: Call): boolean {
    return this.#byKey.get(call.key)?.has(call) !== true
  }

  /** Aborts the calls for a resource's own operation up to this fence. */
  abortUpTo(key: Key, fence: number, reason: Error): void {
    for (const call of this.#byKey.get(key) ?? [])
      if (call.key === key && call.fence <= fence) this.abort(call, reason)
  }

  /** A call that nothing at the backend can stop still runs, so the resource may not change hands. */
  holds(key: Key): boolean {
    for (const call of this.#byKey.get(key) ?? []) if (!call.can_fence) return true
    return false
  }

  /** Calls that were aborted and have not settled. */
  leftovers(): readonly Call[] {
    const all = new Set([...this.#byKey.values()].flatMap((calls) => [...calls]))
    return [...all].filter((call) => call.aborted_at !== null)
  }
}
