// Where a resource goes, decided without a runtime: filters with their reasons, weighers, ties, and what a user's
// filter or weigher may do wrong.

import { describe, expect, test } from 'vitest'
import {
  builtInFilters,
  type ClusterFilter,
  type ClusterView,
  type ClusterWeigher,
  defaultRules,
  freeCapacity,
  PlacementFault,
  place,
  removedInWords,
  type Wanted,
} from '../../machines/placement.ts'
import type { Capabilities } from '../../machines/row.ts'

const view = (topic: string, free_gib: number | null, more: Partial<ClusterView> = {}): ClusterView => ({
  topic,
  up: true,
  disabled: false,
  disabled_reason: null,
  frozen: false,
  frozen_reason: null,
  capabilities: { total_gib: 100, free_gib },
  reported_at: 0,
  pending_gib: 0,
  ...more,
})

const saying = (topic: string, capabilities: Partial<Capabilities>): ClusterView =>
  view(topic, 50, { capabilities: { total_gib: 100, free_gib: 50, ...capabilities } })

const wanted = (size_gib: number, more: Partial<Wanted> = {}): Wanted => ({
  kind: 'volume',
  operation: 'create',
  data: {},
  size_gib,
  specs: {},
  ...more,
})

/** Which filter took each cluster away, and why. */
function removedBy(clusters: readonly ClusterView[], what: Wanted) {
  return Object.fromEntries(
    place(clusters, what).removed.map(({ topic, filter, reason }) => [topic, `${filter}: ${reason}`]),
  )
}

const topicsOf = (clusters: readonly ClusterView[], what: Wanted, rules = defaultRules) => {
  const placed = place(clusters, what, rules)
  return placed.placed ? placed.topics : []
}

describe('The filters', () => {
  test('take away what is down, disabled or frozen, and say which', () => {
    const clusters = [
      view('a@x', 90, { up: false }),
      view('b@x', 90, { disabled: true }),
      view('c@x', 90, { frozen: true }),
      view('d@x', 1),
    ]
    expect(topicsOf(clusters, wanted(1))).toEqual(['d@x'])
    expect(removedBy(clusters, wanted(1))).toEqual({
      'a@x': 'availability: no node of it is up',
      'b@x': 'availability: it is disabled',
      'c@x': 'availability: it is frozen',
    })
  })

  test('let through what fits to the last GiB, and nothing above it', () => {
    expect(topicsOf([view('a@x', 10)], wanted(10))).toEqual(['a@x'])
    expect(removedBy([view('a@x', 10)], wanted(10.5))).toEqual({
      'a@x': 'capacity: 10 GiB are free, 10.5 GiB are asked for',
    })
  })

  test('let fractions through that fit but for the last bit of their sum', () => {
    expect(topicsOf([view('a@x', 0.3, { pending_gib: 0.1 + 0.1 })], wanted(0.1))).toEqual(['a@x'])
  })

  test('let anything through where the room is not known, and what takes no space everywhere', () => {
    const clusters = [view('a@x', null), view('b@x', 0), view('c@x', 0, { capabilities: null })]
    expect(topicsOf(clusters, wanted(5))).toEqual(['a@x', 'c@x'])
    expect(topicsOf(clusters, wanted(0))).toContain('b@x')
  })

  test('count what was promised since the report', () => {
    expect(removedBy([view('a@x', 10, { pending_gib: 8 })], wanted(3))).toEqual({
      'a@x': 'capacity: 2 GiB are free, 8 GiB promised since its report, 3 GiB are asked for',
    })
  })

  test('take a thin cluster past its physical space up to its over-subscription, and thick ones not', () => {
    const thin = saying('thin@x', { thin: true, provisioned_gib: 120, max_over_subscription: 3 })
    expect(topicsOf([thin], wanted(140))).toEqual(['thin@x'])
    expect(removedBy([thin], wanted(140, { specs: { provisioning: 'thick' } }))['thin@x']).toContain(
      '50 GiB are free',
    )
    expect(topicsOf([thin, saying('b@x', {})], wanted(1, { specs: { provisioning: 'thin' } }))).toEqual([
      'thin@x',
    ])
  })

  test('compare what the type asks for with what the cluster says of itself', () => {
    const clusters = [
      saying('gold@x', { specs: { ssd: true, iops: 9_000, zone: 'north' } }),
      saying('lead@x', { specs: { ssd: false, iops: 100, zone: 'south' } }),
      saying('mute@x', {}),
    ]
    const asked = (specs: Wanted['specs']) => topicsOf(clusters, wanted(1, { specs }))
    expect(asked({ ssd: true })).toEqual(['gold@x'])
    expect(asked({ zone: ['south', 'west'] })).toEqual(['lead@x'])
    expect(asked({ iops: { at_least: 100, at_most: 100 } })).toEqual(['lead@x'])
    expect(asked({ iops: { at_least: 101 } })).toEqual(['gold@x'])
    expect(
      removedBy(clusters, wanted(1, { specs: { iops: { at_least: 10_000, at_most: 20_000 } } })),
    ).toEqual({
      'gold@x': 'capabilities: iops is 9000, at least 10000 and at most 20000 is asked for',
      'lead@x': 'capabilities: iops is 100, at least 10000 and at most 20000 is asked for',
      'mute@x': 'capabilities: iops is not said, at least 10000 and at most 20000 is asked for',
    })
    expect(removedBy(clusters, wanted(1, { specs: { zone: ['west', 'east'] } }))['gold@x']).toBe(
      'capabilities: zone is "north", "west" or "east" is asked for',
    )
  })

  test('find thin and multiattach among what every report may say, and never a member of every object', () => {
    const clusters = [
      saying('a@x', { multiattach: true }),
      saying('b@x', { multiattach: false }),
      saying('c@x', {}),
    ]
    expect(topicsOf(clusters, wanted(1, { specs: { multiattach: true } }))).toEqual(['a@x'])
    // A resource that several may use goes wherever it is not said to be impossible.
    expect(topicsOf(clusters, wanted(1, { data: { multiattach: true } }))).toEqual(['a@x', 'c@x'])
    expect(topicsOf(clusters, wanted(1, { specs: { constructor: 'x', toString: true } }))).toEqual([])
  })

  test('name every cluster that is given when none is left, in the order of their names', () => {
    const clusters = [view('b@x', 1), view('a@x', 9, { up: false })]
    const placed = place(clusters, wanted(5))
    expect(placed.placed).toBe(false)
    expect(removedInWords(placed.removed)).toBe(
      'a@x: availability: no node of it is up; b@x: capacity: 1 GiB are free, 5 GiB are asked for',
    )
    expect(removedInWords(place([], wanted(5)).removed)).toBe('no node was ever started')
  })

  test('leave out where a driver said that it is not the place, with its words', () => {
    const placed = place([view('a@x', 9), view('b@x', 5)], wanted(1), defaultRules, [
      { topic: 'a@x', message: 'no such pool' },
    ])
    expect(placed).toMatchObject({
      placed: true,
      topics: ['b@x'],
      removed: [{ topic: 'a@x', filter: 'not_here', reason: 'no such pool' }],
    })
  })
})

describe('The weighers', () => {
  const clusters = [view('a@x', 20), view('b@x', 80), view('c@x', 50)]
  const stacking = { ...defaultRules, weighers: [{ weigher: freeCapacity, multiplier: -1 }] }

  test('spread by default: most room first', () => {
    expect(topicsOf(clusters, wanted(1))).toEqual(['b@x', 'c@x', 'a@x'])
  })

  test('stack with a negative multiplier: least room first', () => {
    expect(topicsOf(clusters, wanted(1), stacking)).toEqual(['a@x', 'c@x', 'b@x'])
  })

  test('put last what does not say its room, whichever way the order goes', () => {
    const mute = [...clusters, view('0@x', null)]
    expect(topicsOf(mute, wanted(1)).at(-1)).toBe('0@x')
    expect(topicsOf(mute, wanted(1), stacking).at(-1)).toBe('0@x')
  })

  test('count room that was promised since the report as taken', () => {
    const [a, b, c] = clusters as [ClusterView, ClusterView, ClusterView]
    expect(topicsOf([a, { ...b, pending_gib: 70 }, c], wanted(1))).toEqual(['c@x', 'a@x', 'b@x'])
  })

  test('compare virtual room: a thin cluster with little space may be the roomiest', () => {
    const thin = view('thin@x', 30, {
      capabilities: {
        total_gib: 100,
        free_gib: 30,
        thin: true,
        provisioned_gib: 70,
        max_over_subscription: 4,
      },
    })
    expect(topicsOf([...clusters, thin], wanted(1))[0]).toBe('thin@x')
  })

  test('give equals in the order of their names, in whatever order they come', () => {
    const equal = ['c@x', 'a@x', 'b@x'].map((topic) => view(topic, 50))
    for (const order of [equal, [...equal].reverse()])
      expect(topicsOf(order, wanted(1))).toEqual(['a@x', 'b@x', 'c@x'])
  })

  test('are added up after each was brought to one scale, times its multiplier', () => {
    const isSouth: ClusterWeigher = ({ topic }) => (topic.startsWith('a') ? 1_000_000 : 0)
    const rules = (multiplier: number) => ({
      filters: builtInFilters,
      weighers: [
        { weigher: freeCapacity, multiplier: 1 },
        { weigher: isSouth, multiplier },
      ],
    })
    // a: 0 + m, b: 1, c: 0.5
    expect(topicsOf(clusters, wanted(1), rules(0.4))).toEqual(['b@x', 'c@x', 'a@x'])
    expect(topicsOf(clusters, wanted(1), rules(0.6))).toEqual(['b@x', 'a@x', 'c@x'])
    expect(topicsOf(clusters, wanted(1), rules(2))).toEqual(['a@x', 'b@x', 'c@x'])
  })
})

describe("A user's filter or weigher", () => {
  const inNorth: ClusterFilter = ({ capabilities }) =>
    capabilities?.specs?.zone === 'north' || 'it is not in the north'
  const never: ClusterFilter = () => false

  test('is asked after the built-in ones, and its name and words are told', () => {
    const clusters = [saying('a@x', { specs: { zone: 'north' } }), saying('b@x', {}), view('c@x', 0)]
    const placed = place(clusters, wanted(1), { ...defaultRules, filters: [...builtInFilters, inNorth] })
    expect(placed).toEqual({
      placed: true,
      topics: ['a@x'],
      removed: [
        { topic: 'b@x', filter: 'inNorth', reason: 'it is not in the north' },
        { topic: 'c@x', filter: 'capacity', reason: '0 GiB are free, 1 GiB are asked for' },
      ],
    })
  })

  test('may say no without a word', () => {
    const { removed } = place([view('a@x', 5)], wanted(1), { ...defaultRules, filters: [never] })
    expect(removed).toEqual([{ topic: 'a@x', filter: 'never', reason: 'it says no' }])
  })

  test.each([
    [
      'a filter that throws',
      {
        filters: [
          function isOdd() {
            throw new Error('no such rack')
          },
        ],
      },
      'isOdd threw for a@x: Error: no such rack',
    ],
    [
      'a filter that answers nothing',
      { filters: [function isOdd() {}] },
      'the filter isOdd answered undefined for a@x',
    ],
    [
      'a weigher that answers NaN',
      {
        weighers: [
          {
            weigher: function load() {
              return Number.NaN
            },
            multiplier: 1,
          },
        ],
      },
      'the weigher load answered NaN for a@x',
    ],
  ])('is at fault by name: %s', (_, rules, message) => {
    const broken = () => place([view('a@x', 5)], wanted(1), { ...defaultRules, ...(rules as object) })
    expect(broken).toThrow(PlacementFault)
    expect(broken).toThrow(message)
  })
})
