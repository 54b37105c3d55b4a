// What the page knows of one world: its rows, its nodes, the steps that led there, and the moment that is shown.
// Fed by the feed; told to the screen once a frame. Stepping back undoes steps on a copy of what they changed:
// the present goes on arriving underneath.

import type { Caption, Hello, Pulse } from '../feed.ts'
import type { Brief, ClusterBrief, ServiceBrief, Step as WireStep } from '../step.ts'

export type { Brief, Caption, ClusterBrief, Pulse, ServiceBrief }
export type Row = Brief | ServiceBrief | ClusterBrief

export interface Step extends WireStep {
  /** What the row was before; undefined where the page does not know. */
  readonly before: Row | null | undefined
}

export interface Operation {
  readonly name: string
  readonly from: 'any' | readonly string[]
  readonly force: boolean
  readonly description: string
  readonly input: Schema | null
}

export interface Schema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly properties?: { readonly [name: string]: Schema }
  readonly required?: readonly string[]
  readonly description?: string
  readonly anyOf?: readonly Schema[]
}

export interface Kind {
  readonly kind: string
  readonly rest: readonly string[]
  readonly transitional: readonly string[]
  readonly held: readonly string[]
  readonly operations: readonly Operation[]
}

/** `live`: what is shown is what is. `lost`: it may be stale, and says so. */
export type Liveness = 'connecting' | 'live' | 'lost'

const MOST_STEPS = 20_000
/** A key, so that a map of maps is not needed. */
const keyOf = (row: { kind: string; id: string }) => `${row.kind}/${row.id}`

export class World {
  kinds: readonly Kind[] = []
  /** Of each kind in the order of coming: what is new is at the end. */
  readonly #rows = new Map<string, Brief[]>()
  readonly #place = new Map<string, number>()
  readonly #counts = new Map<string, Map<string, number>>()
  readonly services = new Map<string, ServiceBrief>()
  readonly steps: Step[] = []
  pulse: Pulse | null = null
  caption: Caption | null = null
  liveness: Liveness = 'connecting'
  lostAt: number | null = null
  offset = 0
  since = 0
  loaded = false
  /** The step after which the page stands still; null: the present. */
  cursor: Step | null = null
  /** How rows that changed since were at the cursor. */
  #then = new Map<string, Row | null>()
  /** Counts the changes of rows: what is worked out of them is worked out anew. */
  revision = 0
  #told = false
  readonly #listeners = new Set<() => void>()

  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Once a frame, however much changed; a hidden page has no frames, and needs none. */
  tell(): void {
    if (this.#told) return
    this.#told = true
    requestAnimationFrame(() => {
      this.#told = false
      for (const listener of this.#listeners) listener()
    })
  }

  // ---- the present ----

  clear(): void {
    this.#rows.clear()
    this.#place.clear()
    this.#counts.clear()
    this.services.clear()
    this.steps.length = 0
    this.#then.clear()
    this.cursor = null
    this.loaded = false
    this.revision++
  }

  hello({ offset, since, steps }: Hello): void {
    this.since = since
    this.apply(steps)
    this.offset = Math.max(this.offset, offset)
    this.tell()
  }

  apply(steps: readonly WireStep[]): void {
    for (const step of steps) this.#step(step)
    if (this.steps.length > MOST_STEPS * 1.25) {
      this.steps.splice(0, this.steps.length - MOST_STEPS)
      if (this.cursor !== null && !this.steps.includes(this.cursor)) this.go(this.steps[0] ?? null)
    }
    this.offset = Math.max(this.offset, steps.at(-1)?.offset ?? 0)
    this.tell()
  }

  #step(step: WireStep): void {
    const before = this.#set(step.key, step.row)
    this.steps.push({ ...step, before })
    if (this.cursor !== null && !this.#then.has(step.key) && before !== undefined)
      this.#then.set(step.key, before)
  }

  /** Rows as read page by page; what the feed told of a row meanwhile is later. */
  load(rows: readonly Brief[]): void {
    for (const row of rows) {
      const place = this.#place.get(keyOf(row))
      const known = place === undefined ? undefined : this.#rows.get(row.kind)?.[place]
      if (known === undefined || known.version < row.version) this.#set(keyOf(row), row)
    }
    this.tell()
  }

  /** All are read: in the order of their ids, which is that of their making. */
  settle(): void {
    for (const [kind, rows] of this.#rows) {
      rows.sort((a, b) => (a.id < b.id ? -1 : 1))
      for (const [place, { id }] of rows.entries()) this.#place.set(`${kind}/${id}`, place)
    }
    this.loaded = true
    this.revision++
    this.tell()
  }

  #set(key: string, row: Row | null): Row | null | undefined {
    this.revision++
    const kind = key.slice(0, key.indexOf('/'))
    if (kind === 'service') {
      const before = this.services.get(key)
      if (row === null) this.services.delete(key)
      else this.services.set(key, row as ServiceBrief)
      return before
    }
    if (kind === 'cluster') return undefined
    const rows = this.#rows.get(kind) ?? []
    this.#rows.set(kind, rows)
    const place = this.#place.get(key)
    const before = place === undefined ? undefined : rows[place]
    // Removed rows stay in their place as gone ones: nothing else has to move.
    const next =
      row === null
        ? before === undefined
          ? null
          : { ...before, status: 'gone', path: 'gone' }
        : (row as Brief)
    if (next === null) return undefined
    if (place === undefined) {
      this.#place.set(key, rows.length)
      rows.push(next)
    } else rows[place] = next
    this.#count(kind, before?.status, next.status)
    if (before === undefined) return next.version === 1 ? null : undefined
    return before
  }

  #count(kind: string, from: string | undefined, to: string): void {
    if (from === to) return
    const counts = this.#counts.get(kind) ?? new Map<string, number>()
    this.#counts.set(kind, counts)
    if (from !== undefined) counts.set(from, (counts.get(from) ?? 0) - 1)
    counts.set(to, (counts.get(to) ?? 0) + 1)
  }

  // ---- the moment shown ----

  get isPast(): boolean {
    return this.cursor !== null
  }

  /** Stands still after this step; null: goes with the present. */
  go(step: Step | null): void {
    this.cursor = step
    this.#then = new Map()
    if (step !== null)
      for (let i = this.steps.length - 1; i >= 0 && this.steps[i] !== step; i--) {
        const { key, before } = this.steps[i]!
        if (before !== undefined) this.#then.set(key, before)
      }
    this.revision++
    this.tell()
  }

  /** The place of the cursor among the steps; the last one's while it is the present. */
  get at(): number {
    return this.cursor === null ? this.steps.length - 1 : this.steps.lastIndexOf(this.cursor)
  }

  /** One step back or forward; forward of the last is the present. */
  move(by: number): void {
    const next = this.at + by
    if (next >= this.steps.length) this.go(null)
    else this.go(this.steps[Math.max(0, next)] ?? null)
  }

  /** The resources of a kind as they were at the moment shown. */
  rows(kind: string): readonly Brief[] {
    const rows = this.#rows.get(kind) ?? []
    if (this.#then.size === 0) return rows
    return rows.flatMap((row) => {
      const then = this.#then.get(keyOf(row))
      return then === undefined ? [row] : then === null ? [] : [then as Brief]
    })
  }

  row(kind: string, id: string): Brief | null {
    const key = `${kind}/${id}`
    const then = this.#then.get(key)
    if (then !== undefined) return then as Brief | null
    const place = this.#place.get(key)
    return place === undefined ? null : (this.#rows.get(kind)?.[place] ?? null)
  }

  counts(kind: string): ReadonlyMap<string, number> {
    const counts = this.#counts.get(kind) ?? new Map<string, number>()
    if (this.#then.size === 0) return counts
    const shown = new Map(counts)
    for (const [key, then] of this.#then) {
      if (!key.startsWith(`${kind}/`)) continue
      const now = this.#rows.get(kind)?.[this.#place.get(key) ?? -1]
      if (now !== undefined) shown.set(now.status, (shown.get(now.status) ?? 0) - 1)
      if (then !== null) shown.set((then as Brief).status, (shown.get((then as Brief).status) ?? 0) + 1)
    }
    return shown
  }

  /** What a node's service row said at the moment shown; undefined in the present, where the pulse says more. */
  serviceThen(address: string): ServiceBrief | null | undefined {
    if (this.cursor === null) return undefined
    for (const [key, then] of this.#then)
      if (key.startsWith('service/') && then !== null && (then as ServiceBrief).address === address)
        return then as ServiceBrief
    return [...this.services.values()].find((service) => service.address === address)
  }

  /** Those of one resource, or all, up to the moment shown. */
  stepsOf(key: string): readonly Step[] {
    const last = this.cursor
    const mine: Step[] = []
    for (const step of this.steps) {
      if (step.key === key) mine.push(step)
      if (step === last) break
    }
    return mine
  }
}
