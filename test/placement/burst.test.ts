// What is accepted between two reports: every call counts on the room that the others have left, whatever of them
// runs, has ended, was refused or was cut off.

import { describe, expect, test } from 'vitest'
import type { Capabilities } from '../../machines/row.ts'
import { RekindleError } from '../../runtime/error.ts'
import { accepted, ControlledDriver, storeOf, World } from '../kit/rig.ts'

/** Drivers over one imagined pool each: what is made there takes its space when the driver is done. */
async function pools(sizes: Readonly<Record<string, number>>, auto = true, world = new World()) {
  const drivers = new Map<string, ControlledDriver>()
  const used = new Map<string, number>()
  const nodes = Object.entries(sizes).map(([cluster, total_gib]) => {
    const driver = new ControlledDriver({ auto })
    driver.capabilities = async (): Promise<Capabilities> => ({
      total_gib,
      free_gib: total_gib - (used.get(cluster) ?? 0),
    })
    drivers.set(cluster, driver)
    return { host: `of-${cluster}`, cluster, driver }
  })
  const { runtime } = await world.start({ nodes })
  const pendingOf = async (cluster: string) =>
    (await runtime.clusters()).find(({ topic }) => topic === `${cluster}@file`)!.pending_gib
  return { world, runtime, drivers, used, pendingOf }
}

type Pools = Awaited<ReturnType<typeof pools>>

/** So many creates at once; how many each cluster took, and how many were refused. */
async function burst({ runtime }: Pools, count: number, size: number) {
  const answers = await Promise.all(
    Array.from({ length: count }, (_, i) =>
      runtime.volume.create({ name: `v${i}`, size }).catch((error: unknown) => error as RekindleError),
    ),
  )
  const taken: Record<string, number> = {}
  let refused = 0
  for (const answer of answers)
    if (answer instanceof RekindleError) {
      expect(answer.code).toBe('no_cluster')
      refused++
    } else {
      const { cluster } = accepted(answer).row
      taken[cluster] = (taken[cluster] ?? 0) + 1
    }
  return { taken, refused }
}

describe('A burst of creates', () => {
  test('at one moment fills the clusters to the last GiB and not above, the rest is refused', async () => {
    const all = await pools({ a: 10, b: 6 })
    expect(await burst(all, 100, 1)).toEqual({ taken: { 'a@file': 10, 'b@file': 6 }, refused: 84 })
  })

  test('is spread as it would be one after the other', async () => {
    const all = await pools({ a: 30, b: 30, c: 30 })
    expect((await burst(all, 30, 1)).taken).toEqual({ 'a@file': 10, 'b@file': 10, 'c@file': 10 })
  })

  test('that has ended is still counted until a report comes that can know of it', async () => {
    const all = await pools({ a: 10 })
    const { world, runtime, used, pendingOf } = all
    expect((await burst(all, 6, 1)).refused).toBe(0)
    await world.until(async () => (await runtime.count('volume', { status: 'available' })) === 6)
    expect(await pendingOf('a')).toBe(6)
    expect(await burst(all, 6, 1)).toEqual({ taken: { 'a@file': 4 }, refused: 2 })
    used.set('a', 10)
    await world.environment.advance(10_000)
    // Now the report knows of all of them, and none is counted twice.
    expect(await pendingOf('a')).toBe(0)
    expect((await burst(all, 1, 1)).refused).toBe(1)
    used.set('a', 7)
    await world.environment.advance(10_000)
    expect(await burst(all, 6, 1)).toEqual({ taken: { 'a@file': 3 }, refused: 3 })
  })

  test('that still runs is counted however many reports come meanwhile', async () => {
    const all = await pools({ a: 10 }, false)
    const { world, drivers, used, pendingOf } = all
    await burst(all, 8, 1)
    await world.environment.advance(30_000)
    expect(await pendingOf('a')).toBe(8)
    expect(await burst(all, 5, 1)).toEqual({ taken: { 'a@file': 2 }, refused: 3 })
    await world.until(() => drivers.get('a')!.open.length === 10)
    for (const call of drivers.get('a')!.open) call.done()
    used.set('a', 10)
    await world.environment.advance(10_000)
    expect(await pendingOf('a')).toBe(0)
  })

  test('that was refused by the store gives its room back', async () => {
    const all = await pools({ a: 10 })
    const { world, runtime, pendingOf } = all
    world.fault = storeOf('api', 'refuses')
    await expect(runtime.volume.create({ name: 'a', size: 9 })).rejects.toMatchObject({
      code: 'store_refused',
    })
    world.fault = () => undefined
    expect(await pendingOf('a')).toBe(0)
    accepted(await runtime.volume.create({ name: 'a', size: 9 }))
  })

  test('that was cut off by a crash is counted again by the next life of the process', async () => {
    const world = new World()
    const driver = new ControlledDriver()
    driver.capabilities = async () => ({ total_gib: 10, free_gib: 10 })
    const options = { nodes: [{ host: 'h1' }], driver, settings: { concurrency: 1 } }
    const one = await world.start(options)
    for (const name of ['a', 'b', 'c']) accepted(await one.runtime.volume.create({ name, size: 3 }))
    await one.crash()
    const two = await world.start(options)
    // One was claimed, so it may have left something until a report says that it has not; two wait in the queue.
    expect((await two.runtime.clusters())[0]!.pending_gib).toBe(9)
    await world.environment.advance(10_000)
    expect((await two.runtime.clusters())[0]!.pending_gib).toBe(6)
    await expect(two.runtime.volume.create({ name: 'd', size: 5 })).rejects.toMatchObject({
      code: 'no_cluster',
    })
    accepted(await two.runtime.volume.create({ name: 'd', size: 4 }))
  })

  test('that one process accepts is counted by another one as soon as it is told of it', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    driver.capabilities = async () => ({ total_gib: 10, free_gib: 10 })
    const one = await world.start({ nodes: [{ host: 'h1' }], driver })
    const two = await world.start({ nodes: [{ host: 'h2' }], driver })
    accepted(await one.runtime.volume.create({ name: 'a', size: 7 }))
    await world.environment.settle()
    await expect(two.runtime.volume.create({ name: 'b', size: 4 })).rejects.toMatchObject({
      code: 'no_cluster',
    })
    accepted(await two.runtime.volume.create({ name: 'b', size: 3 }))
  })
})

describe('Between two reports', () => {
  test('what was cancelled while it was queued takes nothing', async () => {
    const world = new World()
    const driver = new ControlledDriver()
    driver.capabilities = async () => ({ total_gib: 10, free_gib: 10 })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver, settings: { concurrency: 1 } })
    accepted(await runtime.volume.create({ name: 'a', size: 5 }))
    const { id } = accepted(await runtime.volume.create({ name: 'b', size: 5 }))
    expect((await runtime.clusters())[0]!.pending_gib).toBe(10)
    accepted(await runtime.volume(id).cancel())
    expect((await runtime.clusters())[0]!.pending_gib).toBe(5)
    accepted(await runtime.volume.create({ name: 'c', size: 5 }))
  })

  test('extends at once count on what the others have left, and only the difference', async () => {
    const all = await pools({ a: 20 })
    const { world, runtime, used } = all
    const ids: string[] = []
    for (const name of ['a', 'b', 'c']) ids.push(accepted(await runtime.volume.create({ name, size: 4 })).id)
    for (const id of ids) await world.rest('volume', id)
    used.set('a', 12)
    await world.environment.advance(10_000)
    const answers = await Promise.allSettled(ids.map((id) => runtime.volume(id).extend({ size: 8 })))
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected'])
  })

  test('an extend that is refused gives its room back', async () => {
    const all = await pools({ a: 20 }, false)
    const { world, runtime, drivers, pendingOf } = all
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 4 }))
    await world.until(() => drivers.get('a')!.open.length === 1)
    drivers.get('a')!.open[0]!.done()
    await world.rest('volume', id)
    await world.environment.advance(10_000)
    // While something is made from it, nothing else begins there.
    accepted(await runtime.volume.create({ name: 'b', size: 5, source_volume_id: id }))
    expect(await runtime.volume(id).extend({ size: 8 })).toMatchObject({ ok: false, guard: 'isUnused' })
    expect(await pendingOf('a')).toBe(5)
    // What is made from it goes where it is, if there is room.
    await expect(runtime.volume.create({ name: 'c', size: 16, source_volume_id: id })).rejects.toMatchObject({
      code: 'no_cluster',
      message: expect.stringContaining('there is no room where it is'),
    })
  })

  test('no rounding stays when all has ended', async () => {
    const all = await pools({ a: 100 }, false)
    const { world, runtime, drivers, pendingOf } = all
    for (const size of [0.1, 0.2, 0.3]) accepted(await runtime.volume.create({ name: 'x', size }))
    await world.until(() => drivers.get('a')!.open.length === 3)
    for (const call of [...drivers.get('a')!.open]) {
      call.done()
      await world.environment.settle()
    }
    await world.environment.advance(10_000)
    expect(await pendingOf('a')).toBe(0)
  })
})
