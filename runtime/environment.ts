// The injected world: clock, timers, ids. Nothing else in runtime/ touches Date, setTimeout or
// Math.random; that is what makes a whole run repeatable from one seed.

import { randomUUID } from 'node:crypto'

/** A timer that was set. Clearing one that has fired does nothing. */
export interface Timer {
  clear(): void
}

export interface Environment {
  /** Wall clock, milliseconds since the epoch: for people and for rows, never to judge who is down (rule R12). */
  now(): number
  /** Milliseconds on a clock that never goes back. */
  monotonic(): number
  /** Calls `run` once, `ms` from now. `run` may not throw. */
  timer(ms: number, run: () => void): Timer
  /** A fresh id, never given before: lower-case letters and digits, ordered by time of making. */
  id(): string
}

/** The real world. */
export function realEnvironment(): Environment {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    timer(ms, run) {
      const handle = setTimeout(run, ms)
      return { clear: () => clearTimeout(handle) }
    },
    id: () => Date.now().toString(36).padStart(9, '0') + randomUUID().replaceAll('-', '').slice(16),
  }
}
