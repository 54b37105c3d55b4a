// Each notation says what the chart says: read back it is the chart again, state by state and edge by edge. What
// reads them here is another's: an XML parser, JSON, xstate.

import { createRequire } from 'node:module'
import { toDirectedGraph } from '@xstate/graph'
import { describe, expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import * as xstate from 'xstate'
import { z } from 'zod'
import {
  type ChartGraph,
  type Drawable,
  defineResource,
  type GraphGuard,
  graphOf,
  type ResourceType,
  Stepper,
  toDot,
  toMermaid,
  toScxml,
  toXState,
  volume,
} from '../../machines/index.ts'
import { disagreements, eventsOf, statesOf, tolerant } from '../kit/matrix.ts'
import { drawables, types } from './charts.ts'

const cases = Object.entries(drawables)

interface Element {
  readonly type: string
  readonly name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: readonly Element[]
}
const { parseXml } = createRequire(import.meta.url)('@rgrove/parse-xml') as {
  parseXml(text: string): { readonly root: Element }
}

describe.each(cases)('the graph of %s', (_, of) => {
  const graph = graphOf(of)

  test('is plain JSON, and what is read back draws the same', () => {
    const again = JSON.parse(JSON.stringify(graph)) as ChartGraph
    expect(again).toEqual(graph)
    for (const draw of [toMermaid, toDot, toScxml, toXState]) expect(draw(again)).toBe(draw(of))
  })

  test('has every state and every transition that the graph package finds in the chart', () => {
    const chart = ('chart' in of ? of.chart : of) as AnyStateMachine
    const found = toDirectedGraph(chart)
    const all = (node: typeof found): (typeof found)[] => [node, ...node.children.flatMap(all)]
    expect(graph.states.map(({ path }) => `${graph.id}.${path}`)).toEqual(
      all(found)
        .slice(1)
        .map(({ id }) => id),
    )
    expect(graph.edges.length).toBe(all(found).flatMap(({ edges }) => edges).length)
  })

  test('is the same each time, in every notation', () => {
    for (const draw of [toMermaid, toDot, toScxml, toXState]) expect(draw(of)).toBe(draw(of))
  })
})

describe.each(cases)('the SCXML of %s', (_, of) => {
  const graph = graphOf(of)
  const { root } = parseXml(toScxml(of))
  const inside = ({ children }: Element, ...names: string[]) =>
    children.filter(({ name, type }) => type === 'element' && names.includes(name))
  const chart = inside(root, 'state')[0]!

  test('has the states of the chart, nested as they are, beginning where they begin', () => {
    expect(root.attributes.initial).toBe(graph.id)
    const states = (element: Element, parent: string | null): unknown[] =>
      inside(element, 'state', 'final').flatMap((state) => {
        const { id, initial = null, 'rekindle:tags': tags = '' } = state.attributes
        return [{ path: id, parent, initial, is_final: state.name === 'final', tags }, ...states(state, id!)]
      })
    expect(chart.attributes.initial).toBe(graph.initial)
    expect(states(chart, null)).toEqual(
      graph.states.map(({ path, parent, initial, is_final, tags }) => ({
        ...{ path, parent, initial, is_final, tags: tags.join(' ') },
      })),
    )
  })

  test('has its transitions in their order, with targets and actions', () => {
    const transitions = (element: Element, from: string | null): unknown[] => [
      ...inside(element, 'transition')
        .filter(({ attributes }) => attributes.event !== `done.state.${graph.id}`)
        .map((transition) => ({
          ...{ from, event: transition.attributes.event, to: transition.attributes.target ?? null },
          actions: inside(transition, 'rekindle:command', 'rekindle:change').map(({ name, attributes }) => ({
            type: attributes.type,
            ...(attributes.params === undefined ? {} : { params: JSON.parse(attributes.params) }),
            ...(attributes['params-from'] === undefined ? {} : { params_from: attributes['params-from'] }),
            is_command: name === 'rekindle:command',
          })),
        })),
      ...inside(element, 'state').flatMap((state) => transitions(state, state.attributes.id!)),
    ]
    expect(transitions(chart, null)).toEqual(
      graph.edges.map(({ from, event, to, actions }) => ({ from, event, to, actions })),
    )
  })

  test('has conditions that are true when its guards are, whatever each of them says', () => {
    const conditions = (element: Element): (string | undefined)[] => [
      ...inside(element, 'transition')
        .filter(({ attributes }) => attributes.event !== `done.state.${graph.id}`)
        .map(({ attributes }) => attributes.cond),
      ...inside(element, 'state').flatMap(conditions),
    ]
    const written = conditions(chart)
    graph.edges.forEach(({ guard, event }, index) => {
      const asked = leaves(guard)
      // Every way that the guards may answer, up to six of them.
      for (let answers = 0; answers < 1 << Math.min(asked.length, 6); answers++) {
        const says = (name: string, params: unknown) => {
          const at = asked.findIndex((leaf) => leaf === JSON.stringify([name, params ?? null]))
          expect(at).toBeGreaterThanOrEqual(0)
          return ((answers >> at) & 1) === 1
        }
        const cond = written[index]
        const names = [...new Set(asked.map((leaf) => (JSON.parse(leaf) as [string])[0]))]
        const run = new Function('_event', ...names, `return ${cond ?? true}`)
        const functions = names.map((name) => (_: unknown, params: unknown) => says(name, params))
        expect(run({ name: event }, ...functions)).toBe(truthOf(guard, says))
        // An event that only begins like it is another one.
        if (cond?.includes('_event.name')) expect(run({ name: `${event}.x` }, ...functions)).toBe(false)
      }
    })
  })
})

function leaves(guard: GraphGuard | null): string[] {
  if (guard === null) return []
  if ('and' in guard) return guard.and.flatMap(leaves)
  if ('or' in guard) return guard.or.flatMap(leaves)
  if ('not' in guard) return leaves(guard.not)
  return [JSON.stringify([guard.type, guard.params ?? null])]
}

function truthOf(guard: GraphGuard | null, says: (name: string, params: unknown) => boolean): boolean {
  if (guard === null) return true
  if ('and' in guard) return guard.and.every((one) => truthOf(one, says))
  if ('or' in guard) return guard.or.some((one) => truthOf(one, says))
  if ('not' in guard) return !truthOf(guard.not, says)
  return says(guard.type, guard.params)
}

const { and, createMachine, not, or } = xstate
const words: Readonly<Record<string, unknown>> = { and, createMachine, not, or }

/** Runs the module's text as xstate's user would. */
function machineFrom(of: Drawable): AnyStateMachine {
  const text = toXState(of)
  const [, names] = /^import \{ ([\w, ]+) \} from 'xstate'\n/.exec(text)!
  const body = text.replace(/^import .*\n/, '').replace('export const machine =', 'return')
  const given = names!.split(', ')
  return new Function(...given, body)(...given.map((name) => words[name]!)) as AnyStateMachine
}

describe('the XState module', () => {
  test.each(Object.entries(types))('of %s decides every pair of the matrix as the chart does', (_, of) => {
    const type = of as ResourceType
    const { guards, actions } = tolerant(type).implementations
    const machine = machineFrom(type).provide({ guards, actions } as never)
    // The stepper is held against xstate's own transition by the matrix's tests; here once more.
    if (type.kind === 'snapshot') expect(disagreements(machine, statesOf(type), eventsOf(type))).toEqual([])
    const told = (chart: AnyStateMachine) => {
      const stepper = new Stepper(chart)
      return statesOf(type).flatMap((state) =>
        eventsOf(type).map(({ event }) => {
          const step = stepper.step(state, event)
          return step === null ? null : [step.path, step.context, step.commands]
        }),
      )
    }
    expect(told(machine)).toEqual(told(tolerant(type)))
  })

  test.each(cases)('of %s is taken by createMachine and has the same graph', (_, of) => {
    const chart = ('chart' in of ? of.chart : of) as AnyStateMachine
    const machine = machineFrom(of).provide({ actions: chart.implementations.actions as never })
    expect(graphOf(machine)).toEqual(graphOf(of))
  })
})

describe('DOT', () => {
  test.each(cases)('of %s names every state in quotes, and opens what it closes', (_, of) => {
    for (const detail of ['statuses', 'all'] as const) {
      const text = toDot(of, { detail })
      const bare = text.replace(/"(?:[^"\\]|\\.)*"/g, '""')
      expect(bare).not.toContain('\\')
      expect(bare.match(/\{/g)?.length).toBe(bare.match(/\}/g)?.length)
      const odd = bare
        .split('\n')
        .filter(
          (line) =>
            !/^ *(?:(?:""|node|edge)(?: -> "")?(?: \[.*\])?;|(?:di|sub)?graph "" \{|(?:\w+=[^;]+; ?)*(?:\w+=[^;]+;)?(?: node \[.*\];)?(?: edge \[.*\];)?|node \[.*\]; edge \[.*\];|\}|)$/.test(
              line,
            ),
        )
      expect(odd).toEqual([])
    }
  })

  test('tells the policy of each status by a line of its own sort', () => {
    const text = toDot(volume)
    expect(text).toContain(
      '"extending" -> "error_extending" [label="cleanup", color="#b45309", style=dashed]',
    )
    expect(text).toContain('"deleting" -> "deleting" [label="cleanup, again", color="#b45309", style=dashed]')
  })
})

describe('what is lifted out', () => {
  test('is marked in each notation that draws', () => {
    expect(toMermaid(volume, { highlight: 'extending' })).toContain('  class s_extending highlight\n')
    expect(toDot(volume, { highlight: 'extending' })).toMatch(/"extending" \[.*penwidth=4/)
    expect(toScxml(volume, { highlight: 'extending' })).toMatch(/id="extending".* rekindle:highlight="true"/)
  })
})

test('codes of a driver are no markup of any notation', () => {
  const code = `"];}<b a='1'>&\\`
  const odd = defineResource({
    kind: 'odd',
    data: z.strictObject({}),
    statuses: ['ready', 'error'],
    operations: {
      create: {
        from: 'new',
        via: 'creating',
        to: 'ready',
        failed: 'error',
        ends: { [code]: 'ready' },
        cleanup: 'error',
      },
      delete: { from: ['ready', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
    },
  })
  expect(toMermaid(odd)).toContain(`create.failed [#34;];}#60;b a='1'#62;#38;\\]`)
  expect(toDot(odd)).toContain(`create.failed [\\"];}<b a='1'>&\\\\]`)
  expect(graphOf(machineFrom(odd)).edges.map(({ guard }) => guard)).toEqual(
    graphOf(odd).edges.map(({ guard }) => guard),
  )
  expect(JSON.stringify(parseXml(toScxml(odd)).root)).toContain(
    JSON.stringify(JSON.stringify(code)).slice(3, -3),
  )
})
