// How much of something may be under way at once. What is past a limit is refused before anything is done for
// it, so a crowd costs refusals and not memory; a caller that asks again a little later is served.

import { DoorError, type DoorErrorCode } from './answer.ts'

export class Limit {
  readonly most: number
  readonly #code: DoorErrorCode
  readonly #what: string
  #under_way = 0

  /** `what`: of which there are too many, for the message. */
  constructor(most: number, code: DoorErrorCode, what: string) {
    this.most = most
    this.#code = code
    this.#what = what
  }

  get under_way(): number {
    return this.#under_way
  }

  /** Takes a place; gives what gives it back. Throws where all are taken. */
  take(): () => void {
    if (this.#under_way >= this.most)
      throw new DoorError(
        this.#code,
        `${this.most} ${this.#what} at once are the most that are served; try again a little later`,
      )
    this.#under_way++
    let isTaken = true
    return () => {
      if (isTaken) this.#under_way--
      isTaken = false
    }
  }

  async during<A>(run: () => Promise<A>): Promise<A> {
    const leave = this.take()
    try {
      return await run()
    } finally {
      leave()
    }
  }
}
