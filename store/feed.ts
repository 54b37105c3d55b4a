// The change feed of one open store: the last commits and who listens to them. It may not lose, double
// or reorder a commit, and a listener that throws may not harm the store or the other listeners.

import { StoreError } from './error.ts'
import type { Commit } from './store.ts'

/** How many commits a watcher may be behind. */
export const KEPT_COMMITS = 100_000

export class Feed {
  /** A ring: commit n lies at (n - 1) modulo KEPT_COMMITS. */
  readonly #kept: Commit[] = []
  readonly #listeners = new Set<(commit: Commit) => void>()
  #first: number
  #offset: number

  /** `offset` is the last commit made before this feed began. */
  constructor(offset = 0) {
    this.#offset = offset
    this.#first = offset + 1
  }

  get offset(): number {
    return this.#offset
  }

  add(commit: Commit): void {
    this.#offset = commit.offset
    this.#kept[(commit.offset - 1) % KEPT_COMMITS] = commit
    this.#first = Math.max(this.#first, commit.offset - KEPT_COMMITS + 1)
    for (const listener of this.#listeners) this.#tell(listener, commit)
  }

  watch(from: number, listener: (commit: Commit) => void): () => void {
    if (!Number.isInteger(from) || from < 0 || from > this.#offset)
      throw new RangeError(`no commit ${from} yet: the last one is ${this.#offset}`)
    if (from + 1 < this.#first)
      throw new StoreError(
        'offset_too_old',
        `commits after ${from} are no longer kept; the oldest kept is ${this.#first}. List the rows and watch from ${this.#offset}.`,
      )
    this.#listeners.add(listener)
    for (let offset = from + 1; offset <= this.#offset && this.#listeners.has(listener); offset++)
      this.#tell(listener, this.#kept[(offset - 1) % KEPT_COMMITS]!)
    return () => this.#listeners.delete(listener)
  }

  end(): void {
    this.#listeners.clear()
  }

  /** The commit is durable whatever a listener makes of it. One that throws is not told again. */
  #tell(listener: (commit: Commit) => void, commit: Commit): void {
    try {
      listener(commit)
    } catch {
      this.#listeners.delete(listener)
    }
  }
}
