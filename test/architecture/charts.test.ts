// What no chart may contain: an inline guard or action, a state without description, an effect of its own.
// The built machines are asked, not the sources: what `defineResource` makes is a chart as well.

import { describe, expect, test } from 'vitest'
import type { AnyStateMachine } from 'xstate'
import {
  apiChart,
  backup,
  nodeChart,
  schedulerChart,
  snapshot,
  supervisorChart,
  volume,
} from '../../machines/index.ts'
import { sourcesOf } from './source.ts'

const charts: readonly (readonly [string, AnyStateMachine])[] = [
  ['volume', volume.chart],
  ['snapshot', snapshot.chart],
  ['backup', backup.chart],
  ['node', nodeChart],
  ['scheduler', schedulerChart],
  ['supervisor', supervisorChart],
  ['api', apiChart],
]

interface StateConfig {
  readonly description?: string
  readonly entry?: unknown
  readonly exit?: unknown
  readonly on?: Readonly<Record<string, unknown>>
  readonly always?: unknown
  readonly states?: Readonly<Record<string, StateConfig>>
  readonly [field: string]: unknown
}

const listOf = (value: unknown): readonly unknown[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value]

/** Every state of a chart by its path, the root first. */
function statesOf(config: StateConfig, path: string): [string, StateConfig][] {
  return [
    [path, config],
    ...Object.entries(config.states ?? {}).flatMap(([key, child]) => statesOf(child, `${path}.${key}`)),
  ]
}

/** What a name stands for: the name itself, `{ type }`, or `and`/`not`/`or` over those. */
function isNamed(value: unknown): boolean {
  if (typeof value === 'string') return true
  const inner = (value as { guards?: readonly unknown[] }).guards
  if (typeof value === 'function') return inner?.every(isNamed) ?? false
  return typeof (value as { type?: unknown }).type === 'string'
}

function inlineIn(config: StateConfig, path: string): string[] {
  const found: string[] = []
  for (const [state, { on = {}, entry, exit, always }] of statesOf(config, path)) {
    const say = (where: string, what: unknown) => {
      if (!isNamed(what)) found.push(`${state} ${where}: ${String(what)}`)
    }
    for (const action of [...listOf(entry), ...listOf(exit)]) say('entry or exit', action)
    for (const [event, given] of [...Object.entries(on), ['always', always] as const])
      for (const transition of listOf(given)) {
        if (typeof transition === 'string') continue
        const { guard, actions } = transition as { guard?: unknown; actions?: unknown }
        if (guard !== undefined) say(event, guard)
        for (const action of listOf(actions)) say(event, action)
      }
  }
  return found
}

describe.each(charts)('the chart of %s', (name, chart) => {
  const config = chart.config as unknown as StateConfig

  test('names every guard and action', () => {
    expect(inlineIn(config, name)).toEqual([])
  })

  test('describes every state', () => {
    const [, ...states] = statesOf(config, name)
    expect(states.filter(([, { description }]) => !description?.trim()).map(([path]) => path)).toEqual([])
  })

  test('has no effect of its own: no invoke, no after, no eventless step', () => {
    const effects = statesOf(config, name).flatMap(([path, state]) =>
      ['invoke', 'after', 'always']
        .filter((field) => state[field] !== undefined)
        .map((field) => `${path} ${field}`),
    )
    expect(effects).toEqual([])
  })

  test('has an implementation for every name it uses', () => {
    const { guards, actions } = chart.implementations
    const names = (values: readonly unknown[]): string[] =>
      values.flatMap((value) => {
        if (typeof value === 'string') return [value]
        if (typeof value === 'function') return names((value as { guards?: unknown[] }).guards ?? [])
        return [(value as { type: string }).type]
      })
    const transitions = statesOf(config, name)
      .flatMap(([, { on = {} }]) => Object.values(on).flatMap(listOf))
      .filter((transition) => typeof transition === 'object') as { guard?: unknown; actions?: unknown }[]
    const unknownGuards = names(transitions.flatMap(({ guard }) => listOf(guard))).filter(
      (it) => !(it in guards),
    )
    const unknownActions = names(transitions.flatMap(({ actions: it }) => listOf(it))).filter(
      (it) => !(it in actions),
    )
    expect([...unknownGuards, ...unknownActions]).toEqual([])
  })
})

test('an inline guard or action that is there is found', () => {
  const config = { on: { go: { guard: () => true, actions: [() => {}, 'named'] } } }
  expect(inlineIn(config, 'chart')).toHaveLength(2)
})

test('no chart spawns, raises, sends or waits: what it wants done is data', () => {
  const effects = [
    'spawn',
    'spawnChild',
    'raise',
    'sendTo',
    'sendParent',
    'emit',
    'log',
    'enqueueActions',
    'fromPromise',
  ]
  const imported = sourcesOf('machines').flatMap(({ path, code }) =>
    [...code.matchAll(/^import\s+\{([^}]*)\}\s+from/gm)].flatMap(([, names]) =>
      effects
        .filter((effect) => new RegExp(`\\b${effect}\\b`).test(names!))
        .map((effect) => `${path} ${effect}`),
    ),
  )
  expect(imported).toEqual([])
})
