// Turns at a row that many commits of this process want at once. Each of them that loses a swap would read
// and decide again only to lose to the next, which costs a thousand commits a million tries; in a queue
// each wins once. It is about cost alone: the swap still decides, here and between processes.

import type { Key } from '../store/store.ts'

export class Turns {
  readonly #last = new Map<Key, Promise<void>>()

  /** Resolves, first come first served, with what gives the turn to the next. */
  async take(key: Key): Promise<() => void> {
    const before = this.#last.get(key)
    let done: () => void = () => {}
    const mine = new Promise<void>((resolve) => {
      done = resolve
    })
    this.#last.set(key, mine)
    await before
    return () => {
      if (this.#last.get(key) === mine) this.#last.delete(key)
      done()
    }
  }
}
