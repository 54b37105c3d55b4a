// Every decision of a simulated run, drawn from one seed and written down, so that a run can be repeated
// from its seed or from the list itself.

export class Choices {
  /** What was chosen, in order. */
  readonly made: number[] = []
  #state: number

  constructor(seed: number) {
    // Neighbouring seeds must not begin alike.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) >>> 0
    for (let i = 0; i < 8; i++) this.#next()
  }

  /** A whole number from 0 to count - 1. */
  of(count: number): number {
    const choice = Math.floor(this.#next() * count)
    this.made.push(choice)
    return choice
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    const choice = this.#next() < probability
    this.made.push(choice ? 1 : 0)
    return choice
  }

  pick<T>(list: readonly T[]): T {
    return list[this.of(list.length)]!
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
