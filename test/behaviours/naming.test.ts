// Hosts that join a standalone one, and names that are given later: behaviours 5-7 of reference/cinder.md.

import { expect, test } from 'vitest'
import { accepted, ControlledDriver, expectAtRest, World } from '../kit/rig.ts'

test('5, 6: h2 joins h1 and takes its share while h1 goes on; then all restart under a proper name, and nothing is lost', async () => {
  const world = new World()
  const driver = new ControlledDriver()
  const settings = { concurrency: 1 }
  // Standalone, with a volume at rest and work running.
  const nodes = [{ host: 'h1' }, { host: 'h2', cluster: 'h1' }]
  const one = await world.start({ nodes: nodes.slice(0, 1), cluster: null, driver, settings })
  const resting = accepted(await one.runtime.volume.create({ name: 'resting', size: 1 })).id
  await world.until(() => driver.open.length === 1)
  driver.open[0]!.done()
  await world.rest('volume', resting)
  await one.stop()
  const both = await world.start({ nodes, cluster: null, driver, settings })
  const ids: string[] = []
  for (const name of ['a', 'b', 'c'])
    ids.push(accepted(await both.runtime.volume.create({ name, size: 1 }, { cluster: 'h1@file' })).id)
  await world.until(() => driver.open.length === 2)
  expect(new Set(driver.open.map(({ worker }) => worker))).toEqual(new Set(['h1@file', 'h2@file']))
  await both.crash()

  driver.auto = true
  const named = await world.start({
    nodes: [{ host: 'h1' }, { host: 'h2' }],
    cluster: 'ssd',
    driver,
    settings,
  })
  await world.until(async () => (await named.runtime.count('volume', { cluster: 'ssd@file' })) === 4)
  expect((await named.runtime.clusters()).map((view) => [view.topic, view.nodes])).toEqual([
    ['ssd@file', ['h1', 'h2']],
  ])
  // What ran when all went down ends by its policy; what waited is done.
  const ends = await Promise.all(ids.map((id) => world.rest('volume', id)))
  expect(ends.map(({ status }) => status).sort()).toEqual(['available', 'error', 'error'])
  expectAtRest(await world.row('volume', resting), 'available')
  accepted(await named.runtime.volume(resting).extend({ size: 2 }))
  expectAtRest(await world.rest('volume', resting), 'available')
})

test('6: while hosts that joined it are up under its name, a host that gets a proper name takes nothing away from them', async () => {
  const world = new World({ exclusive: false })
  const driver = new ControlledDriver({ auto: true })
  const h1 = await world.start({ nodes: [{ host: 'h1' }], cluster: null, driver })
  const h2 = await world.start({ nodes: [{ host: 'h2' }], cluster: 'h1', driver })
  const { id } = accepted(await h1.runtime.volume.create({ name: 'a', size: 1 }))
  await world.rest('volume', id)
  await h1.stop()
  await world.start({ nodes: [{ host: 'h1' }], cluster: 'ssd', driver })
  await world.environment.advance(10_000)
  expect((await world.row('volume', id)).cluster).toBe('h1@file')
  expect(world.logs.some((line) => line.includes('h1@file is not renamed to ssd@file: h2 is up'))).toBe(true)
  await h2.stop()
  // The last one of the old name starts with the new one: now an administrator moves the rest.
  const last = await world.start({ nodes: [{ host: 'h2' }], cluster: 'ssd', driver })
  const answer = last.runtime.admin.renameCluster('h1@file', 'ssd@file')
  expect(await world.environment.until(answer)).toMatchObject({ ok: true, renaming: { done: true } })
  expect((await world.row('volume', id)).cluster).toBe('ssd@file')
})

test('7: a node of cluster A that is configured for B starts, moves nothing, and says what would', async () => {
  const world = new World()
  const driver = new ControlledDriver({ auto: true })
  const a = await world.start({ nodes: [{ host: 'h1' }], cluster: 'a', driver })
  const { id } = accepted(await a.runtime.volume.create({ name: 'a', size: 1 }))
  const before = await world.rest('volume', id)
  await a.stop()
  const b = await world.start({ nodes: [{ host: 'h1' }], cluster: 'b', driver })
  await world.environment.advance(10_000)
  expect(await world.row('volume', id)).toEqual(before)
  expect(world.logs.find((line) => line.includes('was in a@file@h1'))).toContain(
    'resources of a@file are not moved to b@file: rekindle cluster rename a@file b@file moves them',
  )
  expect(b.runtime.nodes().filter(({ state }) => state === 'up')).toMatchObject([
    { cluster: 'b', incarnation: 2 },
  ])
})
