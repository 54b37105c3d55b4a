// Where new resources go and where they do not: behaviours 40-42, 53 and 55 of reference/cinder.md. There is no
// request to disable or freeze a cluster here: its row is swapped, as an administration would.

import { describe, expect, test } from 'vitest'
import type { BeatRow, Capabilities, ClusterRow, ServiceRow } from '../../machines/row.ts'
import { DriverError } from '../../runtime/driver.ts'
import { accepted, beatsOf, ControlledDriver, clusterings, expectAtRest, World } from '../kit/rig.ts'

/** A driver that says this of its backend, and does at once what it is asked. */
function saying(capabilities: Capabilities): ControlledDriver {
  const driver = new ControlledDriver({ auto: true })
  driver.capabilities = async () => capabilities
  return driver
}

const full: Capabilities = { total_gib: 100, free_gib: 10 }

/** What goes on without time passing goes on until this is so. */
async function settled(world: World, isSo: () => Promise<boolean>): Promise<void> {
  for (let turns = 0; !(await isSo()); turns++) {
    if (turns > 100) throw new Error('nothing goes on')
    await world.environment.settle()
  }
}

async function changeCluster(world: World, topic: string, change: Partial<ClusterRow>): Promise<void> {
  const row = (await world.rows('cluster')).find(({ id }) => id === topic) as unknown as ClusterRow
  await world.put({ ...row, ...change })
  await world.environment.settle()
}

async function changeService(world: World, host: string, change: Partial<ServiceRow>): Promise<void> {
  await world.put({ ...(await world.service(host)), ...change })
  await world.environment.settle()
}

describe.each(clusterings)('Reports of one cluster, $clustering', ({ cluster }) => {
  const topic = `${cluster}@file`

  test('40: the reports of two nodes make one entry under cluster@backend, and the last one counts', async () => {
    const world = new World()
    let free_gib = 0
    const driver = new ControlledDriver()
    driver.capabilities = async () => ({ total_gib: 1_000, free_gib: ++free_gib })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], cluster, driver })
    for (let i = 0; i < 10; i++) {
      await world.environment.advance(700)
      const beats = (await world.rows('beat')) as unknown as BeatRow[]
      const last = Math.max(...beats.map(({ capabilities }) => capabilities?.free_gib ?? 0))
      const views = await runtime.clusters()
      expect(views.map((view) => view.topic)).toEqual([topic])
      expect(views[0]!.capabilities?.free_gib).toBe(last)
    }
    expect(free_gib).toBeGreaterThan(6)
  })

  test('41: a report that was made earlier and arrives later is dropped', async () => {
    const world = new World()
    const slow = saying({ total_gib: 100, free_gib: 77 })
    const quick = saying({ total_gib: 100, free_gib: 80 })
    const { runtime } = await world.start({
      nodes: [
        { host: 'h1', driver: slow },
        { host: 'h2', driver: quick },
      ],
      cluster,
      settings: { fence_after_ms: 20_000, down_after_ms: 40_000 },
    })
    const beatOf = async (host: string) =>
      (await world.rows('beat')).find(({ id }) => id === `${topic}@${host}`) as unknown as BeatRow
    // What h1 says is held up for a while; meanwhile h2 says something newer.
    let arrive = () => {}
    const onItsWay = new Promise<void>((resolve) => {
      arrive = resolve
    })
    world.fault = beatsOf('h1@file', onItsWay)
    await world.environment.advance(3_000)
    const before = await beatOf('h1')
    quick.capabilities = async () => ({ total_gib: 100, free_gib: 20 })
    await world.until(async () => (await beatOf('h2')).capabilities?.free_gib === 20)
    arrive()
    await settled(world, async () => (await beatOf('h1')).counter > before.counter)
    const late = await beatOf('h1')
    expect(late.capabilities?.free_gib).toBe(77)
    expect(late.reported_offset).toBeLessThan((await beatOf('h2')).reported_offset!)
    expect((await runtime.clusters())[0]!.capabilities?.free_gib).toBe(20)
  })

  test('41: the clocks of nodes are not compared: one that is an hour ahead does not have the last word', async () => {
    const world = new World({ exclusive: false })
    const ahead = saying({ total_gib: 100, free_gib: 90 })
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver: ahead })
    const beat = (await world.rows('beat'))[0] as unknown as BeatRow
    await world.put({ ...beat, reported_at: beat.reported_at + 3_600_000 } as never)
    await one.crash()
    const api = await world.start({ nodes: [] })
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver: saying(full) })
    await world.environment.advance(1_000)
    expect((await api.runtime.clusters())[0]!.capabilities).toEqual(full)
  })
})

describe('What is not offered', () => {
  /** Two clusters; `roomy` would always be the first choice. */
  async function twoClusters() {
    const world = new World()
    const { runtime } = await world.start({
      nodes: [
        { host: 'h1', cluster: 'small', driver: saying(full) },
        { host: 'h8', cluster: 'roomy', driver: saying({ total_gib: 900, free_gib: 900 }) },
        { host: 'h9', cluster: 'roomy', driver: saying({ total_gib: 900, free_gib: 900 }) },
      ],
    })
    const clusterOf = async () => {
      const made = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
      expectAtRest(await world.rest('volume', made.id), 'available')
      return made.row.cluster
    }
    return { world, runtime, clusterOf }
  }

  test('42: a cluster whose nodes are all down is not offered; while one is up it is', async () => {
    const { world, runtime, clusterOf } = await twoClusters()
    expect(await clusterOf()).toBe('roomy@file')
    runtime.node('h8').kill()
    await world.environment.advance(20_000)
    expect(await clusterOf()).toBe('roomy@file')
    runtime.node('h9').kill()
    await world.environment.advance(20_000)
    expect(await clusterOf()).toBe('small@file')
  })

  test('42: a cluster whose nodes that are up are all disabled is not offered; one of them enabled is enough', async () => {
    const { world, clusterOf } = await twoClusters()
    await changeService(world, 'h8', { disabled: true, disabled_reason: 'new disks' })
    expect(await clusterOf()).toBe('roomy@file')
    await changeService(world, 'h9', { disabled: true })
    expect(await clusterOf()).toBe('small@file')
    await changeService(world, 'h8', { disabled: false })
    expect(await clusterOf()).toBe('roomy@file')
  })

  test('42: a frozen cluster is not offered', async () => {
    const { world, clusterOf } = await twoClusters()
    await changeCluster(world, 'roomy@file', { frozen: true })
    expect(await clusterOf()).toBe('small@file')
    await changeCluster(world, 'roomy@file', { frozen: false })
    expect(await clusterOf()).toBe('roomy@file')
  })

  test('42: with no cluster left a create is refused before anything is made, and says why of each', async () => {
    const { world, runtime } = await twoClusters()
    await changeCluster(world, 'roomy@file', { frozen: true })
    runtime.node('h1').kill()
    await world.environment.advance(20_000)
    await expect(runtime.volume.create({ name: 'a', size: 1 })).rejects.toMatchObject({
      code: 'no_cluster',
      issues: [
        { path: 'roomy@file', message: 'availability: it is frozen' },
        { path: 'small@file', message: 'availability: no node of it is up' },
      ],
    })
    expect(await runtime.count('volume')).toBe(0)
  })

  test('55: a disabled cluster is not chosen; what it has is attached, snapshotted, extended and deleted as before', async () => {
    const { world, runtime, clusterOf } = await twoClusters()
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    expect((await world.rest('volume', id)).cluster).toBe('roomy@file')
    await changeCluster(world, 'roomy@file', { disabled: true, disabled_reason: 'to be replaced' })
    expect(await clusterOf()).toBe('small@file')
    accepted(await runtime.volume(id).attach({ host: 'c1', device: '/dev/vdb' }))
    accepted(await runtime.volume(id).detach({}))
    accepted(await runtime.volume(id).extend({ size: 2 }))
    expectAtRest(await world.rest('volume', id), 'available')
    const taken = accepted(await runtime.snapshot.create({ name: 's', volume_id: id }))
    expect(taken.row.cluster).toBe('roomy@file')
    expectAtRest(await world.rest('snapshot', taken.id), 'available')
    accepted(await runtime.snapshot(taken.id).delete())
    await world.rest('snapshot', taken.id)
    accepted(await runtime.volume(id).delete({}))
    expectAtRest(await world.rest('volume', id), 'gone')
  })
})

describe('An extend without room', () => {
  const start = async () => {
    const world = new World()
    const driver = saying(full)
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 4 }))
    await world.rest('volume', id)
    return { world, driver, runtime, id }
  }

  test('53: is refused by what is known of its cluster, of which it asks the difference; its status was never touched', async () => {
    const { world, runtime, id } = await start()
    // The report is older than the volume: 10 free, 4 of them promised.
    const before = await world.row('volume', id)
    await expect(runtime.volume(id).extend({ size: 11 })).rejects.toMatchObject({
      code: 'no_cluster',
      issues: [
        {
          path: 'ssd@file',
          message: 'capacity: 6 GiB are free, 4 GiB promised since its report, 7 GiB are asked for',
        },
      ],
    })
    expect(await world.row('volume', id)).toEqual(before)
    accepted(await runtime.volume(id).extend({ size: 10 }))
    expect(await world.rest('volume', id)).toMatchObject({ status: 'available', data: { size: 10 } })
  })

  test('53: is put back to its previous status where only the driver finds out', async () => {
    const { world, driver, runtime, id } = await start()
    driver.auto = false
    accepted(await runtime.volume(id).attach({ host: 'c1', device: '/dev/vdb' }))
    accepted(await runtime.volume(id).extend({ size: 9 }))
    await world.until(() => driver.open.length === 1)
    driver.open[0]!.fail(new DriverError('no_space', 'the pool is full'))
    const row = await world.rest('volume', id)
    expectAtRest(row, 'in-use')
    expect(row).toMatchObject({ data: { size: 4 }, error: { code: 'no_space', message: 'the pool is full' } })
  })

  test('53: is refused by its status first: what can not be extended is not asked for room', async () => {
    const { runtime, id } = await start()
    accepted(await runtime.volume(id).reset_status({ status: 'error' }))
    expect(await runtime.volume(id).extend({ size: 500 })).toMatchObject({ ok: false, found: 'error' })
  })
})
