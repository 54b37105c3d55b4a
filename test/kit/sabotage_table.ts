// The sabotage table: each rule of the protocol switched off in turn, found by a seed of the simulation and by
// exploration, and nothing found with the rule on. It runs what the kit has and counts; what a rule is and how
// it is switched off stands with the simulation and the exploration.

import { type Exploration, explorationOf, explore } from './exploration/index.ts'
import { type Rule, ruleNames, rules } from './rules.ts'
import { simulationOf } from './simulation/rules.ts'
import { simulate } from './simulation/simulation.ts'

/** How the simulation finds that a rule is off. */
export interface SimulationFinding {
  readonly invariant: string
  /** The first one, from 1, that finds it. */
  readonly seed: number
  /** Steps of that run until then. */
  readonly steps: number
  readonly message: string
}

/** How exploration finds that a rule is off. */
export interface ExplorationFinding {
  readonly invariant: string
  /** States seen until then. */
  readonly states: number
  /** Choices of the shortest way there. */
  readonly length: number
  readonly steps: readonly string[]
}

export interface SabotageRow {
  readonly rule: Rule
  readonly says: string
  /** Null: not found, and so the search is blind to the rule. */
  readonly simulation: SimulationFinding | null
  readonly exploration: ExplorationFinding | null
  /** The same seeds and the same configuration with the rule on: how many, and what is found nevertheless. */
  readonly control: { readonly seeds: number; readonly states: number; readonly found: string | null }
}

export interface SabotageOptions {
  readonly rules?: readonly Rule[]
  /** So many seeds are tried for each rule. Default 50. */
  readonly seeds?: number
  readonly onRow?: (row: SabotageRow) => void
}

export async function sabotageTable(options: SabotageOptions = {}): Promise<readonly SabotageRow[]> {
  const rows: SabotageRow[] = []
  for (const rule of options.rules ?? rules) {
    const simulation = await simulationFinding(rule, options.seeds ?? 50)
    const explored = await explore({ ...explorationOf(rule), ruleOff: rule })
    const row = {
      rule,
      says: ruleNames[rule],
      simulation,
      exploration: explorationFinding(explored),
      control: await controlOf(rule, simulation?.seed ?? 0),
    }
    rows.push(row)
    options.onRow?.(row)
  }
  return rows
}

async function simulationFinding(rule: Rule, seeds: number): Promise<SimulationFinding | null> {
  const { options } = simulationOf(rule)
  for (let seed = 1; seed <= seeds; seed++) {
    const { violations, steps } = await simulate({ ...options, seed })
    const [violation] = violations
    if (violation !== undefined) return { ...violation, seed, steps }
  }
  return null
}

function explorationFinding({ counterexample, states }: Exploration): ExplorationFinding | null {
  if (counterexample === null) return null
  const { invariant, steps } = counterexample
  return { invariant, states, length: steps.length, steps }
}

async function controlOf(rule: Rule, seeds: number): Promise<SabotageRow['control']> {
  const { on } = simulationOf(rule)
  const { complete, counterexample, states } = await explore(explorationOf(rule))
  let found = counterexample?.invariant ?? (complete ? null : 'too many states')
  for (let seed = 1; seed <= seeds && found === null; seed++) {
    const [violation] = (await simulate({ ...on, seed })).violations
    if (violation !== undefined) found = `${violation.invariant} with seed ${seed}`
  }
  return { seeds, states, found }
}

/** What is wrong with the row, in words; null: as it should be. */
export function amissIn({ rule, simulation, exploration, control }: SabotageRow): string | null {
  if (simulation === null) return `${rule} switched off is found by no seed of the simulation`
  if (exploration === null) return `${rule} switched off is not found by exploration`
  if (control.found !== null)
    return `with ${rule} on, ${control.found} is broken as well: that proves nothing`
  return null
}

const count = (value: number) => value.toLocaleString('en-US')

function cellsOf({ rule, says, simulation, exploration, control }: SabotageRow): readonly string[] {
  const bySeed =
    simulation === null
      ? 'not found'
      : `seed ${simulation.seed}, ${count(simulation.steps)} steps: ${simulation.invariant}`
  const byStates =
    exploration === null
      ? 'not found'
      : `${count(exploration.states)} states, ${exploration.length} choices: ${exploration.invariant}`
  const on = control.found ?? `nothing in ${count(control.states)} states`
  return [rule, says, bySeed, byStates, on]
}

const HEADS = ['rule', 'says', 'off: the simulation', 'off: exploration, shortest', 'on']

/** For a terminal. */
export function tableText(rows: readonly SabotageRow[]): string {
  const lines = [HEADS, ...rows.map(cellsOf)]
  const widths = HEADS.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const padded = lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i]!)).join('  '))
  return padded.map((line) => line.trimEnd()).join('\n')
}

/** For the README. */
export function tableMarkdown(rows: readonly SabotageRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(HEADS), `|${HEADS.map(() => '---').join('|')}|`, ...rows.map(cellsOf).map(line)].join('\n')
}
