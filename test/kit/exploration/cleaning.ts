// Putting right one row of a life that is over, for a starting node and a scheduler alike, and finding such rows.
// It mirrors runtime/cleanup.ts.

import type { Moment } from './moment.ts'
import { NOBODY, type Outcome } from './rows.ts'
import { DOWN, RES, SERVICE } from './state.ts'

export class Cleaning {
  readonly #moment: Moment

  constructor(moment: Moment) {
    this.#moment = moment
  }

  /** What the chart says to a cleanup of this host's claims up to this incarnation. */
  #cleanupOf(r: number, host: number, over: number): Outcome | null {
    const { hosts, backend } = this.#moment.configuration
    return this.#moment.rows.decide(
      r,
      this.#moment.allNumbers(this.#moment.now),
      3 + 8 * (host + 8 * over),
      () => ({
        type: 'cleanup',
        worker: `${hosts[host]}@${backend}`,
        incarnation: over,
        at_backend: this.#moment.cleansAtBackend,
        reason: '',
        limits: this.#moment.world.limits,
        at: 0,
      }),
    )
  }

  /** Rows with a claim that is over. */
  listFor(host: number, over: number): number {
    let listed = 0
    for (let r = 0; r < this.#moment.resources.count; r++)
      if (
        this.#moment.now[this.#moment.resource(r) + RES.who] !== NOBODY &&
        this.#cleanupOf(r, host, over) !== null
      )
        listed |= 1 << r
    return listed
  }

  /** Puts one row right, by one swap. True if it rang. */
  clean(r: number, host: number, over: number): boolean {
    const outcome = this.#cleanupOf(r, host, over)
    if (outcome === null) {
      this.#moment.note('cleanup_lost')
      return false
    }
    const now = this.#moment.now
    const row = this.#moment.resource(r)
    const incarnation = now[row + RES.incarnation]!
    const service = this.#moment.service(host)
    const isOver =
      now[service + SERVICE.incarnation]! > incarnation ||
      (now[service + SERVICE.incarnation] === incarnation && now[service + SERVICE.state] === DOWN)
    if (!isOver || this.#moment.isWorking(host, incarnation))
      this.#moment.broke(
        'cleaned_only_if_gone',
        `the claim of life ${incarnation} of ${this.#moment.configuration.hosts[host]} on ${this.#moment.name(r)} is cleaned away, and that life goes on`,
      )
    this.#moment.write(outcome)
    if (this.#moment.next[row + RES.fence]! <= now[row + RES.fence]!)
      this.#moment.broke('fence_grows', `a cleanup of ${this.#moment.name(r)} leaves its fence as it was`)
    return outcome.rings.length > 0
  }
}
