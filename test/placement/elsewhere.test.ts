// A create whose driver says `not_here`: it goes on at the next best cluster, three in all, as one operation that is
// never lost, never made twice and never goes where it was already turned away.

import { describe, expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import { DriverError } from '../../runtime/driver.ts'
import type { PlacementOptions } from '../../runtime/index.ts'
import { accepted, ControlledDriver, expectAtRest, type Process, World } from '../kit/rig.ts'

const notHere = (message: string) => new DriverError('not_here', message)

/** Clusters a, b, c, ... of one node each, `a` with most room. */
async function clusters(count: number, placement: PlacementOptions = {}, stubborn = false) {
  const world = new World()
  const names = ['a', 'b', 'c', 'd', 'e'].slice(0, count)
  const drivers = names.map((_, i) => {
    const driver = new ControlledDriver({ stubborn })
    driver.capabilities = async () => ({ total_gib: 100, free_gib: 90 - i * 10 })
    return driver
  })
  const nodes = names.map((cluster, i) => ({ host: `h${i + 1}`, cluster, driver: drivers[i]! }))
  const process = await world.start({ nodes, placement })
  /** The call that some driver has now. */
  const call = async () => {
    await world.until(() => drivers.some(({ open }) => open.length > 0))
    return drivers.flatMap(({ open }) => [...open])[0]!
  }
  const create = async (options = {}) =>
    accepted(await process.runtime.volume.create({ name: 'v', size: 1 }, options))
  return { world, drivers, nodes, process, runtime: process.runtime, call, create }
}

const triedIn = (row: ResourceRow) =>
  (row.operation?.history ?? []).flatMap(({ not_here }) => (not_here === undefined ? [] : [not_here.topic]))

describe('A create that is not at home where it was placed', () => {
  test('is queued at the next best cluster as the same operation, and made there', async () => {
    const { world, drivers, call, create } = await clusters(3)
    const { id, settled } = await create({ request_id: 'r1' })
    ;(await call()).fail(notHere('no such pool'))
    await world.until(() => drivers[1]!.open.length === 1)
    const row = await world.row('volume', id)
    expect(row).toMatchObject({
      status: 'creating',
      cluster: 'b@file',
      worker: 'h2@file',
      attempts: 1,
      operation: {
        name: 'create',
        request_id: 'r1',
        history: [{ worker: 'h1@file' }, { worker: 'h2@file' }],
      },
    })
    expect(row.operation!.history[0]!.not_here).toEqual({ topic: 'a@file', message: 'no such pool' })
    ;(await call()).done({ path: '/b/v' })
    const made = await world.rest('volume', id)
    expectAtRest(made, 'available')
    expect(made).toMatchObject({ cluster: 'b@file', host: 'h2', error: null, data: { path: '/b/v' } })
    expect((await settled()).ok).toBe(true)
    expect(drivers.map(({ calls }) => calls.length)).toEqual([1, 1, 0])
    // One swap: no state in between, and none without a topic to claim it.
    const history = await world.historyOf('volume', id)
    expect(history.map(({ status, worker, incarnation }) => [status, worker, incarnation])).toEqual([
      ['creating', 'a@file', null],
      ['creating', 'h1@file', 1],
      ['creating', 'b@file', null],
      ['creating', 'h2@file', 1],
      ['available', null, null],
    ])
  })

  test('fails with no_cluster after three were tried, with what each of them said', async () => {
    const { world, drivers, call, create } = await clusters(5)
    const { id, settled } = await create()
    for (const pool of ['one', 'two', 'three']) (await call()).fail(notHere(`no pool ${pool}`))
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(row.error).toMatchObject({
      code: 'no_cluster',
      message:
        'no cluster can take it: 3 were tried: a@file: no pool one; b@file: no pool two; c@file: no pool three',
    })
    expect(await settled()).toMatchObject({ ok: false, error: { code: 'no_cluster' } })
    expect(drivers.map(({ calls }) => calls.length)).toEqual([1, 1, 1, 0, 0])
  })

  test('fails with no_cluster where no other is left, and says which filter took each away', async () => {
    const { world, runtime, call, create } = await clusters(3)
    const { id } = await create()
    runtime.node('h2').kill()
    await world.environment.advance(20_000)
    ;(await call()).fail(notHere('no such pool'))
    await world.until(async () => triedIn(await world.row('volume', id)).length === 1)
    ;(await call()).fail(notHere('not here either'))
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(row.error?.message).toBe(
      'no cluster can take it: a@file: not_here: no such pool; b@file: availability: no node of it is up; c@file: not_here: not here either',
    )
  })

  test('is asked for room again, as of then', async () => {
    const { world, drivers, call, create, runtime } = await clusters(3)
    const { id } = await create()
    await call()
    // Meanwhile others fill the second best.
    const others = await Promise.all(
      Array.from({ length: 8 }, () => runtime.volume.create({ name: 'w', size: 10 }, { cluster: 'b@file' })),
    )
    for (const other of others) accepted(other)
    drivers[0]!.open[0]!.fail(notHere('no such pool'))
    await world.until(async () => triedIn(await world.row('volume', id)).length === 1)
    expect((await world.row('volume', id)).cluster).toBe('c@file')
  })

  test('keeps its room at the new place from the swap on, and none at the old one once it has reported', async () => {
    const { world, call, create, runtime } = await clusters(2)
    const pending = async () => (await runtime.clusters()).map(({ pending_gib }) => pending_gib)
    const { id } = await create()
    await call()
    expect(await pending()).toEqual([1, 0])
    ;(await call()).fail(notHere('no such pool'))
    await world.until(async () => triedIn(await world.row('volume', id)).length === 1)
    expect((await pending())[1]).toBe(1)
    await world.environment.advance(10_000)
    expect(await pending()).toEqual([0, 1])
  })

  test('stays where its caller sent it: there the code is told as it is', async () => {
    const { world, drivers, call, create } = await clusters(3)
    const { id } = await create({ cluster: 'a@file' })
    ;(await call()).fail(notHere('no such pool'))
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(row).toMatchObject({ cluster: 'a@file', error: { code: 'not_here', message: 'no such pool' } })
    expect(drivers.map(({ calls }) => calls.length)).toEqual([1, 0, 0])
  })

  test('stays with its parent: a snapshot is not taken elsewhere', async () => {
    const { world, call, create, runtime } = await clusters(2)
    const { id } = await create()
    ;(await call()).done()
    await world.rest('volume', id)
    const taken = accepted(await runtime.snapshot.create({ name: 's', volume_id: id }))
    ;(await call()).fail(notHere('no such pool'))
    expect(await world.rest('snapshot', taken.id)).toMatchObject({
      status: 'error',
      cluster: 'a@file',
      error: { code: 'not_here' },
    })
  })

  test('does not go on where it was cancelled meanwhile', async () => {
    const { world, drivers, call, create, runtime } = await clusters(2, {}, true)
    const { id } = await create()
    const claimed = await call()
    // Its driver does not hear of the abort, and answers as if nothing had been asked.
    accepted(await runtime.volume(id).cancel())
    claimed.fail(notHere('no such pool'))
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(row).toMatchObject({ cluster: 'a@file', error: { code: 'cancelled' } })
    expect(drivers[1]!.calls.length).toBe(0)
  })

  test('is cancelled in the queue of the new place as one that nobody has touched', async () => {
    const { world, drivers, call, create, runtime } = await clusters(2)
    const { id } = await create()
    await call()
    // Where it goes next, nothing can be claimed just now.
    runtime.node('h2').drain()
    ;(await call()).fail(notHere('no such pool'))
    await world.until(async () => triedIn(await world.row('volume', id)).length === 1)
    expect(await world.row('volume', id)).toMatchObject({ worker: 'b@file', incarnation: null, attempts: 0 })
    accepted(await runtime.volume(id).cancel())
    expect(await world.row('volume', id)).toMatchObject({ status: 'gone', error: { code: 'cancelled' } })
    expect(drivers[1]!.calls.length).toBe(0)
  })

  test('counts its attempts anew at each place, and remembers where it was turned away through a crash', async () => {
    const { world, drivers, nodes, process, call, create } = await clusters(3)
    const { id } = await create()
    ;(await call()).fail(notHere('no such pool'))
    await world.until(() => drivers[1]!.open.length === 1)
    await process.crash()
    const again: Process = await world.start({ nodes })
    // The policy of the table for a create: its failed status; nothing goes back to where it was turned away.
    const row = await world.rest('volume', id)
    expect(row).toMatchObject({ status: 'error', cluster: 'b@file' })
    expect(drivers[0]!.callsOn(id).length).toBe(1)
    await again.stop()
  })

  test('is refused to a node that was declared down meanwhile: the cleaner has the last word', async () => {
    const { world, drivers, call, create } = await clusters(2)
    const { id } = await create()
    const claimed = await call()
    const service = await world.service('h1')
    await world.put({ ...service, state: 'down' })
    claimed.fail(notHere('no such pool'))
    await world.environment.settle()
    expect(triedIn(await world.row('volume', id))).toEqual([])
    const row = await world.rest('volume', id)
    expect(row).toMatchObject({ status: 'error', cluster: 'a@file', error: { code: 'interrupted' } })
    expect(drivers[1]!.calls.length).toBe(0)
  })

  test('ends as failed, and its node goes on, where a filter of the user is at fault by then', async () => {
    const fault = { on: false }
    const { world, runtime, call, create } = await clusters(2, {
      filters: [
        function moody() {
          if (fault.on) throw new Error('no such rack')
          return true
        },
      ],
    })
    const { id } = await create()
    await call()
    fault.on = true
    ;(await call()).fail(notHere('no such pool'))
    const row = await world.rest('volume', id)
    expect(row).toMatchObject({ status: 'error', error: { code: 'no_cluster' } })
    expect(row.error?.message).toContain('moody threw for b@file: Error: no such rack')
    fault.on = false
    expect(runtime.nodes().map(({ state }) => state)).toEqual(['up', 'up'])
  })
})

describe('Another process', () => {
  test('takes up what was turned away in this one', async () => {
    const world = new World({ exclusive: false })
    const [here, there] = [new ControlledDriver(), new ControlledDriver({ auto: true })]
    here.capabilities = async () => ({ total_gib: 100, free_gib: 90 })
    there.capabilities = async () => ({ total_gib: 100, free_gib: 50 })
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster: 'a', driver: here })
    await world.start({ nodes: [{ host: 'h2' }], cluster: 'b', driver: there })
    await world.environment.advance(3_000)
    const { id } = accepted(await one.runtime.volume.create({ name: 'v', size: 1 }))
    await world.until(() => here.open.length === 1)
    here.open[0]!.fail(notHere('no such pool'))
    const row = await world.rest('volume', id)
    expectAtRest(row, 'available')
    expect(row).toMatchObject({ cluster: 'b@file', host: 'h2' })
  })
})
