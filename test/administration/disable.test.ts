// A node that an administrator disabled claims nothing new, in its later lives either, and goes on with what it
// has; enabled, it claims at once. A disabled cluster is not chosen, and a refused create says why.

import { describe, expect, test } from 'vitest'
import { accepted, ControlledDriver, clusterings, expectAtRest, World } from '../kit/rig.ts'

describe.each(clusterings)('A disabled node, $clustering', ({ cluster }) => {
  const topic = `${cluster}@file`
  const begin = async () => {
    const world = new World()
    const driver = new ControlledDriver()
    const nodes = [{ host: 'h1' }, { host: 'h2' }]
    const process = await world.start({ nodes, cluster, driver, settings: { concurrency: 1 } })
    const create = async (name: string) =>
      accepted(await process.runtime.volume.create({ name, size: 1 }, { cluster: topic })).id
    return { world, driver, process, runtime: process.runtime, create }
  }

  test('goes on with what it has and claims nothing new; enabled, it claims at once', async () => {
    const { world, driver, runtime, create } = await begin()
    const ids = [await create('a'), await create('b')]
    await world.until(() => driver.open.length === 2)
    const answer = await runtime.admin.disableNode('h1', 'new disks')
    expect(answer).toMatchObject({
      ok: true,
      node: { address: 'h1@file', state: 'up', disabled: true, disabled_reason: 'new disks' },
    })
    const waiting = await create('c')
    driver.open.find(({ worker }) => worker === 'h1@file')!.done()
    await world.environment.advance(20_000)
    expect(runtime.nodes()[0]).toMatchObject({ state: 'up', here: { state: 'disabled', working_on: [] } })
    expect(await world.row('volume', waiting)).toMatchObject({ worker: topic, incarnation: null })
    expect((await runtime.admin.enableNode('h1@file')).ok).toBe(true)
    // No time passes: nothing waits for a sweep.
    await world.environment.settle()
    expect(await world.row('volume', waiting)).toMatchObject({ worker: 'h1@file', incarnation: 1 })
    for (const call of driver.open) call.done()
    for (const id of [...ids, waiting]) expectAtRest(await world.rest('volume', id), 'available')
  })

  test('is disabled in its next lives and processes too', async () => {
    const { world, driver, process, runtime } = await begin()
    await runtime.admin.disableNode('h1')
    await process.crash()
    const again = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    expect(again.runtime.nodes()[0]).toMatchObject({
      host: 'h1',
      incarnation: 2,
      state: 'up',
      disabled: true,
      here: { state: 'disabled' },
    })
    const id = accepted(await again.runtime.volume.create({ name: 'a', size: 1 }, { cluster: topic })).id
    await world.environment.advance(20_000)
    expect(await world.row('volume', id)).toMatchObject({ incarnation: null, attempts: 0 })
    expect(driver.calls).toEqual([])
    await again.runtime.admin.enableNode('h1')
    await world.until(() => driver.open.length === 1)
  })

  test('can be drained and resumed without being enabled by that', async () => {
    const { world, runtime } = await begin()
    await runtime.admin.disableNode('h1')
    runtime.node('h1').drain()
    expect(runtime.nodes()[0]!.here).toMatchObject({ state: 'draining' })
    runtime.node('h1').start()
    expect(runtime.nodes()[0]!.here).toMatchObject({ state: 'disabled' })
    await runtime.admin.enableNode('h1')
    await world.environment.settle()
    expect(runtime.nodes()[0]!.here).toMatchObject({ state: 'up' })
  })

  test('loses the claim that raced its disabling, and the other node takes the work without a sweep', async () => {
    const { world, driver, runtime, create } = await begin()
    let seen = 0
    // The claim of h1 has decided when the row of its service changes under it.
    world.fault = ({ actor, method, changes }) => {
      const isClaim = changes.some((change) => 'put' in change && change.put.worker === 'h1@file')
      if (actor !== 'h1@file' || method !== 'transact' || !isClaim || seen++ > 0) return undefined
      return runtime.admin.disableNode('h1').then(() => {})
    }
    runtime.node('h2').drain()
    const id = await create('a')
    await world.until(() => seen > 0)
    expect(await world.row('volume', id)).toMatchObject({ worker: topic, incarnation: null, attempts: 0 })
    runtime.node('h2').start()
    await world.environment.settle()
    expect(await world.row('volume', id)).toMatchObject({ worker: 'h2@file', attempts: 1 })
    expect(driver.calls.map(({ worker }) => worker)).toEqual(['h2@file'])
  })

  test('may be disabled again: it is answered, and nothing is written unless the reason is another', async () => {
    const { world, runtime } = await begin()
    await runtime.admin.disableNode('h1', 'new disks')
    const before = await world.service('h1')
    expect(await runtime.admin.disableNode('h1', 'new disks')).toMatchObject({ ok: true })
    expect(await runtime.admin.disableNode('h1')).toMatchObject({ ok: true })
    expect(await world.service('h1')).toEqual(before)
    await runtime.admin.disableNode('h1', 'no disks')
    expect(await world.service('h1')).toMatchObject({ disabled_reason: 'no disks' })
  })
})

describe('A disabled cluster', () => {
  test('55: is not chosen, and a create that finds no place says the reason given', async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.rest('volume', id)
    expect(await runtime.admin.disableCluster('ssd@file', 'to be replaced')).toMatchObject({
      ok: true,
      cluster: { topic: 'ssd@file', disabled: true, disabled_reason: 'to be replaced', nodes: ['h1'] },
    })
    await expect(runtime.volume.create({ name: 'b', size: 1 })).rejects.toMatchObject({
      code: 'no_cluster',
      issues: [{ path: 'ssd@file', message: 'availability: it is disabled (to be replaced)' }],
    })
    accepted(await runtime.volume(id).delete({}))
    expectAtRest(await world.rest('volume', id), 'gone')
    expect((await runtime.admin.enableCluster('ssd@file')).ok).toBe(true)
    accepted(await runtime.volume.create({ name: 'b', size: 1 }))
  })
})

describe('A name that is not known', () => {
  test('is told with the nearest one, and a host of two backends must be named with its backend', async () => {
    const world = new World()
    const driver = new ControlledDriver()
    const { runtime } = await world.start({
      nodes: [{ host: 'h1' }, { host: 'h1', backend: 'tape' }],
      driver,
    })
    await expect(runtime.admin.disableNode('h1')).rejects.toMatchObject({
      code: 'unknown_node',
      message: expect.stringContaining('say which: h1@file, h1@tape'),
    })
    await expect(runtime.admin.disableNode('h1@fil')).rejects.toThrow('h1@file')
    await expect(runtime.admin.freezeCluster('ssd')).rejects.toMatchObject({ code: 'unknown_cluster' })
    await expect(runtime.admin.disableNode('h1@file', 'x'.repeat(256))).rejects.toMatchObject({
      code: 'bad_input',
      issues: [{ path: 'reason' }],
    })
  })
})
