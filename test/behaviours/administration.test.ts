// What an administrator does with nodes and clusters: behaviours 56 and 58-60 of reference/cinder.md. A freeze's
// races are in test/administration.

import { describe, expect, test } from 'vitest'
import { accepted, ControlledDriver, clusterings, expectAtRest, World } from '../kit/rig.ts'

describe.each(clusterings)('Removing and cleaning, $clustering', ({ cluster }) => {
  const topic = `${cluster}@file`

  test('58: a cluster with nodes is removed only recursively, its nodes first, and neither while it has rows or runs', async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], cluster, driver })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.rest('volume', id)
    expect(await runtime.admin.removeCluster(topic, { recursive: true })).toMatchObject({
      ok: false,
      resource: { kind: 'cluster', id: topic },
      found: '1 volume',
      message: `remove of cluster ${topic} is refused: it has 1 volume`,
    })
    accepted(await runtime.volume(id).delete({}))
    expectAtRest(await world.rest('volume', id), 'gone')
    expect(await runtime.admin.removeCluster(topic, { recursive: true })).toMatchObject({
      ok: false,
      message: expect.stringContaining('h1 is up, h2 is up; stop it first'),
    })
    for (const host of ['h1', 'h2']) runtime.node(host).kill()
    await world.environment.advance(20_000)
    expect(await runtime.admin.removeCluster(topic)).toMatchObject({
      ok: false,
      found: 'h1, h2',
      message: expect.stringContaining('recursive removes them first'),
    })
    expect(await runtime.admin.removeCluster(topic, { recursive: true })).toMatchObject({
      ok: true,
      cluster: { topic },
      nodes: [{ host: 'h1' }, { host: 'h2' }],
    })
    expect([runtime.nodes(), await runtime.clusters()]).toEqual([[], []])
    expect(await world.rows('service')).toEqual([])
    expect(await world.rows('beat')).toEqual([])
  })

  test('58: a node is removed once it is down and has nothing; come back, no incarnation of it is used again', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ fences: true })
    const api = await world.start({ nodes: [], driver })
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const { id } = accepted(await api.runtime.volume.create({ name: 'a', size: 1 }, { cluster: topic }))
    await world.until(() => driver.open.length === 1)
    expect(await api.runtime.admin.removeNode('h1@file')).toMatchObject({
      ok: false,
      expected: ['down'],
      found: 'up',
    })
    await one.crash()
    await world.environment.advance(20_000)
    // Its work waits for a node of the cluster; it is nobody's.
    expect(await world.row('volume', id)).toMatchObject({ worker: topic, incarnation: null })
    expect(await api.runtime.admin.removeNode('h1@file')).toMatchObject({ ok: true, node: { host: 'h1' } })
    expect(api.runtime.nodes()).toEqual([])
    await expect(api.runtime.admin.removeNode('h1@file')).rejects.toMatchObject({ code: 'unknown_node' })
    expect((await api.runtime.clusters()).map((one) => [one.topic, one.up, one.nodes])).toEqual([
      [topic, false, []],
    ])
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    expect(await world.service('h1')).toMatchObject({ incarnation: 2 })
    expectAtRest(await world.rest('volume', id), 'error')
    const lives = (await world.historyOf('volume', id)).flatMap(({ incarnation }) => incarnation ?? [])
    expect([...new Set(lives)]).toEqual([1, 2])
  })

  test('58: a node that is the worker of rows is not removed, and the answer counts them', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ stubborn: true })
    const api = await world.start({ nodes: [], settings: { sweep_ms: 2_000 } })
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    for (const name of ['a', 'b'])
      accepted(await api.runtime.volume.create({ name, size: 1 }, { cluster: topic }))
    await world.until(() => driver.open.length === 2)
    // Declared down by the sweep; its claims are put right in the same sweep, so the look comes between.
    let answer: unknown
    world.fault = ({ actor, method, filter }) => {
      if (!actor.startsWith('scheduler') || method !== 'list' || filter.worker !== 'h1@file') return undefined
      if (filter.taken !== true || answer !== undefined) return undefined
      return api.runtime.admin.removeNode('h1@file').then((said) => {
        answer = said
      })
    }
    await one.crash()
    await world.until(() => answer !== undefined)
    expect(answer).toMatchObject({
      ok: false,
      found: '2 volumes',
      message: expect.stringContaining('the worker of 2 volumes, which are not put right yet'),
    })
    expect(await world.service('h1')).toBeDefined()
  })

  test('59: a cleanup names the nodes that are being cleaned and those that are not, and why', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ fences: true })
    const api = await world.start({ nodes: [], driver })
    await world.startAll(
      { nodes: [{ host: 'h1' }], cluster, driver },
      { nodes: [{ host: 'h2' }], cluster, driver },
      { nodes: [{ host: 'h3' }], cluster: 'hdd', driver },
    )
    const { id } = accepted(await api.runtime.volume.create({ name: 'a', size: 1 }, { cluster: topic }))
    await world.until(() => driver.open.length === 1)
    const worker = driver.open[0]!.worker.split('@')[0]!
    // Its sweeps put nothing right: what is cleaned here is cleaned on demand.
    world.fault = ({ actor, filter }) =>
      actor.startsWith('scheduler') && filter.taken === true ? 'refuses' : undefined
    const service = await world.service(worker)
    await world.put({ ...service, state: 'down' })
    const answer = await api.runtime.admin.cleanup()
    expect(answer).toMatchObject({ ok: true, cleaning: [{ node: { host: worker }, rows: 1 }] })
    const unavailable = (answer as Extract<typeof answer, { ok: true }>).unavailable
    expect(unavailable.map(({ node, why }) => [node.host, why]).sort()).toEqual(
      ['h1', 'h2', 'h3']
        .filter((host) => host !== worker)
        .map((host) => [host, 'it is up: only a node that is down is cleaned']),
    )
    // The other node of the cluster does the claimed step.
    expect((await world.row('volume', id)).operation!.cleanup).not.toBeNull()
    // Narrowed to what is not there, nothing is named.
    expect(await api.runtime.admin.cleanup({ cluster: 'hdd@file' })).toMatchObject({
      cleaning: [],
      unavailable: [{ node: { host: 'h3' } }],
    })
    expect(await api.runtime.admin.cleanup({ kind: 'snapshot' })).toMatchObject({
      cleaning: [],
      unavailable: [],
    })
    await expect(api.runtime.admin.cleanup({ host: 'h9' })).rejects.toMatchObject({ code: 'unknown_node' })
    await expect(api.runtime.admin.cleanup({ id })).rejects.toMatchObject({ code: 'bad_input' })
  })

  test('59: a node whose cleanup needs the backend is unavailable while no other node of its cluster could', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ fences: true })
    const api = await world.start({ nodes: [], driver })
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    await one.crash()
    await world.environment.advance(20_000)
    expect(await api.runtime.admin.cleanup({ host: 'h1' })).toMatchObject({
      ok: true,
      cleaning: [],
      unavailable: [{ why: `its cleanup needs the backend, and no node of ${topic} is up and enabled` }],
    })
  })

  test('60: a claim that a node made after the given time is not touched; an older one is put right', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const api = await world.start({ nodes: [], driver })
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const ids: string[] = []
    let until = 0
    for (const name of ['older', 'newer']) {
      ids.push(accepted(await api.runtime.volume.create({ name, size: 1 }, { cluster: topic })).id)
      await world.until(() => driver.open.length === ids.length)
      until ||= world.environment.now()
      await world.environment.advance(1_000)
    }
    world.fault = ({ actor, filter }) =>
      actor.startsWith('scheduler') && filter.taken === true ? 'refuses' : undefined
    await world.put({ ...(await world.service('h1')), state: 'down' })
    expect(await api.runtime.admin.cleanup({ until })).toMatchObject({ cleaning: [{ rows: 1 }] })
    expectAtRest(await world.row('volume', ids[0]!), 'error')
    expect(await world.row('volume', ids[1]!)).toMatchObject({ worker: 'h1@file', incarnation: 1 })
    expect(await api.runtime.admin.cleanup({ kind: 'volume', id: ids[1]! })).toMatchObject({
      cleaning: [{ rows: 1 }],
    })
    expectAtRest(await world.row('volume', ids[1]!), 'error')
  })

  test('59: a cleanup that failed is not waited for: it is tried at once', async () => {
    const world = new World()
    const driver = new ControlledDriver({ fences: true })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], cluster, driver })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.until(() => driver.open.length === 1)
    driver.faultOfMark = () => new Error('the array does not answer')
    runtime.node(driver.open[0]!.worker).kill()
    await world.until(async () => ((await world.row('volume', id)).operation?.cleanup?.failures ?? 0) === 3)
    driver.faultOfMark = () => undefined
    expect(await runtime.admin.cleanup({ kind: 'volume', id: 'volume-of-nobody' })).toMatchObject({
      retried: [],
    })
    expect((await world.row('volume', id)).operation!.cleanup!.not_before).toBeGreaterThan(
      world.environment.now(),
    )
    expect(await runtime.admin.cleanup({ cluster })).toMatchObject({ retried: [{ kind: 'volume', id }] })
    // No time passes.
    await world.environment.settle()
    expectAtRest(await world.row('volume', id), 'error')
  })
})
