// The sabotage table: each rule of the protocol switched off in turn, found by a seed of the simulation and by
// exploration, and nothing found with the rule on. It runs what the kit has and counts; what a rule is and how
// it is switched off stands with the simulation and the exploration.

import {
  type Exploration,
  explorationOf,
  explore,
  RULE_NAMES,
  RULES,
  type Rule,
} from './exploration/index.ts'

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
  readonly exploration: ExplorationFinding | null
  /** The same configuration with the rule on: all its states, or what is wrong with them. */
  readonly control: { readonly states: number; readonly holds: boolean }
}

export interface SabotageOptions {
  readonly rules?: readonly Rule[]
  readonly onRow?: (row: SabotageRow) => void
}

export async function sabotageTable(options: SabotageOptions = {}): Promise<readonly SabotageRow[]> {
  const rows: SabotageRow[] = []
  for (const rule of options.rules ?? RULES) {
    const row = {
      rule,
      says: RULE_NAMES[rule],
      exploration: findingOf(await explore({ ...explorationOf(rule), ruleOff: rule })),
      control: controlOf(await explore(explorationOf(rule))),
    }
    rows.push(row)
    options.onRow?.(row)
  }
  return rows
}

function findingOf({ counterexample, states }: Exploration): ExplorationFinding | null {
  if (counterexample === null) return null
  const { invariant, steps } = counterexample
  return { invariant, states, length: steps.length, steps }
}

function controlOf({ complete, counterexample, states }: Exploration): SabotageRow['control'] {
  return { states, holds: complete && counterexample === null }
}

/** What is wrong with the row, in words; null: as it should be. */
export function amissIn({ rule, exploration, control }: SabotageRow): string | null {
  if (exploration === null) return `${rule} switched off is not found by exploration`
  if (!control.holds) return `with ${rule} on, not everything holds: what is found with it off proves nothing`
  return null
}

const count = (value: number) => value.toLocaleString('en-US')

function cellsOf({ rule, says, exploration, control }: SabotageRow): readonly string[] {
  const found =
    exploration === null
      ? 'not found'
      : `${exploration.invariant}: ${count(exploration.states)} states, ${exploration.length} choices`
  return [rule, says, found, control.holds ? `${count(control.states)} states, all hold` : 'violated']
}

const HEADS = ['rule', 'says', 'switched off, exploration finds', 'with the rule on']

/** For a terminal. */
export function tableText(rows: readonly SabotageRow[]): string {
  const lines = [HEADS, ...rows.map(cellsOf)]
  const widths = HEADS.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) =>
      line
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** For the README. */
export function tableMarkdown(rows: readonly SabotageRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [
    line(HEADS),
    `|${HEADS.map(() => '---').join('|')}|`,
    ...rows.map((row) => line(cellsOf(row))),
  ].join('\n')
}
