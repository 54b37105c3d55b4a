// A frozen cluster: what its tables forbid in a freeze is refused, what runs goes on, nothing new is placed
// there; and no race lets a delete through once the freeze was answered.

import { expect, test } from 'vitest'
import { accepted, ControlledDriver, expectAtRest, World } from '../kit/rig.ts'

async function begin() {
  const world = new World()
  const driver = new ControlledDriver({ auto: true })
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
  const made = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
  await world.rest('volume', made.id)
  return { world, driver, runtime, id: made.id }
}

test('56: deletes of a frozen cluster are refused and say so; all else goes on, and nothing is placed there', async () => {
  const { world, driver, runtime, id } = await begin()
  const snapshot = accepted(await runtime.snapshot.create({ name: 's', volume_id: id })).id
  await world.rest('snapshot', snapshot)
  const backup = accepted(await runtime.backup.create({ name: 'b', volume_id: id })).id
  await world.rest('backup', backup)
  driver.auto = false
  accepted(await runtime.volume(id).extend({ size: 2 }))
  await world.until(() => driver.open.length === 1)
  expect(await runtime.admin.freezeCluster('ssd@file', 'an audit')).toMatchObject({
    ok: true,
    cluster: { frozen: true, frozen_reason: 'an audit' },
  })
  driver.open[0]!.done({ size: 2 })
  driver.auto = true
  expectAtRest(await world.rest('volume', id), 'available')
  const rows = async () => [
    await world.row('volume', id),
    await world.row('snapshot', snapshot),
    await world.row('backup', backup),
  ]
  const before = await rows()
  for (const answer of [
    await runtime.volume(id).delete({ cascade: true }),
    await runtime.volume(id).force_delete({ cascade: true }),
    await runtime.snapshot(snapshot).delete(),
    await runtime.snapshot(snapshot).force_delete(),
    await runtime.backup(backup).delete(),
    await runtime.backup(backup).force_delete(),
  ])
    expect(answer).toMatchObject({
      ok: false,
      found: 'frozen',
      guard: 'isThawed',
      message: expect.stringContaining('its cluster ssd@file is frozen (an audit)'),
    })
  expect(await rows()).toEqual(before)
  accepted(await runtime.volume(id).attach({ host: 'c1', device: '/dev/vdb' }))
  accepted(await runtime.volume(id).detach({}))
  await expect(runtime.volume.create({ name: 'b', size: 1 })).rejects.toMatchObject({
    issues: [{ path: 'ssd@file', message: 'availability: it is frozen (an audit)' }],
  })
  expect((await runtime.admin.thawCluster('ssd@file')).ok).toBe(true)
  accepted(await runtime.snapshot(snapshot).delete())
  expectAtRest(await world.rest('snapshot', snapshot), 'gone')
})

test('a delete that raced the freeze is refused once the freeze was answered', async () => {
  const { world, runtime, id } = await begin()
  let raced = 0
  // The delete has read the cluster as thawed and decided; the freeze is answered before its swap.
  world.fault = ({ actor, method, changes }) => {
    const isDelete = changes.some((change) => 'put' in change && change.put.status === 'deleting')
    if (actor !== 'api' || method !== 'transact' || !isDelete || raced++ > 0) return undefined
    return runtime.admin.freezeCluster('ssd@file').then(() => {})
  }
  const answer = await world.environment.until(runtime.volume(id).delete({}))
  expect(raced).toBe(1)
  expect(answer).toMatchObject({ ok: false, guard: 'isThawed' })
  expectAtRest(await world.row('volume', id), 'available')
})

test('a freeze that comes after an accept leaves it: what runs goes on', async () => {
  const { world, driver, runtime, id } = await begin()
  driver.auto = false
  accepted(await runtime.volume(id).delete({}))
  await runtime.admin.freezeCluster('ssd@file')
  await world.until(() => driver.open.length === 1)
  driver.open[0]!.done()
  expectAtRest(await world.rest('volume', id), 'gone')
})

test('only operations that a freeze forbids read the row of the cluster', async () => {
  const { world, runtime, id } = await begin()
  // Absent, it forbids nothing; swapped by whoever makes it first, the delete is decided again.
  await world.remove('cluster', 'ssd@file')
  const commits: string[][] = []
  runtime.watch((event) => {
    if (event.type === 'change') commits.push([event.key])
  })
  accepted(await runtime.volume(id).extend({ size: 2 }))
  expectAtRest(await world.rest('volume', id), 'available')
  accepted(await runtime.volume(id).delete({}))
  expectAtRest(await world.rest('volume', id), 'gone')
  expect(commits.flat().filter((key) => key.startsWith('cluster/'))).toEqual([])
})
