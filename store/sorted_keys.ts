// A set of keys in key order: one list of short sorted lists. A key is found by two binary searches over the
// texts themselves and entered by moving a few hundred pointers, so a change costs about the same among a
// thousand keys and a million, and keys that come in order are only appended. It knows nothing of rows.

import type { Key } from './store.ts'

/** A longer chunk is cut in two. */
const MOST = 1_024

export class SortedKeys {
  /** None is empty, and all keys of one are below those of the next. */
  readonly #chunks: Key[][] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** A key that is not in it yet. */
  add(key: Key): void {
    this.#size++
    const index = this.#chunkOf(key)
    const chunk = this.#chunks[index]
    if (chunk === undefined) {
      this.#chunks.push([key])
      return
    }
    const place = chunk.at(-1)! < key ? chunk.length : placeIn(chunk, key)
    chunk.splice(place, 0, key)
    // Where keys come in order the chunk stays full, else both halves have room for what comes between.
    if (chunk.length > MOST) this.#chunks.splice(index + 1, 0, chunk.splice(place === MOST ? MOST : MOST / 2))
  }

  /** A key that is in it. */
  remove(key: Key): void {
    this.#size--
    const index = this.#chunkOf(key)
    const chunk = this.#chunks[index]!
    if (chunk.length === 1) this.#chunks.splice(index, 1)
    else chunk.splice(placeIn(chunk, key), 1)
  }

  /** The keys at `first` and above, in order; all where it is undefined. It may not change meanwhile. */
  *from(first?: Key): Generator<Key, void, undefined> {
    let index = first === undefined ? 0 : this.#chunkOf(first)
    let place =
      first === undefined || index === this.#chunks.length ? 0 : placeIn(this.#chunks[index]!, first)
    for (; index < this.#chunks.length; index++, place = 0)
      for (const chunk = this.#chunks[index]!; place < chunk.length; place++) yield chunk[place]!
  }

  /** The last chunk that begins at the key or below; the first one if none does. */
  #chunkOf(key: Key): number {
    let low = 0
    let high = this.#chunks.length
    if (high > 1 && this.#chunks[high - 1]![0]! <= key) return high - 1
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (this.#chunks[middle]![0]! <= key) low = middle
      else high = middle
    }
    return low
  }
}

/** Where the key is in a sorted list, or would be. */
function placeIn(keys: readonly Key[], key: Key): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
