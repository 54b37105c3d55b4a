// Who is where, and who does what: behaviours 1-5, 31-33, 40, 57, 61 and 62 of reference/cinder.md.

import { describe, expect, test } from 'vitest'
import { accepted, ControlledDriver, clusterings, expectAtRest, World } from '../kit/rig.ts'

test('1: a node without a cluster listens on and reports as host@backend', async () => {
  const world = new World()
  const driver = new ControlledDriver()
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }], cluster: null, driver })
  expect((await runtime.clusters()).map(({ topic, nodes }) => ({ topic, nodes }))).toEqual([
    { topic: 'h1@file', nodes: ['h1'] },
  ])
  const made = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
  expect(made.row).toMatchObject({ cluster: 'h1@file', worker: 'h1@file', incarnation: null })
  await world.until(() => driver.open.length === 1)
  expect(driver.open[0]!.worker).toBe('h1@file')
})

test('3: a second node with the same host is refused, and the first goes on', async () => {
  const world = new World({ exclusive: false })
  const driver = new ControlledDriver()
  const first = await world.start({ nodes: [{ host: 'h1' }], driver })
  accepted(await first.runtime.volume.create({ name: 'a', size: 1 }))
  await world.until(() => driver.open.length === 1)
  await expect(world.start({ nodes: [{ host: 'h1' }], driver })).rejects.toMatchObject({
    code: 'node_running',
    message: expect.stringContaining('h1@file runs already'),
  })
  // Whatever cluster it is configured for.
  await expect(world.start({ nodes: [{ host: 'h1' }], cluster: 'hdd', driver })).rejects.toThrow('h1@file')
  expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 1 })
  expect(driver.open[0]!.context.signal.aborted).toBe(false)
})

test('5: a host that joins a standalone one shares its key; what runs there goes on untouched', async () => {
  const world = new World({ exclusive: false })
  const driver = new ControlledDriver()
  const settings = { concurrency: 1 }
  const one = await world.start({ nodes: [{ host: 'h1' }], cluster: null, driver, settings })
  const running = accepted(await one.runtime.volume.create({ name: 'a', size: 1 })).id
  const waiting = accepted(await one.runtime.volume.create({ name: 'b', size: 1 })).id
  await world.until(() => driver.open.length === 1)
  const before = await world.row('volume', running)
  expect(before).toMatchObject({ cluster: 'h1@file', worker: 'h1@file', incarnation: 1 })

  const two = await world.start({ nodes: [{ host: 'h2' }], cluster: 'h1', driver, settings })
  await world.until(() => driver.open.length === 2)
  expect(await world.row('volume', running)).toEqual(before)
  expect(await world.row('volume', waiting)).toMatchObject({ cluster: 'h1@file', worker: 'h2@file' })
  expect((await two.runtime.clusters()).map(({ topic, nodes }) => [topic, nodes])).toEqual([
    ['h1@file', ['h1', 'h2']],
  ])
  // Its restart takes neither the queue nor the other's work for its own (rule R17).
  const queued = accepted(await two.runtime.volume.create({ name: 'c', size: 1 })).id
  await one.crash()
  await world.start({ nodes: [{ host: 'h1' }], cluster: null, driver, settings })
  expectAtRest(await world.row('volume', running), 'error')
  expect(await world.row('volume', waiting)).toMatchObject({ status: 'creating', worker: 'h2@file' })
  await world.until(async () => (await world.row('volume', queued)).incarnation === 2)
  expect((await world.row('volume', queued)).attempts).toBe(1)
})

describe.each(clusterings)('Nodes of one cluster, $clustering', ({ cluster }) => {
  const topic = `${cluster}@file`
  const nodes = ['h1', 'h2', 'h3'].map((host) => ({ host }))

  test('2: nodes of one cluster have a record each and one routing key', async () => {
    const world = new World()
    const { runtime } = await world.start({ nodes, cluster, driver: new ControlledDriver() })
    expect((await world.rows('service')).map(({ id }) => id)).toEqual([
      `${topic}@h1`,
      `${topic}@h2`,
      `${topic}@h3`,
    ])
    expect((await runtime.clusters()).map((view) => view.topic)).toEqual([topic])
  })

  test('4: a job is addressed to cluster@backend, and exactly one node of the cluster takes it', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    await world.startAll(...nodes.map((node) => ({ nodes: [node], cluster, driver })))
    await world.start({ nodes: [{ host: 'h4' }], cluster: 'hdd', driver })
    // The sender has no node at all: it knows the key, and no host.
    const api = await world.start({ nodes: [] })
    const { row } = accepted(await api.runtime.volume.create({ name: 'a', size: 1 }, { cluster: topic }))
    expect(row).toMatchObject({ worker: topic, incarnation: null, host: null })
    await world.until(() => driver.calls.length > 0)
    await world.environment.advance(5_000)
    expect(driver.calls.length).toBe(1)
    expect(['h1@file', 'h2@file', 'h3@file']).toContain(driver.calls[0]!.worker)
  })

  test('31: every node beats in a row of its own, keyed by cluster, backend and host', async () => {
    const world = new World()
    await world.start({ nodes, cluster, driver: new ControlledDriver() })
    const counters = async () =>
      Object.fromEntries((await world.rows('beat')).map(({ id, counter }) => [id, counter as number]))
    const before = await counters()
    expect(Object.keys(before)).toEqual([`${topic}@h1`, `${topic}@h2`, `${topic}@h3`])
    await world.environment.advance(10_000)
    for (const [id, counter] of Object.entries(await counters()))
      expect(counter).toBeGreaterThan(before[id]! + 3)
    // No beat touches the service row, so claims never collide with beats.
    for (const { version } of await world.rows('service')) expect(version).toBe(2)
  })

  test('32: a cluster is up while any of its nodes is, and down when the last one has been silent for down_after', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const api = await world.start({ nodes: [] })
    const processes = await world.startAll(...nodes.map((node) => ({ nodes: [node], cluster, driver })))
    const isUp = async () => (await api.runtime.clusters())[0]!.up
    await world.environment.advance(1_000)
    for (const one of processes.slice(1)) await one.crash()
    await world.environment.advance(20_000)
    expect(api.runtime.nodes().map(({ host, state }) => [host, state])).toEqual([
      ['h1', 'up'],
      ['h2', 'down'],
      ['h3', 'down'],
    ])
    expect(await isUp()).toBe(true)
    await processes[0]!.crash()
    await world.environment.advance(5_000)
    expect(await isUp()).toBe(true)
    await world.environment.advance(8_000)
    expect(await isUp()).toBe(false)
  })

  test('33: a map keyed by cluster@backend tells of every node whether its cleanup is done', async () => {
    const world = new World()
    const { runtime } = await world.start({
      nodes: [...nodes, { host: 'h1', backend: 'tape' }],
      cluster,
      driver: new ControlledDriver(),
    })
    runtime.node('h3').kill()
    await world.environment.advance(20_000)
    expect((await runtime.clusters()).map((view) => [view.topic, view.nodes])).toEqual([
      [topic, ['h1', 'h2', 'h3']],
      [`${cluster}@tape`, ['h1']],
    ])
    expect(runtime.nodes().map(({ address, cleanup_done }) => [address, cleanup_done])).toEqual([
      ['h1@file', false],
      ['h2@file', false],
      ['h3@file', true],
      ['h1@tape', false],
    ])
  })

  test('40: capability reports of the nodes of a cluster are one entry, and the last one counts', async () => {
    const world = new World()
    const reports = [
      { total_gib: 100, free_gib: 70 },
      { total_gib: 100, free_gib: 30 },
    ]
    const drivers = reports.map((report) => {
      const driver = new ControlledDriver()
      driver.capabilities = async () => report
      return driver
    })
    const { runtime } = await world.start({
      nodes: drivers.map((driver, i) => ({ host: `h${i + 1}`, driver })),
      cluster,
    })
    await world.environment.advance(3_000)
    const views = await runtime.clusters()
    expect(views.length).toBe(1)
    expect(views[0]).toMatchObject({ topic, capabilities: reports[1] })
    // The first one reports alone from now on, and something else.
    runtime.node('h2').kill()
    reports[0]!.free_gib = 10
    drivers[0]!.capabilities = async () => ({ total_gib: 100, free_gib: 10 })
    await world.environment.advance(10_000)
    expect((await runtime.clusters())[0]).toMatchObject({ capabilities: { free_gib: 10 } })
    await expect(runtime.volume.create({ name: 'a', size: 11 })).rejects.toThrow('10 GiB are free')
  })

  test('57: two nodes that make the record of their cluster at once both start, and there is one record', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    await world.startAll(...nodes.map((node) => ({ nodes: [node], cluster, driver })))
    expect((await world.rows('cluster')).map(({ id, version }) => [id, version])).toEqual([[topic, 1]])
    for (const { host } of nodes) expect(await world.service(host)).toMatchObject({ state: 'up' })
  })

  test('61: a volume that one node made is deleted by another after the first has left', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ auto: true })
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const { id } = accepted(await one.runtime.volume.create({ name: 'a', size: 1 }))
    expect(await world.rest('volume', id)).toMatchObject({ status: 'available', host: 'h1', cluster: topic })
    const two = await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    await one.stop()
    accepted(await two.runtime.volume(id).delete())
    expect(await world.rest('volume', id)).toMatchObject({ status: 'gone', host: 'h2' })
    expect(driver.callsOn(id).map(({ worker }) => worker)).toEqual(['h1@file', 'h2@file'])
  })

  test('62: a snapshot goes to the cluster of its volume, wherever there is more room', async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    const roomy = new ControlledDriver({ auto: true })
    roomy.capabilities = async () => ({ total_gib: 1_000, free_gib: 1_000 })
    const { runtime } = await world.start({
      nodes: [
        { host: 'h1', driver },
        { host: 'h9', cluster: 'roomy', driver: roomy },
      ],
      cluster,
    })
    const made = accepted(await runtime.volume.create({ name: 'a', size: 1 }, { cluster: topic }))
    await world.rest('volume', made.id)
    const taken = accepted(await runtime.snapshot.create({ name: 's', volume_id: made.id }))
    expect(taken.row).toMatchObject({ cluster: topic, worker: topic, host: null })
    expectAtRest(await world.rest('snapshot', taken.id), 'available')
    expect(roomy.calls).toEqual([])
  })
})
