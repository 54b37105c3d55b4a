import { describe, expect, test } from 'vitest'
import {
  apiChart,
  backup,
  nodeChart,
  schedulerChart,
  snapshot,
  supervisorChart,
  volume,
} from '../../machines/index.ts'
import {
  cells,
  disagreements,
  eventsOf,
  LIFE,
  matrix,
  matrixCells,
  type NamedEvent,
  type NamedState,
  serviceRow,
  statesOf,
  tableOf,
  tolerant,
} from '../kit/matrix.ts'

const kinds = [volume, snapshot, backup].map((type) => ({ kind: type.kind, type }))

describe.each(kinds)('Every event in every state of a $kind', ({ kind, type }) => {
  test('is decided, and the table says how', async () => {
    await expect(matrix(type)).toMatchFileSnapshot(`./matrix/${kind}.txt`)
  })

  test('is decided as xstate decides it', () => {
    expect(disagreements(tolerant(type), statesOf(type), eventsOf(type))).toEqual([])
  })

  test('covers every state and every event of the chart', () => {
    const paths = new Set(statesOf(type).map(({ path }) => path))
    for (const [status, node] of Object.entries(type.chart.states)) {
      const subs = Object.keys(node.states)
      if (subs.length === 0) expect(paths).toContain(status)
      // A status that always requeues and is at its last attempt still cleans, by `failed`.
      for (const sub of subs) expect(paths).toContain(`${status}.${sub}`)
    }
    const events = new Set(eventsOf(type).map(({ event }) => event.type))
    const known = type.chart.events.filter((event) => event !== 'child.removed')
    for (const event of known) expect(events).toContain(event)
  })

  test('only the owner of a claim, up and with its fence, writes progress or an end', () => {
    const owned = matrixCells(type).filter(({ event }) => /^progress$|\.(done|failed)$/.test(event))
    const ends = owned.filter(({ event, next }) => next !== null && !event.startsWith('release.'))
    expect(ends.length).toBeGreaterThan(0)
    expect(new Set(ends.map(({ when }) => when))).toEqual(new Set(['the owner']))
  })

  test('a cleanup takes claims of the life that is over and no others', () => {
    const cleaned = matrixCells(type).filter(({ event, next }) => event === 'cleanup' && next !== null)
    expect(new Set(cleaned.map(({ when }) => when))).toEqual(
      new Set(['of its life', 'of its life, at the backend']),
    )
    expect(cleaned.every(({ state }) => /\.(working|cleaning)/.test(state))).toBe(true)
  })

  test('every claim that a life can leave behind is put right by some cleanup', () => {
    const taken = statesOf(type).filter(({ path }) => /\.(working|cleaning)$/.test(path))
    const found = matrixCells(type)
    for (const { name } of taken)
      for (const when of ['of its life', 'of its life, at the backend'])
        expect(
          found.find((c) => c.state === name && c.event === 'cleanup' && c.when === when)?.next,
          `${name}, ${when}`,
        ).not.toBeNull()
  })

  test('nothing happens to what is gone, and no claim touches what is at rest', () => {
    const found = matrixCells(type).filter(({ next }) => next !== null)
    expect(found.filter(({ state, event }) => state === 'gone' && event !== 'child.added')).toEqual([])
    const rest = new Set(type.statuses.rest)
    expect(
      found.filter(
        ({ state, event }) => rest.has(state) && /^claim$|^cleanup|^progress$|^cancel$/.test(event),
      ),
    ).toEqual([])
  })
})

const at = 10_000
const reason = 'because'
const event = (type: string, more: object = {}, when = ''): NamedEvent => ({ event: { type, ...more }, when })
const changed = (before: object, after: object): string =>
  Object.entries(after)
    .filter(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify((before as Record<string, unknown>)[name]),
    )
    .map(([name, value]) => `${name} ${JSON.stringify(value)}`)
    .join(', ')

test('Every event in every state of a node is decided, and the table says how', async () => {
  const input = {
    cluster: 'ssd',
    backend: 'file',
    host: 'h2',
    concurrency: 2,
    heartbeat_ms: 2_000,
    fence_after_ms: 5_000,
  }
  const context = {
    ...input,
    incarnation: 3,
    beaten_at: at - 1_000,
    ticked_at: at - 500,
    doubt_since: null,
    beat_sent_at: at - 1_000,
    beating: false,
    in_flight: 0,
    reason: null,
  }
  const variants: [string, string, object][] = [
    ['registering', 'registering', { incarnation: null }],
    ...['setting_up', 'cleaning', 'joining'].map((path): [string, string, object] => [path, path, {}]),
    ['up, idle', 'up', {}],
    ['up, with room', 'up', { in_flight: 1 }],
    ['up, full', 'up', { in_flight: 2 }],
    ['up, a beat due', 'up', { beaten_at: at - 2_500, beat_sent_at: at - 2_500 }],
    ['up, beat overdue', 'up', { beaten_at: at - 5_000, beat_sent_at: at - 1_000, in_flight: 1 }],
    [
      'up, woken from a stall',
      'up',
      { beaten_at: at - 6_000, beat_sent_at: at - 6_000, ticked_at: at - 6_000, in_flight: 1 },
    ],
    ['up, in doubt', 'up', { beaten_at: at - 6_000, doubt_since: at - 500, beating: true, in_flight: 1 }],
    [
      'up, in doubt too long',
      'up',
      { beaten_at: at - 8_000, doubt_since: at - 2_000, beating: true, in_flight: 1 },
    ],
    ['disabled, idle', 'disabled', {}],
    ['disabled, one left', 'disabled', { in_flight: 1 }],
    ['draining, idle', 'draining', {}],
    ['draining, one left', 'draining', { in_flight: 1 }],
    ['stopping, one left', 'stopping', { in_flight: 1 }],
    ['stopping, two left', 'stopping', { in_flight: 2 }],
    ...['fenced', 'failed', 'refused', 'stopped', 'killed'].map((path): [string, string, object] => [
      path,
      path,
      {},
    ]),
  ]
  const states: NamedState[] = variants.map(([name, path, change]) => ({
    name,
    path,
    context: { ...context, ...change },
  }))
  const events = [
    event('registered', { incarnation: 4, at }),
    event('register.refused', { reason }),
    event('set_up.done'),
    event('cleaned'),
    event('joined', { disabled: false }),
    event('joined', { disabled: true }, 'and is disabled'),
    event('join.refused', { reason }),
    event('start.failed', { reason }),
    event('tick', { at }),
    event('beat.done', { sent_at: at - 400 }, 'sent lately'),
    event('beat.done', { sent_at: at - 3_000 }, 'sent before the last one'),
    event('beat.failed'),
    event('beat.refused', { reason }),
    event('probe.lost', { reason }),
    event('store.lost', { reason }),
    event('broken', { reason }),
    event('doorbell', { key: 'volume/v1', at }),
    event('prepared', { claim: 'volume/v1 fence 7', at }),
    event('settled', { claim: 'volume/v1 fence 7', at }),
    event('ended'),
    event('drain', { reason }),
    event('stop', { reason }),
    event('resume', { disabled: false }),
    event('resume', { disabled: true }, 'and is disabled'),
    event('disable'),
    event('enable'),
    event('kill', { reason }),
  ]
  expect(new Set(events.map((named) => named.event.type))).toEqual(new Set(nodeChart.events))
  expect(new Set(states.map(({ path }) => path))).toEqual(new Set(Object.keys(nodeChart.states)))
  expect(disagreements(nodeChart, states, events)).toEqual([])
  await expect(tableOf('node', cells(nodeChart, states, events, changed))).toMatchFileSnapshot(
    './matrix/node.txt',
  )
})

test('Every sweep over every state of a service is decided, and the table says how', async () => {
  const beat = {
    kind: 'beat',
    id: 'ssd@file@h2',
    version: 9,
    incarnation: LIFE,
    counter: 9,
    capabilities: null,
    reported_at: 0,
  }
  const context = { sweep_ms: 1_000, down_after_ms: 8_000, swept_at: at - 1_000, clusters: {}, todo: [] }
  const seen = (mark: string, since: number) => ({ 'ssd@file@h2': { beat: mark, since } })
  const mark = `${LIFE}/9`
  const states: NamedState[] = [
    ['just started', { swept_at: null, observed: {} }],
    ['beat new since the last sweep', { observed: seen(`${LIFE}/8`, 0) }],
    ['beat still for less than down_after', { observed: seen(mark, at - 7_999) }],
    ['beat still for down_after', { observed: seen(mark, at - 8_000) }],
    ['beat still for down_after, sweep late', { swept_at: at - 2_001, observed: seen(mark, at - 8_000) }],
  ].map(([name, change]) => ({
    name: name as string,
    path: 'watching',
    context: { ...context, ...(change as object) },
  }))
  const sweep = (when: string, services: object[], beats: object[] = [beat]) =>
    event('sweep', { at, services, beats }, when)
  const events = [
    sweep('a node that is up', [serviceRow()]),
    sweep('a node that is starting', [serviceRow({ state: 'starting' })]),
    sweep('its first life is up', [serviceRow({ incarnation: 1 })], [{ ...beat, incarnation: 1 }]),
    sweep('a node without a beat', [serviceRow()], []),
    sweep('a node that is down', [serviceRow({ state: 'down' })]),
    sweep('a node that is down and cleaned', [serviceRow({ state: 'down', cleaned_incarnation: LIFE })]),
    sweep('no node at all', [], []),
    event('store.lost'),
  ]
  expect(new Set(events.map((named) => named.event.type))).toEqual(new Set(schedulerChart.events))
  const told = (
    _: object,
    after: {
      todo: readonly { type: string; incarnation?: number; close?: boolean }[]
      clusters: Record<string, { up: boolean; nodes: readonly { cleanup_done: boolean }[] }>
      observed: Record<string, { since: number }>
    },
  ) =>
    [
      ...after.todo.map(
        ({ type, incarnation, close }) =>
          `${type}${incarnation === undefined ? '' : ` lives to ${incarnation}`}${close ? ', then close' : ''}`,
      ),
      ...Object.entries(after.clusters).map(
        ([topic, { up, nodes }]) =>
          `${topic} is ${up ? 'up' : 'down'}${nodes.every((node) => node.cleanup_done) ? ', cleanup done' : ''}`,
      ),
      ...Object.values(after.observed).map(({ since }) => `still for ${at - since}`),
    ].join('; ')
  expect(disagreements(schedulerChart, states, events)).toEqual([])
  await expect(
    tableOf('scheduler', cells(schedulerChart, states, events, told as never)),
  ).toMatchFileSnapshot('./matrix/scheduler.txt')
})

test('Every event in every state of the supervisor is decided, and the table says how', async () => {
  const node = { topic: 'ssd@file', restarts: [], given_up: null }
  const context = { intensity: 2, period_ms: 60_000, topics: ['ssd@file'] }
  const variants: [string, string, object][] = [
    ['running', 'running', node],
    ['running, restarted twice lately', 'running', { ...node, restarts: [at - 100, at - 50] }],
    ['running, restarted twice long ago', 'running', { ...node, restarts: [at - 70_000, at - 60_000] }],
    ['running, given up', 'running', { ...node, given_up: reason }],
    ['suspended', 'suspended', node],
    ['stopped', 'stopped', node],
  ]
  const states: NamedState[] = variants.map(([name, path, h2]) => ({
    name,
    path,
    context: { ...context, nodes: { 'h2@file': h2 } },
  }))
  const ended = (restart: boolean, counts: boolean, when: string) =>
    event('node.ended', { address: 'h2@file', reason, restart, counts, at }, when)
  const events = [
    event('ring', { topic: 'ssd@file', key: 'volume/v1' }, 'a topic of this process'),
    event('ring', { topic: 'hdd@file', key: 'volume/v1' }, 'a topic of another process'),
    ended(true, true, 'to be restarted'),
    ended(true, false, 'to be restarted, the store was the cause'),
    ended(false, true, 'ended on purpose'),
    event('node.start', { address: 'h2@file', at }),
    event('store.lost'),
    event('store.back'),
    event('stop'),
  ]
  expect(new Set(events.map((named) => named.event.type))).toEqual(new Set(supervisorChart.events))
  expect(new Set(states.map(({ path }) => path))).toEqual(new Set(Object.keys(supervisorChart.states)))
  expect(disagreements(supervisorChart, states, events)).toEqual([])
  await expect(tableOf('supervisor', cells(supervisorChart, states, events, changed))).toMatchFileSnapshot(
    './matrix/supervisor.txt',
  )
})

test('Every event in every state of the api is decided, and the table says how', async () => {
  const states: NamedState[] = Object.keys(apiChart.states).map((path) => ({
    name: path,
    path,
    context: { calls: 1 },
  }))
  const events = ['call', 'reply', 'store.lost', 'store.back', 'stop'].map((type) => event(type))
  expect(disagreements(apiChart, states, events)).toEqual([])
  await expect(tableOf('api', cells(apiChart, states, events, changed))).toMatchFileSnapshot(
    './matrix/api.txt',
  )
})
