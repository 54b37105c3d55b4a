// A chart as a Mermaid flowchart, which GitHub renders. It draws what picture.ts gives it and decides nothing
// about what is shown.

import { type ChartGraph, type Drawable, type GraphState, graphOf } from '../graph.ts'
import { type Arrow, type Detail, pictureOf } from './picture.ts'

export interface MermaidOptions {
  /**
   * `statuses` (default): one box a status, without what stays inside a status. What every status but the
   * first offers starts at one box; what goes back to where the resource was ends at one, `previous status`.
   * `all`: every state, every transition with every guard and command.
   */
  readonly detail?: Detail
  /** `TD` (default): from top to bottom; `LR`: from left to right. */
  readonly direction?: 'TD' | 'LR'
  /** A state to lift out: `extending`, or `extending.queued` with detail `all`. */
  readonly highlight?: string
  /** Says what the shapes and arrows mean. Default false. */
  readonly legend?: boolean
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
export function toMermaid(of: Drawable, options: MermaidOptions = {}): string {
  const { detail = 'statuses', direction = 'TD', highlight, legend = false } = options
  const graph = graphOf(of)
  const { initial, arrows } = pictureOf(graph, detail)
  const lines = [
    `flowchart ${direction}`,
    `  start(( )) --> ${idOf(initial)}`,
    ...graph.states
      .filter(({ parent }) => parent === null)
      .flatMap((state) => box(graph, state, detail, '  ')),
    ...[
      ...(arrows.some(({ from }) => from === null) ? [ANY] : []),
      ...(arrows.some(({ to }) => to === null) ? [PREVIOUS] : []),
    ].map((name) => `  ${idOf(name)}{{"${name}"}}`),
    ...joined(arrows).map(({ from, to, label, isCleanup }) => {
      const text = label.length === 0 ? '' : `|"${label.map(escaped).join('<br/>')}"|`
      return `  ${idOf(from ?? ANY)} ${isCleanup ? '-.->' : '-->'}${text} ${idOf(to ?? PREVIOUS)}`
    }),
    ...(legend ? LEGEND : []),
    ...(highlight === undefined
      ? []
      : ['  classDef highlight stroke:#d97706,stroke-width:4px', `  class ${idOf(highlight)} highlight`]),
  ]
  return `${lines.join('\n')}\n`
}

const LEGEND = [
  '  subgraph legend["Legend"]',
  '    l_rest(["at rest"]) -->|"event [guard]"| l_transitional["on its way"]',
  '    l_transitional -.->|"cleanup: its node went down"| l_rest',
  '    l_held[/"held by another resource"/]',
  '  end',
]

interface Line {
  readonly from: string | null
  readonly to: string | null
  readonly isCleanup: boolean
  readonly label: readonly string[]
}

/** Mermaid has two sorts of arrows here; what is of one is one. */
function joined(arrows: readonly Arrow[]): Line[] {
  const lines = new Map<string, Line>()
  for (const { from, to, sort, label } of arrows) {
    const isCleanup = sort === 'cleanup' || sort === 'used_up'
    const key = `${from}\n${to}\n${isCleanup}`
    const before = lines.get(key)?.label ?? []
    lines.set(key, { from, to, isCleanup, label: [...new Set([...before, ...label])] })
  }
  return [...lines.values()]
}

/** A prefix, since Mermaid has words of its own (`end`, `class`). */
function idOf(name: string): string {
  return `s_${name.replace(/[^A-Za-z0-9_]/g, (mark) => (mark === '.' ? '__' : mark === ' ' ? '_' : '-'))}`
}

/** Codes of a driver are any text. */
function escaped(text: string): string {
  return text.replace(/["<>#&]/g, (mark) => `#${mark.codePointAt(0)};`).replace(/\s+/g, ' ')
}

function box(graph: ChartGraph, state: GraphState, detail: Detail, indent: string): string[] {
  const { path, name, tags } = state
  const id = idOf(path)
  const inside = graph.states.filter(({ parent }) => parent === path)
  if (detail === 'all' && inside.length > 0)
    return [
      `${indent}subgraph ${id}["${name}"]`,
      ...inside.flatMap((child) => box(graph, child, detail, `${indent}  `)),
      `${indent}end`,
    ]
  if (state.is_final) return [`${indent}${id}((("${name}")))`]
  if (tags.includes('held')) return [`${indent}${id}[/"${name}"/]`]
  return [`${indent}${id}${tags.includes('rest') ? `(["${name}"])` : `["${name}"]`}`]
}
