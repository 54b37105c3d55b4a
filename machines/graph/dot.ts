// A chart in Graphviz's language. Every name is a quoted string, so that no name is a word of the language. It
// draws what picture.ts gives it and decides nothing about what is shown.

import { type ChartGraph, type Drawable, type GraphState, graphOf } from '../graph.ts'
import { type ArrowSort, type Detail, pictureOf } from './picture.ts'

export interface DotOptions {
  /** As in `toMermaid`. Default `statuses`. */
  readonly detail?: Detail
  /** A state to lift out. */
  readonly highlight?: string
}

const ANY = 'any status but the first'
const PREVIOUS = 'previous status'

const LINES: Readonly<Record<ArrowSort, string>> = {
  step: 'color="#334155"',
  failed: 'color="#b91c1c"',
  cleanup: 'color="#b45309", style=dashed',
  used_up: 'color="#b45309", style=dotted',
  held: 'color="#7c3aed"',
}

const SHAPES: Readonly<Record<GraphState['sort'], string>> = {
  new: 'shape=box, style=dashed',
  rest: 'shape=box, style="rounded,filled", fillcolor="#dcfce7"',
  transitional: 'shape=box, style=filled, fillcolor="#dbeafe"',
  held: 'shape=parallelogram, style=filled, fillcolor="#ede9fe"',
  gone: 'shape=doublecircle',
  part: 'shape=box',
  plain: 'shape=box, style=rounded',
}

/**
 * A resource type or a chart for Graphviz: `rekindle graph volume --format dot | dot -Tpdf`. The same chart gives
 * the same text. Dashed arrows are cleanups, dotted ones cleanups without a try left, violet ones another
 * resource's operations, red ones failures.
 */
export function toDot(of: Drawable, options: DotOptions = {}): string {
  const { detail = 'statuses', highlight } = options
  const graph = graphOf(of)
  const { arrows, boxes } = pictureOf(graph, detail)
  const ends = new Set([
    ...(arrows.some(({ from }) => from === null) ? [ANY] : []),
    ...(arrows.some(({ to }) => to === null) ? [PREVIOUS] : []),
  ])
  const inside = (path: string) => detail === 'all' && graph.states.some(({ parent }) => parent === path)
  // Graphviz joins states, never clusters: an arrow at a cluster stands at its first state, cut at the border.
  const anchor = (path: string) => graph.states.find((state) => state.parent === path)?.path ?? path
  const lines = [
    `digraph ${quoted(graph.id)} {`,
    '  compound=true; rankdir=TB; fontname="monospace";',
    '  node [fontname="monospace"]; edge [fontname="monospace", fontsize=10];',
    '  "(start)" [shape=point, label=""];',
    ...boxes
      .filter(({ parent }) => parent === null)
      .flatMap((state) => box(graph, state, detail, highlight, '  ')),
    ...[...ends].map((name) => `  ${quoted(`(${name})`)} [shape=plaintext, label=${quoted(name)}];`),
    `  "(start)" -> ${quoted(inside(graph.initial) ? anchor(graph.initial) : graph.initial)};`,
    ...arrows.map(({ from, to, sort, label, tells }) => {
      const [tail, head] = [from ?? `(${ANY})`, to ?? `(${PREVIOUS})`]
      const more = [
        `label=${quoted(label.join('\n'))}`,
        LINES[sort],
        ...(tells.length === 0 ? [] : [`tooltip=${quoted(tells.join('\n'))}`]),
        ...(inside(tail) ? [`ltail=${quoted(`cluster_${tail}`)}`] : []),
        ...(inside(head) ? [`lhead=${quoted(`cluster_${head}`)}`] : []),
      ]
      return `  ${quoted(inside(tail) ? anchor(tail) : tail)} -> ${quoted(inside(head) ? anchor(head) : head)} [${more.join(', ')}];`
    }),
    ...legend,
    '}',
  ]
  return `${lines.join('\n')}\n`
}

/** Line ends become those of a label. */
function quoted(text: string): string {
  return `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`
}

function box(
  graph: ChartGraph,
  state: GraphState,
  detail: Detail,
  highlight: string | undefined,
  indent: string,
): string[] {
  const { path, name, sort, description } = state
  const lit = path === highlight ? ', penwidth=4, color="#d97706"' : ''
  const children = graph.states.filter(({ parent }) => parent === path)
  if (detail === 'all' && children.length > 0)
    return [
      `${indent}subgraph ${quoted(`cluster_${path}`)} {`,
      `${indent}  label=${quoted(name)}; style=filled; fillcolor="#eff6ff"${lit.replaceAll(',', ';')};`,
      ...children.flatMap((child) => box(graph, child, detail, highlight, `${indent}  `)),
      `${indent}}`,
    ]
  const tooltip = description === null ? '' : `, tooltip=${quoted(description)}`
  return [`${indent}${quoted(path)} [label=${quoted(name)}, ${SHAPES[sort]}${tooltip}${lit}];`]
}

const legend = [
  '  subgraph "cluster_(legend)" {',
  '    label="Legend"; style=rounded;',
  `    "(rest)" [label="at rest", ${SHAPES.rest}];`,
  `    "(transitional)" [label="on its way", ${SHAPES.transitional}];`,
  `    "(held)" [label="held", ${SHAPES.held}];`,
  `    "(rest)" -> "(transitional)" [label="event [guard]", ${LINES.step}];`,
  `    "(transitional)" -> "(rest)" [label="failed", ${LINES.failed}];`,
  `    "(transitional)" -> "(rest)" [label="cleanup", ${LINES.cleanup}];`,
  `    "(transitional)" -> "(rest)" [label="cleanup, no try left", ${LINES.used_up}];`,
  `    "(rest)" -> "(held)" [label="another resource's operation", ${LINES.held}];`,
  '  }',
]
