// What a picture of a chart shows: boxes and arrows, without what stays inside a status, or with all of it. It
// folds by the names that every resource chart shares and knows no notation: Mermaid, DOT and SVG draw it.

import { type ChartGraph, type GraphEdge, type GraphState, guardNames } from '../graph.ts'
import { QUEUED } from '../resource.ts'
import { protocolGuards, USED_UP } from '../vocabulary.ts'

/** `statuses`: one box a status. `all`: every state, every transition, every guard and command. */
export type Detail = 'statuses' | 'all'

/**
 * `step`: what is asked, or happens. `failed`: a driver failed. `cleanup`: the policy of a status, what becomes of
 * its claim when the node goes down. `used_up`: no try is left. `held`: another resource's operation.
 */
export type ArrowSort = 'step' | 'failed' | 'cleanup' | 'used_up' | 'held'

export interface Arrow {
  /** A box; null: every status but the first and the last. */
  readonly from: string | null
  /** A box; null: back to the rest status that it was in. */
  readonly to: string | null
  readonly sort: ArrowSort
  readonly label: readonly string[]
  /** Descriptions and commands, a line each. */
  readonly tells: readonly string[]
}

export interface Picture {
  readonly id: string
  readonly detail: Detail
  readonly initial: string
  readonly boxes: readonly GraphState[]
  /** One of a sort between the same two boxes. */
  readonly arrows: readonly Arrow[]
}

interface Folded extends Omit<Arrow, 'label'> {
  readonly text: string
}

export function pictureOf(graph: ChartGraph, detail: Detail): Picture {
  const folded = detail === 'all' ? graph.edges.flatMap(everyEdge) : fromAnywhere(graph, statusEdges(graph))
  const arrows = withoutRepeats(merged(folded))
  const { id, initial, states } = graph
  const boxes = detail === 'all' ? states : states.filter(({ parent }) => parent === null)
  return { id, detail, initial, boxes, arrows }
}

/** What every state accepts without leaving it has no place between two boxes. */
function everyEdge(edge: GraphEdge): Folded[] {
  const { from, event, guard } = edge
  if (from === null) return []
  const commands = commandsOf(edge)
  const guards = guardNames(guard)
  const text = `${event}${guards.length === 0 ? '' : ` [${guards.join(', ')}]`}${commands.length === 0 ? '' : ` / ${commands.join(', ')}`}`
  return [{ from, to: edge.to ?? from, sort: sortOf(edge), text, tells: tellsOf(edge) }]
}

function commandsOf({ actions }: GraphEdge): string[] {
  return actions.filter(({ is_command }) => is_command).map(({ type }) => type)
}

function tellsOf(edge: GraphEdge): string[] {
  const commands = commandsOf(edge)
  return [
    ...(edge.description === null ? [] : [edge.description]),
    ...(commands.length === 0 ? [] : [`asks for: ${commands.join(', ')}`]),
  ]
}

const names = (edge: GraphEdge) => guardNames(edge.guard)

function isCleanup({ event }: GraphEdge): boolean {
  return event.split('.').includes('cleanup')
}

function isUsedUp(edge: GraphEdge): boolean {
  const last = ['hasNoTryLeft', 'hasNoCleanupLeft', `hasPolicy(${USED_UP})`]
  return names(edge).some((guard) => last.includes(guard))
}

function sortOf(edge: GraphEdge): ArrowSort {
  if (isCleanup(edge)) return isUsedUp(edge) ? 'used_up' : 'cleanup'
  const parts = edge.event.split('.')
  if (names(edge).some((guard) => /^is(?:HoldAs|HeldBy)\b/.test(guard)) || parts[0] === 'drop') return 'held'
  return parts.at(-1) === 'failed' ? 'failed' : 'step'
}

const statusOf = (path: string) => path.split('.')[0]!

/** The edges between statuses. */
function statusEdges(graph: ChartGraph): Folded[] {
  return graph.edges.flatMap((edge): Folded[] => {
    if (edge.from === null || edge.to === null) return []
    const guards = names(edge)
    const from = statusOf(edge.from)
    const to = guards.some((guard) => guard.startsWith('wasStatus(')) ? null : statusOf(edge.to)
    const sort = sortOf(edge)
    const isAgain = sort === 'cleanup' && edge.to === `${statusOf(edge.to)}.${QUEUED}`
    const isOwn = edge.from === edge.to && !edge.from.includes('.')
    if (from === to && !isAgain && !isOwn) return []
    const said = isAgain
      ? 'cleanup, again'
      : sort === 'used_up'
        ? 'cleanup, no try left'
        : sort === 'cleanup'
          ? 'cleanup'
          : edge.event
    // What a caller may not ask for is of interest here, and the codes that a driver fails with; who may
    // answer is the protocol's affair.
    const isAsked = edge.from === from && !edge.event.includes('.')
    const shown = isAsked ? guards.filter(isPlain) : guards.flatMap(codeIn)
    const text = shown.length === 0 || isCleanup(edge) ? said : `${said} [${shown.join(', ')}]`
    return [{ from, to, sort, text, tells: isCleanup(edge) ? [] : tellsOf(edge) }]
  })
}

function isPlain(guard: string): boolean {
  return !guard.includes('(') && !Object.hasOwn(protocolGuards, guard)
}

function codeIn(guard: string): string[] {
  const [, code] = /^hasCode\((.*)\)$/.exec(guard) ?? []
  return code === undefined ? [] : [code]
}

/** What almost every status offers, the first and the last aside, starts anywhere; which do not, it says. */
function fromAnywhere(graph: ChartGraph, edges: readonly Folded[]): Folded[] {
  const statuses = graph.states
    .filter(({ parent, is_final, path }) => parent === null && !is_final && path !== graph.initial)
    .map(({ path }) => path)
  const ways = new Map<string, Set<string>>()
  const wayOf = ({ text, to }: Folded) => `${text}\n${to}`
  for (const edge of edges) {
    // What leads to a status may be asked for in it too, and then stays there.
    const from = ways.get(wayOf(edge)) ?? new Set(edge.to === null ? [] : [edge.to])
    ways.set(wayOf(edge), edge.from === null ? from : from.add(edge.from))
  }
  return edges.map((edge) => {
    if (edge.from === graph.initial) return edge
    const without = statuses.filter((status) => !ways.get(wayOf(edge))!.has(status))
    if (statuses.length < 4 || without.length * 4 > statuses.length) return edge
    return {
      ...edge,
      from: null,
      text: `${edge.text}${without.length === 0 ? '' : `, not in ${without.join(', ')}`}`,
    }
  })
}

/** One arrow for all edges of one sort between the same two boxes. */
function merged(edges: readonly Folded[]): Arrow[] {
  const arrows = new Map<string, { arrow: Arrow; label: string[]; tells: string[] }>()
  for (const { from, to, sort, text, tells } of edges) {
    const key = `${from}\n${to}\n${sort}`
    const known = arrows.get(key) ?? {
      ...{ arrow: { from, to, sort, label: [], tells: [] }, label: [], tells: [] },
    }
    arrows.set(key, known)
    if (!known.label.includes(text)) known.label.push(text)
    for (const line of tells) if (!known.tells.includes(line)) known.tells.push(line)
  }
  return [...arrows.values()].map(({ arrow, label, tells }) => ({ ...arrow, label, tells }))
}

/** That no try is left is of no interest where the policy leads to the same status. */
function withoutRepeats(arrows: readonly Arrow[]): Arrow[] {
  return arrows.filter(
    ({ sort, from, to }) =>
      sort !== 'used_up' ||
      !arrows.some((other) => other.sort === 'cleanup' && other.from === from && other.to === to),
  )
}
