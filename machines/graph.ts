// A chart as data: its states and transitions, guards and actions, read from the chart itself through the graph
// package. Every picture and every other notation is made from this. The only file here that loads that
// package, which costs as much time as xstate itself; the runtime never does. It may not know any one chart.

import { type DirectedGraphEdge, type DirectedGraphNode, toDirectedGraph } from '@xstate/graph'
import type { AnyStateMachine, AnyStateNode } from 'xstate'
import type { ResourceType } from './definition.ts'
import type { JsonObject } from './row.ts'

/** A guard by its name, or several of them. Guards are pure and total; the names are the chart's vocabulary. */
export type GraphGuard =
  | { readonly type: string; readonly params?: JsonObject }
  | { readonly and: readonly GraphGuard[] }
  | { readonly or: readonly GraphGuard[] }
  | { readonly not: GraphGuard }

export interface GraphAction {
  readonly type: string
  /** Absent where there are none, or where they are made of the event; then `params_from`. */
  readonly params?: JsonObject
  /** The function that makes the parameters, as text. */
  readonly params_from?: string
  /** The runtime does it once the row is durable; otherwise it changes the row. */
  readonly is_command: boolean
}

/**
 * `new`: where a resource begins. `rest`: nobody works on it. `transitional`: an operation is on its way.
 * `held`: another resource's operation has it. `gone`: the end. `part`: inside another state. `plain`: a state of
 * a chart that is no resource's.
 */
export type StateSort = 'new' | 'rest' | 'transitional' | 'held' | 'gone' | 'part' | 'plain'

export interface GraphState {
  /** `available`, `extending.queued`. */
  readonly path: string
  readonly name: string
  readonly parent: string | null
  readonly sort: StateSort
  /** Where it begins, if it has states inside. */
  readonly initial: string | null
  readonly is_final: boolean
  readonly tags: readonly string[]
  readonly description: string | null
  readonly entry: readonly GraphAction[]
}

export interface GraphEdge {
  /** A state's path; null: every state, the chart's own. */
  readonly from: string | null
  readonly event: string
  /** Null: it stays where it is. */
  readonly to: string | null
  readonly guard: GraphGuard | null
  readonly actions: readonly GraphAction[]
  readonly reenter: boolean
  readonly description: string | null
}

/** A whole chart. Plain JSON: what is written and read back draws the same. */
export interface ChartGraph {
  readonly id: string
  readonly initial: string
  /** Outer ones before inner ones, in the order of the chart. */
  readonly states: readonly GraphState[]
  /** By state, in the order in which the chart asks them. */
  readonly edges: readonly GraphEdge[]
}

/** What can be drawn. */
export type Drawable = ResourceType | AnyStateMachine | ChartGraph

/**
 * The graph of a resource type or a chart; a graph is given back as it is. Pure; the same chart gives an equal
 * graph. It reads `on` and `entry`, all that the charts here are made of.
 *
 * @example
 * JSON.stringify(graphOf(volume)) // states: [{ path: 'new', ... }, ...], edges: [{ from: 'new', event: 'create', ... }]
 */
export function graphOf(of: Drawable): ChartGraph {
  if ('edges' in of) return of
  const chart = 'chart' in of ? of.chart : of
  const graph = toDirectedGraph(chart)
  const root = graph.stateNode as AnyStateNode
  const isResource = graph.children.some(({ stateNode }) => stateNode.tags.includes('rest'))
  const initial = pathOf(root.initial.target[0]!)
  const actionsOf = readActions(chart)
  const states: GraphState[] = []
  const edges: GraphEdge[] = []
  const visit = (node: DirectedGraphNode) => {
    const state = node.stateNode as AnyStateNode
    if (state !== root)
      states.push({
        path: pathOf(state),
        name: state.key,
        parent: state.path.length === 1 ? null : pathOf(state.parent!),
        sort: isResource ? sortOf(state, initial) : state.path.length === 1 ? 'plain' : 'part',
        initial: node.children.length === 0 ? null : pathOf(state.initial.target[0]!),
        is_final: state.type === 'final',
        tags: state.tags,
        description: state.description ?? null,
        entry: actionsOf(state.entry),
      })
    for (const edge of node.edges) edges.push(edgeFrom(edge, root, actionsOf))
    node.children.forEach(visit)
  }
  visit(graph)
  return { id: root.id, initial, states, edges }
}

function edgeFrom(
  { source, transition }: DirectedGraphEdge,
  root: AnyStateNode,
  actionsOf: (actions: readonly unknown[]) => GraphAction[],
): GraphEdge {
  const [target] = transition.target ?? []
  return {
    from: source === root ? null : pathOf(source),
    event: transition.eventType,
    to: target === undefined ? null : pathOf(target),
    guard: transition.guard === undefined ? null : guardFrom(transition.guard),
    actions: actionsOf(transition.actions),
    reenter: transition.reenter,
    description: transition.description ?? null,
  }
}

function pathOf(state: AnyStateNode): string {
  return state.path.join('.')
}

function sortOf(state: AnyStateNode, initial: string): StateSort {
  if (state.path.length > 1) return 'part'
  if (state.key === initial) return 'new'
  if (state.type === 'final') return 'gone'
  if (state.tags.includes('held')) return 'held'
  return state.tags.includes('rest') ? 'rest' : 'transitional'
}

function guardFrom(guard: unknown): GraphGuard {
  if (typeof guard === 'string') return { type: guard }
  if (typeof guard === 'function') {
    const inner = ((guard as { guards?: readonly unknown[] }).guards ?? []).map(guardFrom)
    if (guard.name === 'not') return { not: inner[0]! }
    return guard.name === 'or' ? { or: inner } : { and: inner }
  }
  const { type, params } = guard as { type: string; params?: JsonObject }
  return { type, ...(typeof params === 'object' ? { params } : {}) }
}

function readActions(chart: AnyStateMachine) {
  const known = chart.implementations.actions as Readonly<Record<string, unknown>>
  return (actions: readonly unknown[]): GraphAction[] =>
    actions.map((action) => {
      const { type, params } = (typeof action === 'string' ? { type: action } : action) as {
        type: string
        params?: unknown
      }
      const is_command = (known[type] as { type?: string } | undefined)?.type !== 'xstate.assign'
      if (typeof params === 'function') return { type, params_from: String(params), is_command }
      return { type, ...(params === undefined ? {} : { params: params as JsonObject }), is_command }
    })
}

/** The names of a guard: `isDue`, `wasStatus(available)`, `not isFresh`; those of a conjunction one by one. */
export function guardNames(guard: GraphGuard | null): string[] {
  if (guard === null) return []
  if ('and' in guard) return guard.and.flatMap(guardNames)
  if ('or' in guard) return [guard.or.map((one) => guardNames(one).join(' and ')).join(' or ')]
  if ('not' in guard) return [`not ${guardNames(guard.not).join(' and ')}`]
  const values = Object.values(guard.params ?? {})
  return [values.length === 0 ? guard.type : `${guard.type}(${values.join(', ')})`]
}
