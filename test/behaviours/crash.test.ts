// What a crash leaves and who puts it right: behaviours 16-20, 23, 27-30, 34-39 and 60 of
// reference/cinder.md.

import { describe, expect, test } from 'vitest'
import { Mailbox } from '../../runtime/mailbox.ts'
import { accepted, ControlledDriver, clusterings, expectAtRest, type StoreCall, World } from '../kit/rig.ts'

const putsOf = ({ changes }: StoreCall, kind: string) =>
  changes.some((change) => 'put' in change && change.put.kind === kind)

/** A promise that the test resolves. */
function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

describe.each(clusterings)('After a crash, $clustering', ({ cluster }) => {
  const topic = `${cluster}@file`

  /** A process with h1 alone that works on as many volumes as asked for, and its driver. */
  async function working(volumes: number, options: { fences?: boolean } = {}) {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver(options)
    const settings = { concurrency: 2_000, mailbox: 10_000 }
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver, settings })
    const ids: string[] = []
    for (let i = 0; i < volumes; i++)
      ids.push(accepted(await one.runtime.volume.create({ name: `v${i}`, size: 1 })).id)
    await world.until(() => driver.open.length === volumes)
    return { world, driver, one, ids }
  }

  /** The same, in the middle of deleting them. */
  async function deleting(volumes: number) {
    const { world, driver, one, ids } = await working(volumes)
    for (const call of driver.open) call.done()
    await world.until(
      async () => (await one.runtime.volume.list({ status: 'available' })).rows.length === volumes,
    )
    for (const id of ids) accepted(await one.runtime.volume(id).delete())
    await world.until(() => driver.open.length === volumes)
    return { world, driver, one, ids }
  }

  test('16: a restarted node finds exactly its own rows and leaves those of others alone', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const two = await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    const other = await world.start({ nodes: [{ host: 'h1' }], cluster, backend: 'tape', driver })
    const make = async (by: typeof one, name: string, at: string) =>
      accepted(await by.runtime.volume.create({ name, size: 1 }, { cluster: at })).id
    const a = await make(one, 'a', topic)
    const b = await make(two, 'b', topic)
    const c = await make(other, 'c', `${cluster}@tape`)
    await world.until(() => driver.open.length === 3)
    const before = [await world.row('volume', b), await world.row('volume', c)]
    expect(before.map((row) => row.worker)).toEqual(['h2@file', 'h1@tape'])

    await one.crash()
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    expectAtRest(await world.row('volume', a), 'error')
    expect([await world.row('volume', b), await world.row('volume', c)]).toEqual(before)
    expect(await world.service('h1')).toMatchObject({ incarnation: 2, state: 'up' })
    expect(await world.service('h1', 'tape')).toMatchObject({ incarnation: 1, state: 'up' })
  })

  test('17: a cleaner that loses the swap to another one skips the row and says nothing', async () => {
    const { world, driver, one, ids } = await working(2)
    const [lost, own] = ids as [string, string]
    await one.crash()
    const held = gate()
    world.fault = (call) => (call.actor === 'h1@file' && putsOf(call, 'volume') ? held.opened : undefined)
    const starting = world.begin({ nodes: [{ host: 'h1' }], cluster, driver, settings: { schedulers: 1 } })
    // Between this cleaner's look and its swap, somebody else puts one row right.
    await world.until(async () => (await world.service('h1')).state === 'starting')
    await world.environment.settle()
    const right = { operation: null, worker: null, incarnation: null, attempts: 0, status: 'available' }
    await world.put({ ...(await world.row('volume', lost)), ...right })
    const expected = await world.row('volume', lost)
    held.open()
    await world.environment.until(starting)
    expect(await world.row('volume', lost)).toEqual(expected)
    expectAtRest(await world.row('volume', own), 'error')
    expect(world.logs.filter((line) => line.includes('could not'))).toEqual([])
  })

  test('17: a row is put right in one swap: no state in between is ever durable', async () => {
    const { world, driver, one, ids } = await working(1)
    await one.crash()
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const history = await world.historyOf('volume', ids[0]!)
    expect(history.map(({ status, worker, incarnation }) => [status, worker, incarnation])).toEqual([
      ['creating', topic, null],
      ['creating', 'h1@file', 1],
      ['error', null, null],
    ])
  })

  test('18: a delete of a crashed node is queued for its cluster again and finished by another node', async () => {
    const { world, driver, one, ids } = await deleting(1)
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    await one.crash()
    await world.until(() => driver.open.some(({ worker }) => worker === 'h2@file'))
    const requeued = (await world.historyOf('volume', ids[0]!)).slice(-2)
    expect(requeued[0]).toMatchObject({ status: 'deleting', worker: topic, incarnation: null, attempts: 1 })
    expect(requeued[1]).toMatchObject({ status: 'deleting', worker: 'h2@file', attempts: 2 })
    driver.open.find(({ worker }) => worker === 'h2@file')!.done()
    expectAtRest(await world.rest('volume', ids[0]!), 'gone')
  })

  test('19: 100 deletes of a crashed node are shared by three, and its start does not wait for them', async () => {
    const { world, driver, one, ids } = await deleting(100)
    const settings = { concurrency: 40 }
    await world.startAll(...['h2', 'h3'].map((host) => ({ nodes: [{ host }], cluster, driver, settings })))
    await one.crash()
    const before = driver.calls.length
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver, settings })
    // Up, though not one of them is done.
    expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 2 })
    await world.until(() => driver.calls.length === before + 100)
    const again = driver.calls.slice(before)
    const shares = new Map<string, number>()
    for (const { worker } of again) shares.set(worker, (shares.get(worker) ?? 0) + 1)
    expect([...shares.keys()].sort()).toEqual(['h1@file', 'h2@file', 'h3@file'])
    expect(new Set(again.map(({ key }) => key)).size).toBe(100)
    for (const call of again) call.done()
    for (const id of ids) expectAtRest(await world.rest('volume', id), 'gone')
  })

  test('20: a volume that was being made ends in error, with the reason', async () => {
    const { world, driver, one, ids } = await working(1)
    await one.crash()
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const row = await world.row('volume', ids[0]!)
    expectAtRest(row, 'error')
    expect(row.error).toMatchObject({
      code: 'interrupted',
      message: expect.stringContaining('h1@file was restarted'),
    })
  })

  test('23: a snapshot that was being made ends in error, and its volume is as it was', async () => {
    const { world, driver, one, ids } = await working(1)
    driver.open[0]!.done()
    await world.rest('volume', ids[0]!)
    const taking = accepted(await one.runtime.snapshot.create({ name: 's', volume_id: ids[0]! }))
    await world.until(() => driver.open.length === 1)
    await one.crash()
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    expectAtRest(await world.row('snapshot', taking.id), 'error')
    expectAtRest(await world.row('volume', ids[0]!), 'available')
    expect((await world.row('volume', ids[0]!)).children).toEqual({ snapshot: 1 })
  })

  test('27: a cleanup that fails leaves its row claimable, the others are cleaned, and it is tried again later', async () => {
    const { world, driver, one, ids } = await working(3, { fences: true })
    const [bad, ...good] = ids as [string, ...string[]]
    driver.faultOfMark = (key) => (key === `volume/${bad}` ? new Error('the backend says no') : undefined)
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    await one.crash()
    for (const id of good) expectAtRest(await world.rest('volume', id), 'error')
    await world.until(async () => (await world.row('volume', bad)).operation?.cleanup?.failures === 2)
    const failing = await world.row('volume', bad)
    expect(failing).toMatchObject({ status: 'creating', worker: topic, incarnation: null })
    expect(failing.operation!.cleanup!.reason).toContain('the backend says no')
    driver.faultOfMark = () => undefined
    const row = await world.rest('volume', bad)
    expectAtRest(row, 'error')
    expect(row.error).toMatchObject({ code: 'interrupted' })
    // The mark went up before the row was let go (rule R8).
    expect(driver.marks.filter(([key]) => key === `volume/${bad}`).at(-1)).toEqual([
      `volume/${bad}`,
      row.fence,
    ])
  })

  test('27: a cleanup that never works ends in the failed status, and its resource can be deleted', async () => {
    const { world, driver, one, ids } = await working(1, { fences: true })
    driver.faultOfMark = () => new Error('the backend says no')
    const two = await world.start({ nodes: [{ host: 'h2' }], cluster, driver, settings: { cleanups: 3 } })
    await one.crash()
    const row = await world.rest('volume', ids[0]!)
    expectAtRest(row, 'error')
    expect(row.error).toMatchObject({
      code: 'cleanup_failed',
      message: expect.stringContaining('the backend says no'),
    })
    expect((await two.runtime.volume(ids[0]!).delete()).ok).toBe(true)
  })

  test('28: a status forced since the crash is left alone', async () => {
    const { world, driver, one, ids } = await working(1)
    const api = await world.start({ nodes: [] })
    await one.crash()
    accepted(await api.runtime.volume(ids[0]!).reset_status({ status: 'available' }))
    const forced = await world.row('volume', ids[0]!)
    expectAtRest(forced, 'available')
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    await world.environment.advance(20_000)
    expect(await world.row('volume', ids[0]!)).toEqual(forced)
  })

  test('29: a resource that vanished is no error, and the cleanup of the others is done', async () => {
    const { world, driver, one, ids } = await working(2)
    const [vanished, own] = ids as [string, string]
    await one.crash()
    const held = gate()
    let looked = false
    world.fault = (call) => {
      if (call.actor !== 'h1@file') return undefined
      if (call.filter.taken) looked = true
      return looked && call.method === 'get' ? held.opened : undefined
    }
    const starting = world.begin({ nodes: [{ host: 'h1' }], cluster, driver, settings: { schedulers: 1 } })
    await world.until(() => looked)
    await world.remove('volume', vanished)
    held.open()
    await world.environment.until(starting)
    expect(await world.row('volume', vanished)).toBeUndefined()
    expectAtRest(await world.row('volume', own), 'error')
    expect(world.logs.filter((line) => line.includes('could not be put right'))).toEqual([])
  })

  test('30: a node that starts is no longer cleanup_done', async () => {
    const { world, driver, one } = await working(1)
    const api = await world.start({ nodes: [] })
    await one.crash()
    const view = () => api.runtime.nodes()[0]!
    await world.until(() => view().cleanup_done)
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    expect(view()).toMatchObject({ state: 'up', incarnation: 2, cleanup_done: false })
  })

  test('34: a node that is down for too long is cleaned by a scheduler, and is cleanup_done after that', async () => {
    const { world, one, ids } = await working(3)
    const api = await world.start({ nodes: [], settings: { schedulers: 1 } })
    await one.crash()
    await world.environment.advance(7_000)
    expect(await world.service('h1')).toMatchObject({ state: 'up', cleaned_incarnation: 0 })
    expect((await world.row('volume', ids[0]!)).worker).toBe('h1@file')
    // Held back at the second row: one row is not enough to be done.
    const held = gate()
    world.fault = (call) =>
      putsOf(call, 'volume') && call.changes.some((c) => 'put' in c && c.put.id === ids[1])
        ? held.opened
        : undefined
    await world.until(async () => (await world.row('volume', ids[2]!)).operation === null)
    expect(await world.service('h1')).toMatchObject({ state: 'down', cleaned_incarnation: 0 })
    held.open()
    await world.until(() => api.runtime.nodes()[0]!.cleanup_done)
    for (const id of ids) expectAtRest(await world.row('volume', id), 'error')
  })

  test('35: a node that is cleanup_done is not looked at again', async () => {
    const { world, one } = await working(1)
    const api = await world.start({ nodes: [] })
    await one.crash()
    await world.until(() => api.runtime.nodes()[0]!.cleanup_done)
    const looks: string[] = []
    world.fault = ({ filter }) => {
      if (filter.worker === 'h1@file' && filter.taken === true) looks.push(filter.worker)
      return undefined
    }
    await world.environment.advance(20_000)
    expect(looks).toEqual([])
  })

  test('36: a node that returned and went down again is cleaned again', async () => {
    const { world, driver, one, ids } = await working(1)
    const api = await world.start({ nodes: [] })
    await one.crash()
    await world.until(() => api.runtime.nodes()[0]!.cleanup_done)
    const again = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const second = accepted(await again.runtime.volume.create({ name: 'again', size: 1 })).id
    await world.until(async () => (await world.row('volume', second)).incarnation === 2)
    await again.crash()
    expectAtRest(await world.rest('volume', second), 'error')
    expectAtRest(await world.row('volume', ids[0]!), 'error')
    await world.until(() => api.runtime.nodes()[0]!.cleanup_done)
    expect(await world.service('h1')).toMatchObject({ incarnation: 2, cleaned_incarnation: 2, state: 'down' })
  })

  // 1,000 rows in the one clustering, fewer in the other.
  test('37: two schedulers and the returning node clean the same rows at once: each once, losers silent', async () => {
    const { world, driver, one, ids } = await working(cluster === 'ssd' ? 1_000 : 300)
    await one.crash()
    const cleaners = new Set<string>()
    world.fault = (call) => {
      if (putsOf(call, 'volume')) cleaners.add(call.actor)
      return undefined
    }
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver, settings: { schedulers: 2 } })
    // They begin together: each has its look at the rows before anyone may swap.
    const held = gate()
    let looking = 0
    world.fault = (call) => {
      if (putsOf(call, 'volume')) {
        cleaners.add(call.actor)
        return held.opened
      }
      if (call.filter.worker === 'h1@file' && call.filter.taken) looking++
      return undefined
    }
    const starting = world.begin({ nodes: [{ host: 'h1' }], cluster, driver, settings: { schedulers: 1 } })
    await world.until(() => cleaners.size >= 3)
    expect(looking).toBeGreaterThanOrEqual(3)
    held.open()
    await world.environment.until(starting)
    for (const id of ids) {
      const row = await world.row('volume', id)
      expectAtRest(row, 'error')
      // Accept, claim, cleanup: one version and, after the claim, one fence each.
      expect([row.version, row.fence]).toEqual([3, 2])
    }
    expect([...cleaners].sort()).toEqual(expect.arrayContaining(['h1@file', 'scheduler 1', 'scheduler 2']))
    expect(world.logs.filter((line) => /could not|fail/.test(line))).toEqual([])
  })

  test('38: with no node up, status cleanups are done and what was requeued waits for the first node', async () => {
    const { world, driver, one, ids } = await deleting(1)
    const made = accepted(await one.runtime.volume.create({ name: 'b', size: 1 })).id
    await world.until(async () => (await world.row('volume', made)).incarnation === 1)
    const api = await world.start({ nodes: [] })
    await one.crash()
    expectAtRest(await world.rest('volume', made), 'error')
    await world.until(() => api.runtime.nodes()[0]!.cleanup_done)
    await world.environment.advance(60_000)
    expect(await world.row('volume', ids[0]!)).toMatchObject({
      status: 'deleting',
      worker: topic,
      incarnation: null,
    })
    expect(await api.runtime.stuck()).toMatchObject([{ id: ids[0], reason: 'no_node_up' }])
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    await world.until(() => driver.open.some(({ worker }) => worker === 'h2@file'))
    driver.open.find(({ worker }) => worker === 'h2@file')!.done()
    expectAtRest(await world.rest('volume', ids[0]!), 'gone')
    expect(await api.runtime.stuck()).toEqual([])
  })

  test('38: a cleanup that must touch the backend waits for a node as well, and cleanup_done hides nothing', async () => {
    const { world, driver, one, ids } = await working(1, { fences: true })
    const api = await world.start({ nodes: [] })
    await one.crash()
    await world.until(() => api.runtime.nodes()[0]!.cleanup_done)
    expect(await world.row('volume', ids[0]!)).toMatchObject({
      status: 'creating',
      worker: topic,
      incarnation: null,
      operation: { cleanup: { policy: 'error' } },
    })
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    expectAtRest(await world.rest('volume', ids[0]!), 'error')
  })

  test('39: a doorbell that was lost is rung again by the next sweep', async () => {
    const world = new World()
    const driver = new ControlledDriver()
    class Deaf extends Mailbox {
      deaf = 1
      override put(key: string): void {
        if (this.deaf-- > 0) return
        super.put(key)
      }
    }
    const { runtime } = await world.start({
      nodes: [{ host: 'h1' }, { host: 'h2' }],
      cluster,
      driver,
      seams: { mailboxFor: (_, capacity) => new Deaf(capacity) },
    })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.environment.settle()
    expect(driver.calls).toEqual([])
    expect((await runtime.clusters())[0]!.queued).toBe(1)
    await world.environment.advance(1_100)
    expect(driver.callsOn(id).length).toBe(1)
  })

  test('60: a late cleanup of an earlier life does not touch the job that the next life has taken', async () => {
    const { world, driver, one, ids } = await deleting(1)
    const held = gate()
    world.fault = (call) =>
      call.actor.startsWith('scheduler') && putsOf(call, 'volume') && !released ? held.opened : undefined
    let released = false
    await world.start({ nodes: [], settings: { schedulers: 1 } })
    await one.crash()
    // The scheduler has judged and looked, and now is held before its swap.
    await world.until(async () => (await world.service('h1')).state === 'down')
    await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    await world.until(async () => (await world.row('volume', ids[0]!)).incarnation === 2)
    const taken = await world.row('volume', ids[0]!)
    released = true
    held.open()
    await world.environment.advance(20_000)
    expect(await world.row('volume', ids[0]!)).toEqual(taken)
    // And the flag was not written for the life that is up.
    expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 2, cleaned_incarnation: 0 })
  })
})
