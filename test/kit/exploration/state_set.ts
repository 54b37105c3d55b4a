// The states of a search: packed into words, kept in the order in which they were found, each with the one
// it was found from. A hash set with open addressing over typed arrays, so that a state costs its words and
// a dozen bytes more, and nothing for the garbage collector to look at.

const CHUNK_BITS = 16
const CHUNK = 1 << CHUNK_BITS
const NONE = 0xffffffff

/** A growing list of whole numbers below 2^32. */
export class Words {
  readonly #chunks: Uint32Array[] = []
  length = 0

  push(value: number): void {
    const at = this.length++
    if ((at & (CHUNK - 1)) === 0) this.#chunks.push(new Uint32Array(CHUNK))
    this.#chunks[at >>> CHUNK_BITS]![at & (CHUNK - 1)] = value
  }

  at(index: number): number {
    return this.#chunks[index >>> CHUNK_BITS]![index & (CHUNK - 1)]!
  }

  get bytes(): number {
    return this.#chunks.length * CHUNK * 4
  }
}

export class StateSet {
  /** Words of one state. */
  readonly width: number
  size = 0
  readonly #chunks: Uint32Array[] = []
  readonly #parents = new Words()
  /** Index + 1 of the state in each place, 0 where there is none. */
  #places = new Uint32Array(1 << 12)

  constructor(width: number) {
    this.width = width
  }

  /**
   * The index of a state, added if it is new; states are numbered in the order in which they were added.
   * `parent`: the state it was found from, null for the first.
   */
  add(state: Uint32Array, parent: number | null): number {
    const { width } = this
    let place = this.#placeOf(state)
    for (;;) {
      const found = this.#places[place]!
      if (found === 0) break
      if (this.#isAt(found - 1, state)) return found - 1
      place = (place + 1) & (this.#places.length - 1)
    }
    const index = this.size++
    if ((index & (CHUNK - 1)) === 0) this.#chunks.push(new Uint32Array(CHUNK * width))
    this.#chunks[index >>> CHUNK_BITS]!.set(state, (index & (CHUNK - 1)) * width)
    this.#parents.push(parent ?? NONE)
    this.#places[place] = index + 1
    if (this.size * 5 > this.#places.length * 3) this.#grow()
    return index
  }

  /** Copies a state out. */
  read(index: number, into: Uint32Array): void {
    const chunk = this.#chunks[index >>> CHUNK_BITS]!
    const start = (index & (CHUNK - 1)) * this.width
    for (let i = 0; i < this.width; i++) into[i] = chunk[start + i]!
  }

  parentOf(index: number): number | null {
    const parent = this.#parents.at(index)
    return parent === NONE ? null : parent
  }

  get bytes(): number {
    return this.#chunks.length * CHUNK * this.width * 4 + this.#parents.bytes + this.#places.length * 4
  }

  #isAt(index: number, state: Uint32Array): boolean {
    const chunk = this.#chunks[index >>> CHUNK_BITS]!
    const start = (index & (CHUNK - 1)) * this.width
    for (let i = 0; i < this.width; i++) if (chunk[start + i] !== state[i]) return false
    return true
  }

  #placeOf(state: Uint32Array): number {
    let hash = 0x811c9dc5
    for (let i = 0; i < this.width; i++) {
      let word = Math.imul(state[i]!, 0xcc9e2d51)
      word = (word << 15) | (word >>> 17)
      hash ^= Math.imul(word, 0x1b873593)
      hash = (hash << 13) | (hash >>> 19)
      hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
    }
    hash ^= hash >>> 16
    hash = Math.imul(hash, 0x85ebca6b)
    hash ^= hash >>> 13
    return (hash >>> 0) & (this.#places.length - 1)
  }

  #grow(): void {
    this.#places = new Uint32Array(this.#places.length * 2)
    const state = new Uint32Array(this.width)
    for (let index = 0; index < this.size; index++) {
      this.read(index, state)
      let place = this.#placeOf(state)
      while (this.#places[place] !== 0) place = (place + 1) & (this.#places.length - 1)
      this.#places[place] = index + 1
    }
  }
}
