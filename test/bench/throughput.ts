// Operations a second of rekindle beside its floor and its peers. Rounds take turns, so that a slow spell of the
// machine meets all; each ratio is of one round. Two shapes: callers that each wait for their operation's end
// before they ask again (in flight), and bulks that keep a thousand waiting while so many are worked on, which
// is what the peers' own benchmarks do.

import { type ChildProcess, fork } from 'node:child_process'
import type { Round } from './contestant.ts'
import type { ContestantName, Place } from './contestants.ts'
import type { Loaded, Timing } from './load.ts'
import { type Spread, spreadOf } from './spread.ts'

export interface Figures {
  readonly name: ContestantName
  readonly per_s: Spread
  readonly p50_ms: Spread
  readonly p99_ms: Spread
  readonly cpu_ms: Spread
  readonly server_cpu_ms: Spread
  readonly longest_stall_ms: Spread
  readonly peak_rss_mb: Spread
  /** Rekindle's operations a second over this one's, round by round. */
  readonly rekindle_over: Spread
}

export interface Level {
  /** Operations that are worked on at once. */
  readonly in_flight: number
  /** Operations that were accepted and not ended, at any time. */
  readonly outstanding: number
  readonly contestants: readonly Figures[]
}

export interface Rounds {
  readonly rounds: number
  readonly duration_ms: number
}

/** What is measured at a level: how many are worked on, and how they are asked for. */
export interface Shape {
  readonly in_flight: number
  /** Callers that each ask for a bulk; as many callers as in flight, one each, unless said. */
  readonly callers?: number
  readonly bulk?: number
}

export type RunRound = (round: Round) => Promise<Loaded>

export async function throughput(
  names: readonly ContestantName[],
  place: Place,
  shapes: readonly Shape[],
  { rounds, duration_ms }: Rounds,
  run: RunRound,
  say: (line: string) => void,
): Promise<Level[]> {
  const found = shapes.map(() => new Map<ContestantName, Loaded[]>(names.map((name) => [name, []])))
  for (let round = 1; round <= rounds; round++)
    for (const [i, { in_flight, callers = in_flight, bulk = 1 }] of shapes.entries()) {
      const timing: Timing = { in_flight: callers, bulk, duration_ms, warm_up_ms: duration_ms / 2 }
      for (const name of names)
        found[i]!.get(name)!.push(await run({ name, place, working: in_flight, timing }))
      const waiting = bulk === 1 ? '' : `, ${callers * bulk} outstanding`
      say(`round ${round} of ${rounds}: ${in_flight} in flight${waiting}`)
    }
  return shapes.map(({ in_flight, callers = in_flight, bulk = 1 }, i) => ({
    in_flight,
    outstanding: callers * bulk,
    contestants: names.map((name) => figuresOf(name, found[i]!.get(name)!, found[i]!.get('rekindle')!)),
  }))
}

function figuresOf(name: ContestantName, runs: readonly Loaded[], ours: readonly Loaded[]): Figures {
  const of = (field: keyof Loaded) => spreadOf(runs.map((run) => run[field]))
  return {
    name,
    per_s: of('per_s'),
    p50_ms: of('p50_ms'),
    p99_ms: of('p99_ms'),
    cpu_ms: of('cpu_ms'),
    server_cpu_ms: of('server_cpu_ms'),
    longest_stall_ms: of('longest_stall_ms'),
    peak_rss_mb: of('peak_rss_mb'),
    rekindle_over: spreadOf(runs.map(({ per_s }, i) => ours[i]!.per_s / per_s)),
  }
}

/** Runs each contestant in a process of its own, which lives until `end`. */
export class Processes {
  readonly #children = new Map<ContestantName, ChildProcess>()

  readonly run: RunRound = (round) => {
    const child = this.#children.get(round.name) ?? fork(new URL('contestant.js', import.meta.url))
    this.#children.set(round.name, child)
    const { warm_up_ms, duration_ms } = round.timing
    return new Promise((resolve, reject) => {
      const over = (deed: () => void) => {
        clearTimeout(limit)
        child.removeAllListeners()
        deed()
      }
      const fail = (what: string) => over(() => reject(new Error(`${round.name}: ${what}`)))
      const limit = setTimeout(
        () => {
          child.kill('SIGKILL')
          this.#children.delete(round.name)
          fail('its round did not end')
        },
        10 * (warm_up_ms + duration_ms) + 30_000,
      )
      child.once('error', (error) => fail(error.message))
      child.once('exit', (code, signal) => fail(`its process ended with ${code ?? signal}`))
      child.once('message', (answer: { loaded: Loaded } | { error: string }) => {
        if ('error' in answer) fail(answer.error)
        else over(() => resolve(answer.loaded))
      })
      child.send(round)
    })
  }

  end(): void {
    for (const child of this.#children.values()) child.disconnect()
    this.#children.clear()
  }
}
