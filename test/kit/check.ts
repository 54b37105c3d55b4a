// checkDefinitions: what can be told of types before anybody runs them. Their tables stand together, no status
// is a dead end, no crash leaves one wrong. It makes a report; how that is printed is the command's affair.

import { checkTypes, type ResourceType } from '../../machines/definition.ts'
import { DefinitionError } from '../../machines/error.ts'
import { RekindleError } from '../../runtime/error.ts'
import { checkMatrix, checkWaysOn, explored, simulated, wayTo } from './generated_tests.ts'
import type { Inputs } from './inputs.ts'
import { matrix } from './matrix.ts'
import { pathGraph, stepContext } from './paths.ts'

/** One thing that was looked at. */
export interface DefinitionCheck {
  readonly kind: string
  /** `table`, `inputs`, `matrix`, `dead ends`, `exploration` or `simulation`. */
  readonly check: string
  readonly verdict: 'holds' | 'violated' | 'not finished'
  /** What was found, or what to do; several lines where it is a counterexample. */
  readonly message: string
}

export interface DefinitionsReport {
  /** `bad` where the tables or inputs can't be run at all. */
  readonly verdict: 'holds' | 'violated' | 'not finished' | 'bad'
  readonly checks: readonly DefinitionCheck[]
  /** The matrix of each kind. */
  readonly matrices: { readonly [kind: string]: string }
}

export interface CheckDefinitionsOptions {
  /** What operations are asked with. */
  readonly inputs?: Inputs
  /** How many seeds are simulated; 5 where absent, none with 0. */
  readonly seeds?: number
  /** Told of each check when it is done. */
  readonly onCheck?: (check: DefinitionCheck) => void
}

/**
 * Checks types as they stand together: tables, inputs, matrix, dead ends, then exhaustively what one crash
 * leaves of one operation, with a driver that makes and removes what its operations say, and a few simulated
 * runs. Never rejects for what is wrong with a definition: that is in the report. Deterministic.
 *
 * @example
 * const { verdict, checks } = await checkDefinitions([dnsRecord], { inputs })
 */
export async function checkDefinitions(
  types: readonly ResourceType[],
  options: CheckDefinitionsOptions = {},
): Promise<DefinitionsReport> {
  const { inputs = {}, seeds = 5, onCheck = () => {} } = options
  const checks: DefinitionCheck[] = []
  const note = (check: DefinitionCheck) => {
    checks.push(check)
    onCheck(check)
  }
  const tell = (kind: string, check: string, error: unknown) =>
    note({
      kind,
      check,
      verdict: 'violated',
      message: error instanceof Error ? error.message : String(error),
    })
  const bad = (): DefinitionsReport => ({ verdict: 'bad', checks, matrices: {} })
  const all = types.map(({ kind }) => kind).join(', ')

  try {
    checkTypes(types)
    await stepContext(types, inputs, true)
  } catch (error) {
    if (!(error instanceof DefinitionError || error instanceof RekindleError)) throw error
    tell(all, error instanceof DefinitionError ? 'table' : 'inputs', error)
    return bad()
  }
  note({ kind: all, check: 'table', verdict: 'holds', message: 'the tables stand together' })
  for (const type of types) {
    const { kind } = type
    try {
      checkMatrix(type)
      note({ kind, check: 'matrix', verdict: 'holds', message: 'what the table leaves out is refused' })
    } catch (error) {
      tell(kind, 'matrix', error)
    }
    try {
      const context = await stepContext(types, inputs, true)
      checkWaysOn(context, kind)
      const { size } = pathGraph(context, kind).states
      note({ kind, check: 'dead ends', verdict: 'holds', message: `none in ${size} states` })
    } catch (error) {
      tell(kind, 'dead ends', error)
    }
    const { complete, states, counterexample } = await explored(types, kind, inputs)
    const verdict = counterexample !== null ? 'violated' : complete ? 'holds' : 'not finished'
    const message =
      counterexample === null ? `${states} states, one crash at every moment` : wayTo(counterexample)
    note({ kind, check: 'exploration', verdict, message })
  }
  if (seeds > 0) {
    const { failed, steps } = await simulated(types, inputs, seeds)
    const said = failed?.violations.map(({ invariant, message }) => `${invariant}: ${message}`) ?? []
    note(
      failed === null
        ? { kind: all, check: 'simulation', verdict: 'holds', message: `${seeds} seeds, ${steps} steps` }
        : {
            ...{ kind: all, check: 'simulation', verdict: 'violated' },
            message: [`seed ${failed.seed}`, ...said].join('\n'),
          },
    )
  }
  const has = (verdict: DefinitionCheck['verdict']) => checks.some((check) => check.verdict === verdict)
  return {
    verdict: has('violated') ? 'violated' : has('not finished') ? 'not finished' : 'holds',
    checks,
    matrices: Object.fromEntries(types.map((type) => [type.kind, matrix(type)])),
  }
}
