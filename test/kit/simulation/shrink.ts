// Makes a failing schedule short: deviations are dropped in halves, quarters, ... down to single ones (delta
// debugging), the steps are cut to just after the violation, and what remains is made smaller. Every candidate is
// run; it counts only if the same invariant breaks. Deterministic.

import type { Deviation, Schedule } from './choices.ts'
import { type SimulationOptions, type SimulationResult, simulate } from './simulation.ts'

export interface ShrinkOptions {
  /** Runs at most; default 2,000. What was reached by then is the answer. */
  readonly runs?: number
  readonly onProgress?: (now: Shrinking) => void
}

export interface Shrinking {
  readonly runs: number
  readonly choices: number
  readonly steps: number
}

export interface Shrunk {
  /** Replayed by `simulate({ ...options, schedule, steps })`. */
  readonly schedule: Schedule
  readonly steps: number
  /** The invariant that breaks. */
  readonly invariant: string
  readonly result: SimulationResult
  readonly runs: number
}

/**
 * Shrinks the failing run of these options. Throws where nothing is violated. `steps` counts those with faults: a
 * violation in the settling phase keeps as many as it needs.
 */
export async function shrink(options: SimulationOptions, how: ShrinkOptions = {}): Promise<Shrunk> {
  const first = await simulate(options)
  const violated = first.violations[0]
  if (violated === undefined)
    throw new Error(`nothing is violated with seed ${options.seed}: nothing to shrink`)
  const shrinking = new Shrinker(options, violated.invariant, first, how)
  await shrinking.run()
  return shrinking.answer()
}

class Shrinker {
  readonly #options: SimulationOptions
  readonly #invariant: string
  readonly #how: ShrinkOptions
  #schedule: Schedule
  #steps: number
  #best: SimulationResult
  #runs = 1

  constructor(options: SimulationOptions, invariant: string, first: SimulationResult, how: ShrinkOptions) {
    this.#options = options
    this.#invariant = invariant
    this.#how = how
    this.#best = first
    this.#schedule = first.made
    this.#steps = Math.min(options.steps, first.steps)
  }

  async run(): Promise<void> {
    for (let before = -1; before !== this.#schedule.length && !this.#isUsedUp(); ) {
      before = this.#schedule.length
      await this.#drop()
      await this.#lower()
    }
  }

  answer(): Shrunk {
    return {
      schedule: this.#schedule,
      steps: this.#steps,
      invariant: this.#invariant,
      result: this.#best,
      runs: this.#runs,
    }
  }

  #isUsedUp(): boolean {
    return this.#runs >= (this.#how.runs ?? 2_000)
  }

  /** Takes the candidate where it breaks the same invariant. */
  async #try(schedule: Schedule, steps: number): Promise<boolean> {
    if (this.#isUsedUp()) return false
    this.#runs++
    const result = await simulate({ ...this.#options, schedule, steps })
    if (result.violations[0]?.invariant !== this.#invariant) return false
    this.#best = result
    // What was never come to is no part of it.
    this.#schedule = result.made
    this.#steps = Math.min(steps, result.steps)
    this.#how.onProgress?.({ runs: this.#runs, choices: this.#schedule.length, steps: this.#steps })
    return true
  }

  /** From the end, where what is dropped moves nothing before it. */
  async #drop(): Promise<void> {
    for (
      let size = Math.ceil(this.#schedule.length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    ) {
      let end = this.#schedule.length
      while (end > 0 && !this.#isUsedUp()) {
        const start = Math.max(0, end - size)
        const rest = [...this.#schedule.slice(0, start), ...this.#schedule.slice(end)]
        await this.#try(rest, this.#steps)
        end = Math.min(start, this.#schedule.length)
      }
    }
  }

  /** Smaller choices: nearer to the default, and so shorter and simpler. */
  async #lower(): Promise<void> {
    for (let i = 0; i < this.#schedule.length && !this.#isUsedUp(); i++) {
      for (const choice of smaller(this.#schedule[i]!)) {
        const changed = this.#schedule.map((one, at) => (at === i ? { ...one, choice } : one))
        if (await this.#try(changed, this.#steps)) break
      }
    }
  }
}

/** What a delay or another order might be instead; a fault or a command is what it is. */
function smaller({ label, choice }: Deviation): number[] {
  if (/^(fault|client|driver|doorbell|disk|torn)\b/.test(label)) return []
  return choice > 1 ? [1, Math.floor(choice / 2)].filter((one, at, all) => all.indexOf(one) === at) : []
}
