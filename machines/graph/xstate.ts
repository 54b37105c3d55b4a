// A chart as the source of an XState machine: a module that can be pasted where XState is used, in a visual editor
// of it too. Guards and actions are names; whoever runs it provides them.

import {
  type ChartGraph,
  type Drawable,
  type GraphAction,
  type GraphEdge,
  type GraphGuard,
  graphOf,
} from '../graph.ts'

/**
 * A resource type or a chart as a JavaScript module that exports `machine`. The same chart gives the same text. With
 * `machine.provide({ guards, actions })` it decides as the chart does; its context is its input.
 *
 * @example
 * toXState(volume) // import { and, createMachine } from 'xstate'\nexport const machine = createMachine({ id: 'volume', ...
 */
export function toXState(of: Drawable): string {
  const graph = graphOf(of)
  const config = {
    id: graph.id,
    initial: graph.initial,
    context: new Source('({ input }) => input'),
    ...onOf(graph, null),
    states: statesOf(graph, null),
  }
  const body = written(config, '')
  const used = ['and', 'createMachine', 'not', 'or'].filter(
    (name) => name === 'createMachine' || body.includes(`guard: ${name}(`) || body.includes(` ${name}(`),
  )
  return `import { ${used.join(', ')} } from 'xstate'\n\nexport const machine = createMachine(${body})\n`
}

/** Text that is code. */
class Source {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function statesOf(graph: ChartGraph, parent: string | null): object {
  const inside = graph.states.filter((state) => state.parent === parent)
  return Object.fromEntries(
    inside.map(({ path, name, initial, is_final, tags, description, entry }) => [
      name,
      {
        ...(is_final ? { type: 'final' } : {}),
        ...(description === null ? {} : { description }),
        ...(tags.length === 0 ? {} : { tags }),
        ...(entry.length === 0 ? {} : { entry: entry.map(action) }),
        ...(initial === null ? {} : { initial: initial.slice(path.length + 1) }),
        ...onOf(graph, path),
        ...(initial === null ? {} : { states: statesOf(graph, path) }),
      },
    ]),
  )
}

function onOf(graph: ChartGraph, from: string | null): object {
  const edges = graph.edges.filter((edge) => edge.from === from)
  if (edges.length === 0) return {}
  const on: { [event: string]: object[] } = {}
  for (const edge of edges) on[edge.event] = [...(on[edge.event] ?? []), transition(graph, edge)]
  return { on }
}

function transition({ id }: ChartGraph, { guard, to, actions, reenter, description }: GraphEdge): object {
  return {
    ...(guard === null ? {} : { guard: guardSource(guard) }),
    ...(to === null ? {} : { target: `#${id}.${to}` }),
    ...(reenter ? { reenter } : {}),
    ...(actions.length === 0 ? {} : { actions: actions.map(action) }),
    ...(description === null ? {} : { description }),
  }
}

function guardSource(guard: GraphGuard): Source {
  if ('and' in guard) return new Source(`and([${guard.and.map((one) => guardSource(one).text).join(', ')}])`)
  if ('or' in guard) return new Source(`or([${guard.or.map((one) => guardSource(one).text).join(', ')}])`)
  if ('not' in guard) return new Source(`not(${guardSource(guard.not).text})`)
  return new Source(
    guard.params === undefined
      ? JSON.stringify(guard.type)
      : `{ type: ${JSON.stringify(guard.type)}, params: ${JSON.stringify(guard.params)} }`,
  )
}

function action({ type, params, params_from }: GraphAction): string | object {
  if (params_from !== undefined) return { type, params: new Source(params_from) }
  return params === undefined ? type : { type, params }
}

/** What is short stands on one line. */
function written(value: unknown, indent: string): string {
  if (value instanceof Source) return value.text
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const more = `${indent}  `
  const parts = Array.isArray(value)
    ? value.map((one) => written(one, more))
    : Object.entries(value).map(([name, one]) => `${key(name)}: ${written(one, more)}`)
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}']
  const short = Array.isArray(value) ? `[${parts.join(', ')}]` : `{ ${parts.join(', ')} }`
  if (parts.length === 0) return `${open}${close}`
  if (short.length + indent.length <= 100 && !short.includes('\n')) return short
  return `${open}\n${parts.map((part) => `${more}${part},\n`).join('')}${indent}${close}`
}

function key(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)
}
