// A world whose time stands still until it is told to move: timers fire in order, and between two of them
// everything that can go on without time does. It may not look at the real clock.

import type { Environment, Timer } from '../../runtime/environment.ts'

interface Pending {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class VirtualEnvironment implements Environment {
  #now = 0
  #order = 0
  #ids = 0
  readonly #pending = new Set<Pending>()

  now(): number {
    return 1_700_000_000_000 + this.#now
  }

  monotonic(): number {
    return this.#now
  }

  timer(ms: number, run: () => void): Timer {
    const pending = { at: this.#now + Math.max(0, ms), order: this.#order++, run }
    this.#pending.add(pending)
    return { clear: () => this.#pending.delete(pending) }
  }

  id(): string {
    return `id${String(++this.#ids).padStart(6, '0')}`
  }

  /** Lets everything run that waits for promises only. */
  async settle(): Promise<void> {
    // A macrotask comes after every microtask that is queued, however long the chain.
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Moves time on, timer by timer. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    await this.settle()
    for (let next = this.#next(until); next !== null; next = this.#next(until)) {
      this.#pending.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
      await this.settle()
    }
    // Another call may have moved it further meanwhile.
    this.#now = Math.max(this.#now, until)
  }

  /** A stalled process: time passes, no timer fires; then all that are due fire in one turn. */
  async stall(ms: number): Promise<void> {
    this.#now += ms
    const due = [...this.#pending].filter(({ at }) => at <= this.#now).sort(inOrder)
    for (const pending of due) if (this.#pending.delete(pending)) pending.run()
    await this.settle()
  }

  /** Moves time on until the promise settles; fails after `within_ms` of virtual time. */
  async until<T>(promise: Promise<T>, within_ms = 60_000): Promise<T> {
    let settled = false
    const watched = promise.finally(() => {
      settled = true
    })
    watched.catch(() => {})
    for (let passed = 0; passed < within_ms; passed += 50) {
      await this.settle()
      if (settled) return watched
      await this.advance(50)
    }
    throw new Error(`nothing settled within ${within_ms} ms of virtual time`)
  }

  #next(until: number): Pending | null {
    let next: Pending | null = null
    for (const pending of this.#pending)
      if (pending.at <= until && (next === null || inOrder(pending, next) < 0)) next = pending
    return next
  }
}

function inOrder(a: Pending, b: Pending): number {
  return a.at - b.at || a.order - b.order
}
