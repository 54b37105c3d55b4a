// Walks through a graph of states that take every step at least once: fewer and longer than one path for
// each step. Nothing is dropped: a step is in a walk, or it is in no walk because no state has it.

import { statePathOf } from '../../machines/resource.ts'
import { type PathStep, stepText } from './path_steps.ts'
import type { PathEdge, PathGraph } from './paths.ts'

/** A walk from `new`: its steps, and the key of the state before each of them and after the last. */
export interface Tour {
  readonly steps: readonly PathStep[]
  readonly keys: readonly string[]
}

/** A walk longer than this ends where it is: the next one begins anew. */
const LONGEST = 200

/** Walks that take every edge that is wanted, the nearest first. */
export function toursOf(graph: PathGraph, isWanted: (edge: PathEdge) => boolean = () => true): Tour[] {
  const out = new Map<string, PathEdge[]>()
  for (const edge of graph.edges) out.set(edge.from, [...(out.get(edge.from) ?? []), edge])
  const left = new Set(graph.edges.filter(isWanted))
  const [first] = graph.states.keys()
  const tours: Tour[] = []
  while (left.size > 0) {
    const steps: PathStep[] = []
    const keys = [first!]
    for (let way = wayToLeft(first!, out, left); way.length > 0; way = wayToLeft(keys.at(-1)!, out, left)) {
      for (const edge of way) {
        steps.push(edge.step)
        keys.push(edge.to)
        left.delete(edge)
      }
      if (steps.length >= LONGEST) break
    }
    tours.push({ steps, keys })
  }
  return tours
}

/** The fewest edges from here that end with one which is left; none where no such one is ahead. */
function wayToLeft(
  from: string,
  out: ReadonlyMap<string, readonly PathEdge[]>,
  left: ReadonlySet<PathEdge>,
): readonly PathEdge[] {
  const ways = new Map<string, readonly PathEdge[]>([[from, []]])
  for (const [key, way] of ways)
    for (const edge of out.get(key) ?? []) {
      if (left.has(edge)) return [...way, edge]
      if (!ways.has(edge.to)) ways.set(edge.to, [...way, edge])
    }
  return []
}

/**
 * Says yes to the first edge of its sort: from one state of the chart, with one previous status, by one step,
 * to another; and to one that leads to where something is first refused. Data, children and counters make no
 * difference.
 */
export function oncePerTransition(graph: PathGraph): (edge: PathEdge) => boolean {
  const met = new Set<string>()
  const place = (key: string) => {
    const { row } = graph.states.get(key)!
    return `${statePathOf(row)} from ${row.previous_status} ${row.operation?.name}`
  }
  const isNew = (sort: string) => !met.has(sort) && met.add(sort) !== undefined
  const refusing = new Set<string>()
  for (const [key, steps] of graph.refused)
    for (const step of steps)
      if (isNew(`${statePathOf(graph.states.get(key)!.row)} refuses ${stepText(step)}`)) refusing.add(key)
  return ({ from, step, to }) => {
    const isFirst = isNew(`${place(from)} ${stepText(step)} ${place(to)}`)
    return refusing.delete(to) || isFirst
  }
}
