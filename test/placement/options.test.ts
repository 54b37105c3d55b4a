// The placement that createRuntime is given: what can't work is refused at start, every fault by its path, and what
// a type asks of a cluster is read from a field of the data.

import { describe, expect, test } from 'vitest'
import type { ClusterFilter, PlacementOptions } from '../../runtime/index.ts'
import { freeCapacity } from '../../runtime/index.ts'
import { accepted, ControlledDriver, World } from '../kit/rig.ts'

const start = (placement: unknown) =>
  new World().begin({ nodes: [], placement: placement as PlacementOptions })

describe('A placement that can not work is refused at start', () => {
  const named: ClusterFilter = () => true
  const cases: readonly [string, unknown, string][] = [
    [
      'an option that is none',
      { filter: [] },
      "filter is not an option of placement; did you mean 'filters'?",
    ],
    ['filters that are no list', { filters: named }, 'filters must be a list of functions'],
    ['a filter that is no function', { filters: ['capacity'] }, 'filters[0] must be a function'],
    ['a filter without a name', { filters: [() => true] }, 'filters[0] needs a name'],
    [
      'two filters of one name',
      { filters: [named, named] },
      "filters[1] is named 'named', as another one is",
    ],
    [
      'a filter named as a built-in one',
      { filters: [{ capacity: () => true }.capacity] },
      "filters[0] is named 'capacity'",
    ],
    ['weighers that are no list', { weighers: freeCapacity }, 'weighers must be a list'],
    ['a weigher that is nothing', { weighers: [null] }, 'weighers[0] must be a function'],
    [
      'a multiplier that is no number',
      { weighers: [{ weigher: freeCapacity, multiplier: '2' }] },
      'weighers[0].multiplier is 2; a finite number is needed',
    ],
    ['a size that is no function', { size: 3 }, 'size must be a function'],
    [
      'specs of a kind that is not given',
      { specs: { volumes: { field: 'type', types: {} } } },
      "specs.volumes is of no resource that is given; did you mean 'volume'?",
    ],
    [
      'specs without a field',
      { specs: { volume: { types: {} } } },
      'specs.volume.field must name a field of the data',
    ],
    ['specs without types', { specs: { volume: { field: 'type' } } }, 'specs.volume.types must list'],
    [
      'a requirement that is nothing',
      { specs: { volume: { field: 'type', types: { fast: { ssd: null } } } } },
      'specs.volume.types.fast.ssd must be a string',
    ],
    [
      'an empty choice',
      { specs: { volume: { field: 'type', types: { fast: { zone: [] } } } } },
      'specs.volume.types.fast.zone must list',
    ],
    [
      'bounds without a bound',
      { specs: { volume: { field: 'type', types: { fast: { iops: {} } } } } },
      'specs.volume.types.fast.iops has no bound',
    ],
    [
      'a bound that is none',
      { specs: { volume: { field: 'type', types: { fast: { iops: { min: 3 } } } } } },
      "has 'min'; only at_least and at_most are bounds",
    ],
    [
      'a bound that is no number',
      { specs: { volume: { field: 'type', types: { fast: { iops: { at_least: '3' } } } } } },
      'iops.at_least must be a finite number',
    ],
    [
      'a provisioning that is neither',
      { specs: { volume: { field: 'type', types: { fast: { provisioning: 'fat' } } } } },
      `provisioning is "fat"; 'thick' or 'thin' is needed`,
    ],
  ]

  test.each(cases)('%s', async (_, placement, message) => {
    await expect(start(placement)).rejects.toMatchObject({
      code: 'bad_settings',
      message: expect.stringContaining(message),
    })
  })

  test('and every fault is in one report', async () => {
    await expect(start({ filters: [1], size: 2 })).rejects.toMatchObject({
      issues: [
        { path: 'filters[0]', message: 'must be a function' },
        { path: 'size', message: 'must be a function' },
      ],
    })
  })
})

/** Two clusters that say different things of themselves. */
async function twoClusters(placement: PlacementOptions) {
  const world = new World()
  const node = (host: string, cluster: string, zone: string, free_gib: number) => {
    const driver = new ControlledDriver({ auto: true })
    driver.capabilities = async () => ({ total_gib: 100, free_gib, specs: { zone } })
    return { host, cluster, driver }
  }
  const nodes = [node('h1', 'big', 'south', 90), node('h2', 'small', 'north', 20)]
  const { runtime } = await world.start({ nodes, placement })
  return { world, runtime }
}

describe('A placement at work', () => {
  const byType: PlacementOptions = {
    specs: {
      volume: {
        field: 'type',
        types: { near: { zone: 'north' }, far: { zone: ['south', 'west'] }, any: {} },
      },
    },
  }

  test('sends a resource where its type is at home, however much room is elsewhere', async () => {
    const { runtime } = await twoClusters(byType)
    const clusterOf = async (type?: string) =>
      accepted(await runtime.volume.create({ name: 'a', size: 1, ...(type === undefined ? {} : { type }) }))
        .row.cluster
    expect(await clusterOf('near')).toBe('small@file')
    expect(await clusterOf('far')).toBe('big@file')
    expect(await clusterOf('any')).toBe('big@file')
    expect(await clusterOf()).toBe('big@file')
  })

  test('refuses a type that it does not know as bad input, with the known ones', async () => {
    const { runtime } = await twoClusters(byType)
    await expect(runtime.volume.create({ name: 'a', size: 1, type: 'neer' })).rejects.toMatchObject({
      code: 'bad_input',
      issues: [{ path: 'type', message: "'neer' is not known; did you mean 'near'?; known: near, far, any" }],
    })
  })

  test('tells for every cluster which filter took it away, in words and by topic', async () => {
    const { runtime } = await twoClusters(byType)
    await expect(runtime.volume.create({ name: 'a', size: 30, type: 'near' })).rejects.toMatchObject({
      code: 'no_cluster',
      message:
        'no cluster can take it: big@file: capabilities: zone is "south", "north" is asked for; small@file: capacity: 20 GiB are free, 30 GiB are asked for',
      issues: [
        { path: 'big@file', message: 'capabilities: zone is "south", "north" is asked for' },
        { path: 'small@file', message: 'capacity: 20 GiB are free, 30 GiB are asked for' },
      ],
    })
    expect(await runtime.count('volume')).toBe(0)
  })

  test("asks a user's filters and weighers", async () => {
    const seen: string[] = []
    const { runtime } = await twoClusters({
      filters: [
        function notOnFridays(cluster, wanted) {
          seen.push(`${cluster.topic} ${wanted.kind} ${wanted.operation} ${wanted.size_gib}`)
          return cluster.topic !== 'small@file' || 'it rests today'
        },
      ],
      weighers: [{ weigher: freeCapacity, multiplier: -1 }],
    })
    const made = accepted(await runtime.volume.create({ name: 'a', size: 3 }))
    expect(made.row.cluster).toBe('big@file')
    expect(seen).toEqual(['big@file volume create 3', 'small@file volume create 3'])
    await expect(runtime.volume.create({ name: 'b', size: 95 })).rejects.toMatchObject({
      issues: [
        { path: 'big@file', message: expect.stringContaining('capacity: ') },
        { path: 'small@file', message: expect.stringContaining('capacity: ') },
      ],
    })
  })

  test('stacks where the multiplier of the free capacity is negative', async () => {
    const { runtime } = await twoClusters({ weighers: [{ weigher: freeCapacity, multiplier: -1 }] })
    const made = accepted(await runtime.volume.create({ name: 'a', size: 3 }))
    expect(made.row.cluster).toBe('small@file')
  })

  test('goes where it is asked to without asking a filter, and nowhere that is not known', async () => {
    const { runtime } = await twoClusters(byType)
    const made = accepted(
      await runtime.volume.create({ name: 'a', size: 30, type: 'far' }, { cluster: 'small@file' }),
    )
    expect(made.row.cluster).toBe('small@file')
    await expect(
      runtime.volume.create({ name: 'a', size: 1 }, { cluster: 'smal@file' }),
    ).rejects.toMatchObject({ code: 'unknown_cluster' })
  })

  test('refuses the call, and no more, where a filter of the user is at fault', async () => {
    const { runtime } = await twoClusters({
      filters: [
        function broken() {
          throw new Error('no such rack')
        },
      ],
    })
    await expect(runtime.volume.create({ name: 'a', size: 1 })).rejects.toMatchObject({
      code: 'definition_threw',
      message: expect.stringContaining('broken threw for big@file: Error: no such rack'),
    })
    expect(await runtime.count('volume')).toBe(0)
    accepted(await runtime.volume.create({ name: 'a', size: 1 }, { cluster: 'big@file' }))
  })

  test('takes the size that it is told to count, in place of a field named size', async () => {
    const { runtime } = await twoClusters({ size: (_, data) => (data.size as number) * 3 })
    await expect(runtime.volume.create({ name: 'a', size: 31 })).rejects.toThrow('93 GiB are asked for')
    accepted(await runtime.volume.create({ name: 'a', size: 30 }))
  })
})
