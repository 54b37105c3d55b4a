// The picture of a chart, drawn from the chart itself: a Mermaid flowchart that GitHub renders. The only file
// here that loads the graph package, which costs as much time as xstate itself; the runtime never does.
// It may not know any one chart: what it folds, it folds by the names that every resource chart shares.

import { type DirectedGraphEdge, type DirectedGraphNode, toDirectedGraph } from '@xstate/graph'
import type { AnyStateMachine, AnyStateNode } from 'xstate'
import type { ResourceType } from './definition.ts'
import { QUEUED } from './resource.ts'
import { protocolGuards } from './vocabulary.ts'

export interface MermaidOptions {
  /**
   * `statuses` (default): one box a status, without what stays inside a status. What every status but the
   * first offers starts at one box; what goes back to where the resource was ends at one, `previous status`.
   * `all`: every state, every transition with every guard.
   */
  readonly detail?: 'statuses' | 'all'
  /** `TD` (default): from top to bottom; `LR`: from left to right. */
  readonly direction?: 'TD' | 'LR'
}

interface Edge {
  readonly from: string
  readonly to: string
  readonly event: string
  readonly guards: readonly string[]
  readonly isCleanup: boolean
}

const ANY = 'any status but the first'
const PREVIOUS = 'previous status'

/**
 * A resource type or a chart as a Mermaid flowchart. The same chart gives the same text. Dotted arrows are
 * cleanups: what becomes of a claim whose node is over. Names in brackets are guards.
 *
 * @example
 * console.log(toMermaid(volume))
 */
export function toMermaid(of: ResourceType | AnyStateMachine, options: MermaidOptions = {}): string {
  const { detail = 'statuses', direction = 'TD' } = options
  const chart = 'chart' in of ? (of.chart as AnyStateMachine) : (of as AnyStateMachine)
  const graph = toDirectedGraph(chart)
  const edges = merged(detail === 'all' ? everyEdge(graph) : folded(graph))
  const named = new Set(edges.flatMap(({ from, to }) => [from, to]))
  const lines = [
    `flowchart ${direction}`,
    `  start(( )) --> ${idOf(nameOf(initialOf(graph)))}`,
    ...graph.children.flatMap((child) => box(child, detail, '  ')),
    ...[ANY, PREVIOUS].filter((name) => named.has(name)).map((name) => `  ${idOf(name)}{{"${name}"}}`),
    ...edges.map(({ from, to, label, isCleanup }) => {
      const text = label.length === 0 ? '' : `|"${label.join('<br/>')}"|`
      return `  ${idOf(from)} ${isCleanup ? '-.->' : '-->'}${text} ${idOf(to)}`
    }),
  ]
  return `${lines.join('\n')}\n`
}

/** `extending.queued`; the root is the chart's own id. */
function nameOf(node: AnyStateNode): string {
  return node.path.length === 0 ? node.id : node.path.join('.')
}

/** A prefix, since Mermaid has words of its own (`end`, `class`). */
function idOf(name: string): string {
  return `s_${name.replace(/[^A-Za-z0-9_]/g, (mark) => (mark === '.' ? '__' : mark === ' ' ? '_' : '-'))}`
}

function initialOf(graph: DirectedGraphNode): AnyStateNode {
  return (graph.stateNode as AnyStateNode).initial.target[0]!
}

function box(node: DirectedGraphNode, detail: 'statuses' | 'all', indent: string): string[] {
  const state = node.stateNode as AnyStateNode
  const id = idOf(nameOf(state))
  if (detail === 'all' && node.children.length > 0)
    return [
      `${indent}subgraph ${id}["${state.key}"]`,
      ...node.children.flatMap((child) => box(child, detail, `${indent}  `)),
      `${indent}end`,
    ]
  if (state.type === 'final') return [`${indent}${id}((("${state.key}")))`]
  const isQuiet = state.tags.includes('rest')
  if (state.tags.includes('held')) return [`${indent}${id}[/"${state.key}"/]`]
  return [`${indent}${id}${isQuiet ? `(["${state.key}"])` : `["${state.key}"]`}`]
}

function edgesOf(node: DirectedGraphNode): readonly DirectedGraphEdge[] {
  return [...node.edges, ...node.children.flatMap(edgesOf)]
}

function everyEdge(graph: DirectedGraphNode): Edge[] {
  return edgesOf(graph)
    .filter((edge) => !isRoot(edge))
    .map((edge) => ({
      from: nameOf(edge.source),
      to: nameOf(edge.target),
      event: edge.label.text,
      guards: guardsOf(edge.transition.guard),
      isCleanup: isCleanup(edge.label.text),
    }))
}

/** What every state accepts without leaving it has no place between two boxes. */
function isRoot(edge: DirectedGraphEdge): boolean {
  return edge.source.path.length === 0
}

function isCleanup(event: string): boolean {
  return event.split('.').includes('cleanup')
}

/** The edges between statuses. */
function folded(graph: DirectedGraphNode): Edge[] {
  const edges: Edge[] = []
  for (const edge of edgesOf(graph)) {
    if (isRoot(edge)) continue
    const event = edge.label.text
    const guards = guardsOf(edge.transition.guard)
    const from = edge.source.path[0]!
    const goesBack = guards.some((guard) => guard.startsWith('wasStatus('))
    const to = goesBack ? PREVIOUS : edge.target.path[0]!
    const isAgain = isCleanup(event) && nameOf(edge.target) === `${to}.${QUEUED}`
    if (from === to && !isAgain) continue
    edges.push({
      from,
      to,
      event: isAgain ? 'cleanup, again' : isCleanup(event) ? 'cleanup' : event,
      // What a caller may not ask for is of interest here; who may answer is the protocol's affair.
      guards: edge.source.path.length === 1 && !event.includes('.') ? guards.filter(isPlain) : [],
      isCleanup: isCleanup(event),
    })
  }
  return fromAny(graph, edges)
}

function isPlain(guard: string): boolean {
  return !guard.includes('(') && !Object.hasOwn(protocolGuards, guard)
}

/** What every status offers, the first and the last aside, starts at one box. */
function fromAny(graph: DirectedGraphNode, edges: readonly Edge[]): Edge[] {
  const first = nameOf(initialOf(graph))
  const statuses = graph.children
    .map(({ stateNode }) => stateNode as AnyStateNode)
    .filter((state) => state.type !== 'final' && state.key !== first)
    .map(({ key }) => key)
  const wayOf = ({ to, event }: Edge) => `${event}\n${to}`
  const ways = new Map<string, Set<string>>()
  for (const edge of edges)
    ways.set(wayOf(edge), (ways.get(wayOf(edge)) ?? new Set([edge.to])).add(edge.from))
  const isEverywhere = (edge: Edge) =>
    statuses.length > 2 && statuses.every((status) => ways.get(wayOf(edge))!.has(status))
  return edges.map((edge) => (edge.from !== first && isEverywhere(edge) ? { ...edge, from: ANY } : edge))
}

interface Merged {
  readonly from: string
  readonly to: string
  readonly isCleanup: boolean
  readonly label: string[]
}

/** One arrow for all edges of one sort between the same two boxes. */
function merged(edges: readonly Edge[]): Merged[] {
  const arrows = new Map<string, Merged>()
  for (const { from, to, event, guards, isCleanup } of edges) {
    const key = `${from}\n${to}\n${isCleanup}`
    const arrow = arrows.get(key) ?? { from, to, isCleanup, label: [] }
    arrows.set(key, arrow)
    const line = guards.length === 0 ? event : `${event} [${guards.join(', ')}]`
    if (!arrow.label.includes(line)) arrow.label.push(line)
  }
  return [...arrows.values()]
}

/** The names of a guard: `isDue`, `wasStatus(available)`, `not isFresh`; those of a conjunction one by one. */
function guardsOf(guard: unknown): string[] {
  if (guard === undefined) return []
  if (typeof guard === 'string') return [guard]
  if (typeof guard === 'function') {
    const inner = ((guard as { guards?: readonly unknown[] }).guards ?? []).flatMap(guardsOf)
    return guard.name === 'not' ? [`not ${inner.join(', ')}`] : inner
  }
  const { type, params } = guard as { type: string; params?: object }
  const values = typeof params === 'object' ? Object.values(params) : []
  return [values.length === 0 ? type : `${type}(${values.join(', ')})`]
}
