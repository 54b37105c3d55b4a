// Exhaustive exploration: every reachable state of a small configuration of the shipped charts, with the
// faults of a printed budget at every moment, and every invariant of the protocol in each of them. What it
// says of a configuration is proof for that configuration, and for no larger one.

import {
  type Configuration,
  configurationFrom,
  type ExploreOptions,
  inWords,
  type LeftOut,
} from './configuration.ts'
import { Model } from './model.ts'
import { type Found, type Limits, type Progress, search } from './search.ts'
import { INVARIANTS, type Invariant, NoRoom, SOMETIMES, type Sometimes } from './state.ts'
import { type Counterexample, counterexampleOf } from './tell.ts'

export interface Exploring extends ExploreOptions {
  readonly limits?: Partial<Limits>
  readonly onProgress?: (progress: Progress) => void
  /** Aborted: the search stops, and what was done so far is the answer. */
  readonly signal?: AbortSignal
}

/** `not checked`: the search ended before every state was seen. */
export type Verdict = 'holds' | 'violated' | 'not checked'

export interface Exploration {
  /** What was explored, in one line; the fault budget is in it. */
  readonly configuration: string
  /** Operations of the kind that nobody asked for, and why. */
  readonly leftOut: readonly LeftOut[]
  /** Every reachable state was seen. */
  readonly complete: boolean
  readonly why: Found['why']
  readonly states: number
  readonly transitions: number
  readonly depth: number
  readonly ms: number
  readonly states_per_second: number
  readonly successors_per_second: number
  /** Of the states and what is kept beside them. */
  readonly bytes: number
  readonly invariants: { readonly [I in Invariant]: Verdict }
  /** What happened at least once: an exploration that never reaches what it is for is blind. */
  readonly sometimes: { readonly [S in Sometimes]: boolean }
  readonly counterexample: Counterexample | null
}

export const defaultLimits: Limits = { states: 20_000_000, ms: 3_600_000 }

/**
 * Visits every reachable state of a configuration, breadth first, and judges each; the first violation found
 * ends it, with the shortest counterexample. Rejects with `bad_input` for what can't be explored. It
 * keeps every state in memory, about 100 bytes each: `limits.states` bounds it, and `bytes` tells.
 *
 * Not in it: time (a pause is a choice), cancels and timeouts, progress, quotas, a lost store, a second topic.
 * A driver's effect is that its object is made, removed, or neither; `operations` bounds what clients ask.
 *
 * @example
 * ```ts
 * const { complete, counterexample } = await explore({ types: [volume], nodes: 2, crashes: 1 })
 * ```
 */
export async function explore(options: Exploring = {}): Promise<Exploration> {
  const configuration = await configurationFrom(options)
  const limits = { ...defaultLimits, ...options.limits }
  const watch = {
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }
  for (let slots = leastSlots(configuration); ; slots += 2) {
    const model = new Model(configuration, slots)
    try {
      return explorationFrom(model, await search(model, limits, watch))
    } catch (error) {
      // How many claims can be under way at once is not known before: begin again with more room.
      if (!(error instanceof NoRoom)) throw error
    }
  }
}

function leastSlots({ lives, resources, budget, oneProcess }: Configuration): number {
  const extra = budget.pauses + (oneProcess ? budget.crashes : 0)
  return lives.length * resources.length + 1 + 3 * extra
}

function explorationFrom(model: Model, found: Found): Exploration {
  const { states, transitions, depth, ms, bytes } = found.progress
  const { violation, complete, restJudged } = found
  const per = (count: number) => Math.round((count * 1_000) / Math.max(1, ms))
  const verdict = (invariant: Invariant): Verdict => {
    if (violation?.invariant === invariant) return 'violated'
    if (!complete) return 'not checked'
    return invariant !== 'all_at_rest' || restJudged ? 'holds' : 'not checked'
  }
  return {
    configuration: inWords(model.configuration),
    leftOut: model.configuration.leftOut,
    complete,
    why: found.why,
    states,
    transitions,
    depth,
    ms,
    states_per_second: per(states),
    successors_per_second: per(transitions),
    bytes,
    invariants: Object.fromEntries(INVARIANTS.map((name) => [name, verdict(name)])) as never,
    sometimes: Object.fromEntries(
      SOMETIMES.map((name, i) => [name, (model.happened & (1 << i)) !== 0]),
    ) as never,
    counterexample: violation === null ? null : counterexampleOf(model, found),
  }
}
