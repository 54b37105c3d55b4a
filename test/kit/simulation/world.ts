// A simulated world: time that moves only when nothing else can, and a list of pending steps of which the
// choices pick the next. Every timer, every message to the store and every piece of a driver's work is such
// a step, so the order of everything follows from the seed.

import type { Environment } from '../../../runtime/environment.ts'
import type { Choices } from './choices.ts'

interface Step {
  readonly place: Place
  readonly label: string
  readonly at: number
  readonly run: () => void
}

/** A process of the world: it can be paused as by SIGSTOP and killed as by SIGKILL. */
export class Place {
  readonly name: string
  /** Nothing of it runs before this time. */
  pausedUntil = 0
  alive = true

  constructor(name: string) {
    this.name = name
  }
}

export class SimulatedWorld {
  readonly choices: Choices
  /** Milliseconds since the beginning. */
  now = 0
  /** What happened, one line a step; its digest is the run's. */
  readonly trace: string[] = []
  #pending: Step[] = []
  #ids = 0

  constructor(choices: Choices) {
    this.choices = choices
  }

  environment(place: Place): Environment {
    return {
      now: () => 1_700_000_000_000 + this.now,
      monotonic: () => this.now,
      timer: (ms, run) => {
        const step = this.#add(place, 'timer', Math.max(0, ms), run)
        return {
          clear: () => {
            this.#pending = this.#pending.filter((other) => other !== step)
          },
        }
      },
      id: () => `id${String(++this.#ids).padStart(6, '0')}`,
    }
  }

  /** How likely a hop is to take very long: a message that is late finds a world that has moved on. */
  slowness = 0

  /** Resolves as a step of its own, some milliseconds from now; never, once the place was killed. */
  hop(place: Place, label: string, most_ms = 5): Promise<void> {
    const delay = this.choices.of(1 + (this.choices.chance(this.slowness) ? 2_000 : most_ms))
    return new Promise((resolve) => this.#add(place, label, delay, resolve))
  }

  /** What is under way in a killed place never happens. */
  kill(place: Place): void {
    place.alive = false
    this.#pending = this.#pending.filter((step) => step.place !== place)
    this.note(place, 'killed')
  }

  note(place: Place | null, what: string): void {
    this.trace.push(`${this.now} ${place?.name ?? '-'} ${what}`)
  }

  /** Runs one step and all that follows from it without another step. */
  async step(): Promise<void> {
    let ready = this.#ready()
    if (ready.length === 0) {
      const next = this.#pending.reduce(
        (least, step) => Math.min(least, this.#due(step)),
        Number.POSITIVE_INFINITY,
      )
      if (!Number.isFinite(next)) return
      this.now = next
      ready = this.#ready()
    }
    const step = this.choices.pick(ready)
    this.#pending = this.#pending.filter((other) => other !== step)
    this.note(step.place, step.label)
    step.run()
    // A macrotask comes after every microtask that is queued, however long the chain.
    await new Promise((resolve) => setImmediate(resolve))
  }

  #ready(): Step[] {
    return this.#pending.filter((step) => this.#due(step) <= this.now)
  }

  #due(step: Step): number {
    return Math.max(step.at, step.place.pausedUntil)
  }

  #add(place: Place, label: string, ms: number, run: () => void): Step {
    const step = { place, label, at: this.now + ms, run }
    if (place.alive) this.#pending.push(step)
    return step
  }
}
