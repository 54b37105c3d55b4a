// A failing run as a person reads it: first the command that replays it, then what was violated, in words,
// the scenario to commit, and the diagram of what happened. It runs nothing.

import { diagram } from './diagram.ts'
import { type Scenario, scenarioText } from './scenario.ts'
import type { TraceEvent } from './trace.ts'

export interface FailedRun {
  /** The command that replays it. */
  readonly command: string
  readonly violations: readonly { readonly invariant: string; readonly message: string }[]
  readonly scenario: Scenario
  readonly trace: readonly TraceEvent[]
}

/** What each property of the protocol promises. */
export const properties: Readonly<Record<string, string>> = {
  one_worker: 'at most one live, unfenced execution works on a resource',
  rest_has_no_worker: 'a row is at rest if and only if nobody works on it, holds it or is asked to',
  fence_grows: 'the fence of a row never falls',
  version_grows: 'the version of a row grows by one at each change',
  finish_by_owner: 'an end is only written by the claim that the row has now',
  op_matches_row: 'a driver runs what the row was accepted for',
  accept_at_rest: 'an operation is accepted only where no other one is',
  cleaned_only_if_gone: 'a cleanup takes claims only of lives that are down or over',
  store_and_backend_agree: 'nothing is available and not there, nothing is gone and still there',
  durable_is_visible: 'what was acknowledged is there after any crash, and what was refused is not',
  linearizable: 'one order explains what every client was told',
  all_at_rest: 'once the faults stop, every row comes to rest and every life that is down is cleaned',
}

/** `width` and `most` are those of the diagram. */
export function counterexampleText(
  { command, violations, scenario, trace }: FailedRun,
  options: { readonly width?: number; readonly most?: number } = {},
): string {
  const said = violations.map(({ invariant, message }) => {
    const promise = properties[invariant]
    return `violated: ${invariant}${promise === undefined ? '' : ` (${promise})`}\n  ${message}`
  })
  return `${[command, ...said, '', scenarioText(scenario), diagram(trace, { most: 120, ...options })].join('\n')}`
}
