// The states a resource can come to, and the shortest steps to each: by a search of our own over `decide`,
// and by the traversal of @xstate/graph over the chart alone. Both know a state by what may happen next in
// it, so counters that only grow make no new states. Nothing is run here.

import { createTestModel } from '@xstate/graph'
import type { AnyMachineSnapshot } from 'xstate'
import { checkTypes, type ResourceType } from '../../machines/definition.ts'
import { emptyRow } from '../../machines/resource.ts'
import type { ResourceRow } from '../../machines/row.ts'
import { checkInputs, type Inputs } from './inputs.ts'
import {
  decideStep,
  eventOf,
  type PathStep,
  relatedRows,
  type StepContext,
  stateKey,
  stepsFrom,
  stepText,
  TOPIC,
} from './path_steps.ts'

/** A state of a resource, and the fewest steps that lead there from `new`. */
export interface PathState {
  readonly key: string
  readonly row: ResourceRow
  readonly steps: readonly PathStep[]
}

/** A step that is accepted: from the state with one key to that with another. */
export interface PathEdge {
  readonly from: string
  readonly step: PathStep
  readonly to: string
}

export interface PathGraph {
  /** In the order in which they were found: the nearest first. */
  readonly states: ReadonlyMap<string, PathState>
  readonly edges: readonly PathEdge[]
  /** What callers may ask and are refused, by state. */
  readonly refused: ReadonlyMap<string, readonly PathStep[]>
}

/** More states than this are a table that paths are no test for. */
const MOST_STATES = 20_000

/** What steps are made from: types that were checked together, inputs that fit their schemas. */
export async function stepContext(
  types: readonly ResourceType[],
  inputs: Inputs,
  at_backend: boolean,
  left_out: readonly string[] = [],
): Promise<StepContext> {
  const checked = await checkInputs(types, inputs)
  const ids = [...checked].flatMap(([kind, operations]) =>
    [...operations.values()].flat().flatMap((input) => input.ids.map(({ field }) => `${kind}.${field}`)),
  )
  return {
    ...{ types: checkTypes(types), inputs: checked, at_backend },
    ...{ left_out: new Set(left_out), ids: new Set(ids) },
  }
}

/** Every state that a resource of this kind can come to, nearest first, by a search over `decide`. */
export function pathGraph(context: StepContext, kind: string): PathGraph {
  const states = new Map<string, PathState>()
  const edges: PathEdge[] = []
  const refused = new Map<string, readonly PathStep[]>()
  const first = emptyRow(kind, `${kind}0`, TOPIC)
  const queue: PathState[] = [{ key: stateKey(context, first), row: first, steps: [] }]
  states.set(queue[0]!.key, queue[0]!)
  for (let state = queue.shift(); state !== undefined; state = queue.shift()) {
    const no: PathStep[] = []
    for (const step of stepsFrom(context, state.row)) {
      const decision = decideStep(context, state.row, step)
      if (!decision.accepted) {
        if (step.do === 'ask' || step.do === 'cancel') no.push(step)
        continue
      }
      const to = stateKey(context, decision.row)
      edges.push({ from: state.key, step, to })
      if (states.has(to)) continue
      const next = { key: to, row: decision.row, steps: [...state.steps, step] }
      states.set(to, next)
      queue.push(next)
      if (states.size > MOST_STATES)
        throw new Error(`${kind} has more than ${MOST_STATES} states: give fewer inputs`)
    }
    refused.set(state.key, no)
  }
  return { states, edges, refused }
}

/** The fewest steps to a state that is wanted; null where none is reached. */
export function shortestPath(
  context: StepContext,
  kind: string,
  isWanted: (row: ResourceRow) => boolean,
): readonly PathStep[] | null {
  for (const { row, steps } of pathGraph(context, kind).states.values()) if (isWanted(row)) return steps
  return null
}

/** The paths of @xstate/graph: to each state the shortest, over the chart alone. */
export function graphPaths(context: StepContext, kind: string): PathState[] {
  return found(context, model(context, kind).getShortestPaths(traversal(context)))
}

/**
 * Every way without a state twice, by @xstate/graph, from a state at rest through one operation to rest
 * again. Without that bound their number grows beyond counting.
 */
export function simplePaths(context: StepContext, kind: string, from: PathState): PathState[] {
  const { chart } = context.types.get(kind)!
  const fromState = chart.resolveState({ value: from.row.status, context: from.row }) as AnyMachineSnapshot
  const isBack = (snapshot: AnyMachineSnapshot) =>
    snapshot.hasTag('rest') && stateKey(context, rowOf(snapshot)) !== from.key
  const paths = model(context, kind).getSimplePaths({
    ...traversal(context),
    fromState: fromState as never,
    stopWhen: isBack as never,
    toState: isBack as never,
  })
  return found(context, paths).map((path) => ({ ...path, steps: [...from.steps, ...path.steps] }))
}

interface Stepped {
  readonly type: string
  readonly step: PathStep
}

function model(context: StepContext, kind: string) {
  const { chart } = context.types.get(kind)!
  const input = emptyRow(kind, `${kind}0`, TOPIC)
  return createTestModel(chart, {
    input: input as never,
    serializeState: ((snapshot: AnyMachineSnapshot) => stateKey(context, rowOf(snapshot))) as never,
    serializeEvent: ((event: { readonly type: string; readonly step?: PathStep }) =>
      event.step === undefined ? event.type : stepText(event.step)) as never,
  })
}

/** Given to each traversal: a model's own events are filled up with bare ones, which no guard here expects. */
function traversal(context: StepContext) {
  return {
    allowDuplicatePaths: true,
    // Relative to the state, so that a fence which grows makes no new events.
    events: ((snapshot: AnyMachineSnapshot) => eventsIn(context, rowOf(snapshot))) as never,
  }
}

/** The chart alone does not count versions; what matters is whether there is a row at all. */
function rowOf(snapshot: AnyMachineSnapshot): ResourceRow {
  const row = snapshot.context as ResourceRow
  return { ...row, version: snapshot.value === 'new' ? 0 : Math.max(1, row.version) }
}

function eventsIn(context: StepContext, row: ResourceRow): Stepped[] {
  return stepsFrom(context, row).flatMap((step) => {
    const decision = decideStep(context, row, step)
    // The chart knows its own row alone: that another one says no is not its affair.
    if (!decision.accepted && decision.resource.id !== row.id) return []
    const event = eventOf(context, row, step)
    const partners = step.do === 'ask' ? step.partners : {}
    const rows = [...relatedRows(context, row, event, partners, new Map()).values()]
    const related = Object.fromEntries(rows.map((one) => [one!.kind, one]))
    return [{ ...(event as { readonly type: string }), related, step }]
  })
}

function found(
  context: StepContext,
  paths: readonly { readonly state: unknown; readonly steps: readonly { readonly event: unknown }[] }[],
): PathState[] {
  return paths.map(({ state, steps }) => {
    const row = rowOf(state as AnyMachineSnapshot)
    const taken = steps.flatMap(({ event }) => ('step' in (event as object) ? [(event as Stepped).step] : []))
    return { key: stateKey(context, row), row, steps: taken }
  })
}
