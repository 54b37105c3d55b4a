// A chart in the W3C's notation for statecharts. A condition is an ECMAScript expression that calls the guards by
// their names; what a transition does stands in elements of a namespace of our own. Nothing is left out: the
// chart can be read back.

import {
  type ChartGraph,
  type Drawable,
  type GraphAction,
  type GraphEdge,
  type GraphGuard,
  graphOf,
} from '../graph.ts'

export interface ScxmlOptions {
  /** A state to lift out: its element has `rekindle:highlight="true"`. */
  readonly highlight?: string
}

/**
 * A resource type or a chart as SCXML. The same chart gives the same text. The chart is a state of the document,
 * since only a state may have transitions of its own. In SCXML an event `cleanup.done` also matches a transition of
 * `cleanup`; where that could happen the condition compares the name.
 *
 * @example
 * toScxml(volume) // <scxml ...><state id="volume" initial="new"> ... <transition event="claim" cond="isServiceUp(...)"
 */
export function toScxml(of: Drawable, { highlight }: ScxmlOptions = {}): string {
  const graph = graphOf(of)
  const events = [...new Set(graph.edges.map(({ event }) => event))]
  const writer = new Writer(graph, events, highlight)
  return `${[
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<scxml xmlns="http://www.w3.org/2005/07/scxml" xmlns:rekindle="urn:rekindle:chart" version="1.0" datamodel="ecmascript" name=${quoted(graph.id)} initial=${quoted(graph.id)}>`,
    `  <state id=${quoted(graph.id)} initial=${quoted(graph.initial)}>`,
    ...writer.transitions(null, '    '),
    ...(graph.states.some(({ parent, is_final }) => parent === null && is_final)
      ? [`    <transition event=${quoted(`done.state.${graph.id}`)} target="rekindle.end"/>`]
      : []),
    ...writer.states(null, '    '),
    '  </state>',
    '  <final id="rekindle.end"/>',
    '</scxml>',
  ].join('\n')}\n`
}

class Writer {
  readonly #graph: ChartGraph
  readonly #events: readonly string[]
  readonly #highlight: string | undefined

  constructor(graph: ChartGraph, events: readonly string[], highlight: string | undefined) {
    this.#graph = graph
    this.#events = events
    this.#highlight = highlight
  }

  states(parent: string | null, indent: string): string[] {
    return this.#graph.states
      .filter((state) => state.parent === parent)
      .flatMap(({ path, initial, is_final, tags, description, entry }) => {
        const name = is_final ? 'final' : 'state'
        const attributes = [
          `id=${quoted(path)}`,
          ...(initial === null ? [] : [`initial=${quoted(initial)}`]),
          ...(tags.length === 0 ? [] : [`rekindle:tags=${quoted(tags.join(' '))}`]),
          ...(description === null ? [] : [`rekindle:description=${quoted(description)}`]),
          ...(path === this.#highlight ? ['rekindle:highlight="true"'] : []),
        ].join(' ')
        const more = `${indent}  `
        const inner = [
          ...(entry.length === 0
            ? []
            : [`${more}<onentry>`, ...entry.map((one) => action(one, `${more}  `)), `${more}</onentry>`]),
          // A final state of a document has no transitions.
          ...(is_final ? [] : this.transitions(path, more)),
          ...this.states(path, more),
        ]
        return inner.length === 0
          ? [`${indent}<${name} ${attributes}/>`]
          : [`${indent}<${name} ${attributes}>`, ...inner, `${indent}</${name}>`]
      })
  }

  transitions(from: string | null, indent: string): string[] {
    return this.#graph.edges
      .filter((edge) => edge.from === from)
      .flatMap((edge) => {
        const { event, to, description, actions } = edge
        const cond = this.#condition(edge)
        const attributes = [
          `event=${quoted(event)}`,
          ...(cond === null ? [] : [`cond=${quoted(cond)}`]),
          ...(to === null ? [] : [`target=${quoted(to)}`]),
          ...(to !== null && !edge.reenter && this.#isInside(to, from) ? ['type="internal"'] : []),
          ...(description === null ? [] : [`rekindle:description=${quoted(description)}`]),
        ].join(' ')
        if (actions.length === 0) return [`${indent}<transition ${attributes}/>`]
        return [
          `${indent}<transition ${attributes}>`,
          ...actions.map((one) => action(one, `${indent}  `)),
          `${indent}</transition>`,
        ]
      })
  }

  #condition({ event, guard }: GraphEdge): string | null {
    const isPrefix = this.#events.some((other) => other.startsWith(`${event}.`))
    const parts = [
      ...(isPrefix ? [`_event.name === ${JSON.stringify(event)}`] : []),
      ...(guard === null ? [] : [expression(guard)]),
    ]
    return parts.length === 0 ? null : parts.join(' && ')
  }

  #isInside(path: string, outer: string | null): boolean {
    return outer !== null && path.startsWith(`${outer}.`)
  }
}

function expression(guard: GraphGuard): string {
  if ('and' in guard) return guard.and.map(expression).join(' && ')
  if ('or' in guard) return `(${guard.or.map(expression).join(' || ')})`
  if ('not' in guard) return `!(${expression(guard.not)})`
  return `${guard.type}(_event${guard.params === undefined ? '' : `, ${JSON.stringify(guard.params)}`})`
}

function action({ type, params, params_from, is_command }: GraphAction, indent: string): string {
  const given = [
    ...(params === undefined ? [] : [` params=${quoted(JSON.stringify(params))}`]),
    ...(params_from === undefined ? [] : [` params-from=${quoted(params_from)}`]),
  ].join('')
  return `${indent}<rekindle:${is_command ? 'command' : 'change'} type=${quoted(type)}${given}/>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  ...{ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' },
  ...{ '\n': '&#10;', '\t': '&#9;', '\r': '&#13;' },
}

/** An attribute's value. What XML has no place for is told by U+FFFD. */
function quoted(text: string): string {
  const told = text
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu, '\ufffd')
    .replace(/[&<>"\n\t\r]/g, (mark) => ENTITIES[mark]!)
  return `"${told}"`
}
