// How a state is laid out: named groups of small numbers, each of a few bits, and how they are packed into
// words. A number that does not fit is an assertion, never a silent wrap. It knows nothing of what the
// numbers mean.

import assert from 'node:assert/strict'

/** A group of fields that stands in a state `count` times. */
export interface Group {
  /** Where the first of them begins. */
  readonly start: number
  readonly count: number
  /** Fields of one. */
  readonly size: number
}

export class Layout {
  readonly #bits: number[] = []
  readonly #names: string[] = []
  #plan: { word: number; shift: number; mask: number }[] | null = null
  #words = 0

  /** Adds `count` times these fields, each with its bits; says where they are. */
  group(name: string, count: number, fields: { readonly [field: string]: number }): Group {
    assert(this.#plan === null)
    const start = this.#bits.length
    for (let i = 0; i < count; i++)
      for (const [field, bits] of Object.entries(fields)) {
        this.#bits.push(bits)
        this.#names.push(`${name} ${i + 1} ${field}`)
      }
    return { start, count, size: Object.keys(fields).length }
  }

  /** Numbers of a state. */
  get length(): number {
    return this.#bits.length
  }

  /** Words of a packed state. No field crosses a word. */
  get words(): number {
    this.#planned()
    return this.#words
  }

  #planned() {
    if (this.#plan !== null) return this.#plan
    let word = 0
    let shift = 0
    this.#plan = this.#bits.map((bits) => {
      if (shift + bits > 32) {
        word++
        shift = 0
      }
      const place = { word, shift, mask: 2 ** bits - 1 }
      shift += bits
      return place
    })
    this.#words = word + 1
    return this.#plan
  }

  pack(state: Uint16Array, into: Uint32Array): void {
    const plan = this.#planned()
    into.fill(0)
    for (let i = 0; i < plan.length; i++) {
      const { word, shift, mask } = plan[i]!
      const value = state[i]!
      if (value > mask) throw new RangeError(`${this.#names[i]} is ${value}, more than ${mask}`)
      into[word]! |= value << shift
    }
  }

  unpack(packed: Uint32Array, into: Uint16Array): void {
    const plan = this.#planned()
    for (let i = 0; i < plan.length; i++) {
      const { word, shift, mask } = plan[i]!
      into[i] = (packed[word]! >>> shift) & mask
    }
  }
}
