// The clocks that fences and observers judge by. With an exclusive store, both are in one process and
// share one clock that advances at most one step a turn of the event loop, so that a blocked loop makes
// nobody look silent; with a shared store it is plain monotonic time (rule R12).

import type { Environment, Timer } from './environment.ts'

export interface Clock {
  /** Milliseconds; never goes back. */
  now(): number
  stop(): void
}

export function plainClock(environment: Environment): Clock {
  return { now: () => environment.monotonic(), stop: () => {} }
}

/** Advances by timers alone: each turn adds what has passed, but at most `step_ms`. */
export function turnClock(environment: Environment, step_ms: number): Clock {
  let now = 0
  let seen = environment.monotonic()
  let timer: Timer
  const turn = () => {
    const at = environment.monotonic()
    now += Math.min(at - seen, step_ms)
    seen = at
    timer = environment.timer(step_ms / 4, turn)
  }
  timer = environment.timer(step_ms / 4, turn)
  return { now: () => now, stop: () => timer.clear() }
}
