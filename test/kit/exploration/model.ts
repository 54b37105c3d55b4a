// The protocol as one pure `next(state, choice)`: rows, mailbox, backend, lives, executions and schedulers in
// one state, and every step of any of them one atomic choice. The decisions are those of the shipped charts
// and of machines/service.ts; what stands here mirrors what the runtime does around them. A swap whose
// decision is made anew after a conflict is one choice; what was read earlier and is not read again (the
// service row a sweep saw, the rows it listed, a claim's fence) is part of the state.

import { Asks } from './asks.ts'
import { Cleaning } from './cleaning.ts'
import type { Configuration } from './configuration.ts'
import { Executions } from './executions.ts'
import { Living } from './living.ts'
import { Moment } from './moment.ts'
import type { Visit } from './state.ts'
import { Sweeping } from './sweeping.ts'

export class Model extends Moment {
  readonly #asks = new Asks(this)
  readonly #executions = new Executions(this)
  readonly #living: Living
  readonly #sweeping: Sweeping

  /** `slots`: executions that a state has room for; one more than that is a `NoRoom`. */
  constructor(configuration: Configuration, slots: number) {
    super(configuration, slots)
    const cleaning = new Cleaning(this)
    this.#living = new Living(this, cleaning)
    this.#sweeping = new Sweeping(this, cleaning)
  }

  /** Tells of every choice that is open in a state. */
  successors(state: Uint16Array, visit: Visit): void {
    this.now = state
    this.visit = visit
    this.#asks.clientChoices()
    this.#asks.doorbellChoices()
    this.#executions.executionChoices()
    this.#living.lifeChoices()
    this.#sweeping.schedulerChoices()
  }
}
