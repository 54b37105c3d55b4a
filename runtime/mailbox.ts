// The mailbox of a topic: doorbells that say "look at this resource". A doorbell carries nothing else, so
// losing, doubling or reordering one harms nobody: the row is the message and the sweep rings again (rules
// R3, R4). Putting never blocks; a full mailbox drops (rule R9).

import type { Key } from '../store/store.ts'

export class Mailbox {
  readonly capacity: number
  /** Doorbells dropped because the mailbox was full. */
  dropped = 0
  readonly #keys = new Set<Key>()
  /** Nodes with room, in the order in which they asked. */
  readonly #waiting = new Set<() => boolean>()

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size(): number {
    return this.#keys.size
  }

  /** Rings for a resource; a doorbell that is there already is the same doorbell. */
  put(key: Key): void {
    if (this.#keys.size >= this.capacity && !this.#keys.has(key)) {
      this.dropped++
      return
    }
    this.#keys.add(key)
    this.#wakeNext()
  }

  /** The oldest doorbell, or undefined. */
  take(): Key | undefined {
    const [key] = this.#keys
    if (key !== undefined) this.#keys.delete(key)
    return key
  }

  /**
   * Calls `wake` when there is a doorbell, nodes in the order in which they asked. A node that answers false
   * can't take it now and has to ask again later; the next one is woken.
   */
  wait(wake: () => boolean): void {
    this.#waiting.add(wake)
    if (this.#keys.size > 0) this.#wakeNext()
  }

  /** Takes a waiting node out. */
  leave(wake: () => boolean): void {
    this.#waiting.delete(wake)
  }

  #wakeNext(): void {
    for (const wake of this.#waiting) {
      this.#waiting.delete(wake)
      if (wake()) return
    }
  }
}
