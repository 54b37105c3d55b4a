// Runs of the simulation as the command asks for them: many seeds one after the other, or one that is replayed
// from its scenario. It runs them and counts; what a run is, is simulation.ts's.

import { type Rule, rules } from './rules.ts'
import { badScenario, type Scenario } from './scenario.ts'
import { simulationOf } from './simulation/rules.ts'
import { type SimulationOptions, type SimulationResult, simulate } from './simulation/simulation.ts'
import type { Mix, Topology } from './simulation/topology.ts'

/** The kinds of faults that a seed draws from. */
export const faultKinds = [
  ...(['kill', 'crash', 'pause', 'link', 'lose', 'node'] as const),
  ...(['doorbell', 'driver', 'disk', 'reorder', 'delay'] as const),
] as const satisfies readonly (keyof Mix)[]
export type FaultKind = (typeof faultKinds)[number]

/** A mix in which only these kinds may be drawn. */
export function onlyFaults(kinds: readonly FaultKind[]): Partial<Mix> {
  return Object.fromEntries(faultKinds.filter((kind) => !kinds.includes(kind)).map((kind) => [kind, 0]))
}

export interface SeedsOptions extends Omit<SimulationOptions, 'seed' | 'schedule'> {
  /** The first seed; the others follow it. */
  readonly from: number
  /** How many seeds at most. */
  readonly seeds: number
  /** Asked before each seed but the first. */
  readonly isOver?: () => boolean
  readonly onSeed?: (sum: SeedsResult) => void
}

export interface SeedsResult {
  /** How many seeds ran, and the first that did not. */
  readonly seeds: number
  readonly next: number
  readonly commits: number
  readonly steps: number
  /** `sometimes` properties, and in how many of the runs each was reached. */
  readonly reached: ReadonlyMap<string, number>
  /** The run that violated something: the last one. */
  readonly failed: SimulationResult | null
}

/** Seed after seed until one violates something, all are done, or `isOver` says so. */
export async function simulateSeeds(options: SeedsOptions): Promise<SeedsResult> {
  const { from, seeds, isOver = () => false, onSeed = () => {}, ...run } = options
  const reached = new Map<string, number>()
  let commits = 0
  let steps = 0
  for (let count = 1; ; count++) {
    const result = await simulate({ ...run, seed: from + count - 1 })
    commits += result.commits
    steps += result.steps
    for (const name of result.reached) reached.set(name, (reached.get(name) ?? 0) + 1)
    const failed = result.violations.length > 0 ? result : null
    const sum = { ...{ seeds: count, next: from + count, commits, steps, reached, failed } }
    onSeed(sum)
    if (failed !== null || count >= seeds || isOver()) return sum
  }
}

/** The scenario of a run: its deviations, in the world that its seed has drawn. */
export function scenarioOf(
  { seed, violations, made, topology }: SimulationResult,
  { steps, shows, rules_off = [] }: { steps: number; shows: string; rules_off?: readonly string[] },
): Scenario {
  return {
    ...{ shows, seed, steps, rules_off, options: { topology: topology as unknown as Scenario['options'] } },
    ...{ expect: violations[0]?.invariant ?? 'holds', choices: made },
  }
}

/** What to simulate to see it again, its rules switched off. Throws for a rule that can't be. */
export function replayOf({ seed, steps, options, choices, rules_off }: Scenario): SimulationOptions {
  const { topology } = options
  const off = rules_off.map((rule) => {
    if (!rules.includes(rule as Rule))
      throw badScenario(1, `rule ${rule} can't be switched off; known: ${rules.join(', ')}`)
    const { steps: _, topology: __, mix: ___, ...how } = simulationOf(rule as Rule).options
    return how
  })
  return {
    ...Object.assign({}, ...off),
    ...{ seed, steps, schedule: choices },
    ...(topology === undefined ? {} : { topology: topology as unknown as Partial<Topology> }),
  }
}
