// From the accept of an operation to its end: behaviours 8-15 and 50 of reference/cinder.md.

import { describe, expect, test } from 'vitest'
import { Mailbox } from '../../runtime/mailbox.ts'
import { accepted, ControlledDriver, clusterings, expectAtRest, storeOf, World } from '../kit/rig.ts'

describe.each(clusterings)('An operation, $clustering', ({ cluster }) => {
  const topic = `${cluster}@file`
  const nodes = ['h1', 'h2', 'h3'].map((host) => ({ host }))

  async function withVolume(options: { exclusive?: boolean } = {}) {
    const world = new World(options)
    const driver = new ControlledDriver({ auto: true })
    const { runtime } = await world.start({ nodes, cluster, driver })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.rest('volume', id)
    driver.auto = false
    return { world, driver, runtime, id }
  }

  test('8: a resource that nobody works on has no worker', async () => {
    const { world, id } = await withVolume()
    expectAtRest(await world.row('volume', id), 'available')
  })

  test('9: status, previous_status and worker change in one swap, before anything is sent', async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    const rung: unknown[] = []
    class Listening extends Mailbox {
      override put(key: string): void {
        rung.push(world.row('volume', key.slice('volume/'.length)))
        super.put(key)
      }
    }
    const { runtime } = await world.start({
      nodes,
      cluster,
      driver,
      seams: { mailboxFor: (_, capacity) => new Listening(capacity) },
    })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    const before = await world.rest('volume', id)
    rung.length = 0
    accepted(await runtime.volume(id).extend({ size: 2 }))
    const history = await world.historyOf('volume', id)
    const change = history.find(({ version }) => version === before.version + 1)!
    expect(change).toMatchObject({
      status: 'extending',
      previous_status: 'available',
      worker: topic,
      incarnation: null,
      operation: { name: 'extend', input: { size: 2 } },
    })
    // At the moment of the doorbell the change is durable.
    expect((await Promise.all(rung))[0]).toEqual(change)
  })

  test('10: of two that accept at once one is refused: nothing sent, nothing changed for it', async () => {
    const { world, driver, runtime, id } = await withVolume()
    const before = await world.row('volume', id)
    const answers = await Promise.all([
      runtime.volume(id).extend({ size: 2 }),
      runtime.volume(id).extend({ size: 3 }),
      runtime.volume(id).delete(),
    ])
    expect(answers.filter(({ ok }) => ok).length).toBe(1)
    for (const answer of answers)
      if (!answer.ok) {
        expect(answer).toMatchObject({ reason: 'refused', resource: { kind: 'volume', id } })
        expect(answer.expected).toContain('available')
        expect(['extending', 'deleting']).toContain(answer.found)
      }
    await world.environment.advance(5_000)
    expect(driver.open.length).toBe(1)
    // The accept and one claim.
    expect((await world.row('volume', id)).version).toBe(before.version + 2)
  })

  test('11: a node that starts a job swaps the worker from cluster@backend to its own host@backend', async () => {
    const { world, driver, runtime, id } = await withVolume()
    accepted(await runtime.volume(id).extend({ size: 2 }))
    await world.until(() => driver.open.length === 1)
    const [accept, claim] = (await world.historyOf('volume', id)).slice(-2)
    expect(accept).toMatchObject({ worker: topic, incarnation: null })
    expect(claim).toMatchObject({ worker: driver.open[0]!.worker, incarnation: 1, status: 'extending' })
    expect(claim!.version).toBe(accept!.version + 1)
    // Durable before the driver hears of it.
    expect(driver.open[0]!.context.row).toEqual(claim)
  })

  test('12: a doorbell that comes twice, or to two nodes, starts the job once', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    class Doubling extends Mailbox {
      #again: string | undefined
      override take(): string | undefined {
        const again = this.#again
        this.#again = again === undefined ? super.take() : undefined
        return again ?? this.#again
      }
    }
    const seams = { mailboxFor: (_: string, capacity: number) => new Doubling(capacity) }
    const [one] = await world.startAll(...nodes.map((node) => ({ nodes: [node], cluster, driver, seams })))
    const ids: string[] = []
    for (let i = 0; i < 20; i++)
      ids.push(accepted(await one!.runtime.volume.create({ name: `v${i}`, size: 1 })).id)
    await world.environment.advance(5_000)
    for (const id of ids) expect(driver.callsOn(id).length).toBe(1)
    expect(world.logs.filter((line) => line.includes('fail'))).toEqual([])
  })

  test('13: the end empties the worker and restores previous_status in one write', async () => {
    const { world, driver, runtime, id } = await withVolume()
    accepted(await runtime.volume(id).attach({ host: 'vm1', device: '/dev/vdb' }))
    const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
    await world.until(() => driver.open.length === 1)
    const before = await world.row('volume', id)
    driver.open[0]!.done({ size: 2 })
    const settled = await world.environment.until(extending.settled())
    expect(settled.ok).toBe(true)
    expectAtRest(await world.row('volume', id), 'in-use')
    expect(await world.row('volume', id)).toMatchObject({ version: before.version + 1, data: { size: 2 } })
  })

  test('14: an operation with an end state of its own ends there, whatever previous_status is', async () => {
    const { world, driver, runtime, id } = await withVolume()
    driver.auto = true
    accepted(await runtime.volume(id).delete())
    const row = await world.rest('volume', id)
    expectAtRest(row, 'gone')
    expect(row.previous_status).toBe('available')
  })

  test('15: a node that can not write the end keeps its mark, and whoever cleans finds it', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const one = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    const { id } = accepted(await one.runtime.volume.create({ name: 'a', size: 1 }))
    await world.until(() => driver.open.length === 1)
    world.fault = ({ actor, changes }) =>
      actor === 'h1@file' && changes.some((change) => 'put' in change && change.put.kind === 'volume')
        ? 'refuses'
        : undefined
    driver.open[0]!.fail(new Error('it broke'))
    await world.environment.advance(20_000)
    // The node lives and beats; its claim stands.
    expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 1 })
    expect(await world.row('volume', id)).toMatchObject({
      status: 'creating',
      worker: 'h1@file',
      incarnation: 1,
    })
    await world.start({ nodes: [{ host: 'h2' }], cluster, driver })
    await one.crash()
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(row.error).toMatchObject({ code: 'interrupted' })
  })

  test('15: once the store writes again, a node whose end could not be written writes it', async () => {
    const { world, driver, runtime, id } = await withVolume()
    const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
    await world.until(() => driver.open.length === 1)
    world.fault = ({ actor, changes }) =>
      actor !== 'api' && changes.some((change) => 'put' in change && change.put.kind === 'volume')
        ? 'refuses'
        : undefined
    driver.open[0]!.fail(new Error('it broke'))
    await world.environment.advance(3_000)
    expect((await world.row('volume', id)).status).toBe('extending')
    world.fault = () => undefined
    expect(await world.environment.until(extending.settled())).toMatchObject({
      ok: false,
      error: { code: 'driver_failed', message: 'it broke' },
    })
    expectAtRest(await world.row('volume', id), 'error_extending')
  })

  test("50: force-delete of a volume in creating replaces the mark; the previous owner's end is refused", async () => {
    const world = new World()
    const driver = new ControlledDriver({ stubborn: true, fences: true })
    const { runtime } = await world.start({ nodes, cluster, driver })
    const making = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.until(() => driver.open.length === 1)
    const old = driver.open[0]!
    accepted(await runtime.volume(making.id).force_delete())
    expect(old.context.signal.aborted).toBe(true)
    await world.until(() => driver.open.length === 2)
    const [, now] = driver.open
    expect(now!.operation).toBe('force_delete')
    expect(now!.context.fence).toBeGreaterThan(old.context.fence)
    expect(await world.environment.until(making.settled())).toMatchObject({
      ok: false,
      error: { code: 'forced' },
    })
    const before = await world.row('volume', making.id)
    old.done({ size: 99 })
    await world.environment.advance(5_000)
    expect(await world.row('volume', making.id)).toEqual(before)
    now!.done()
    const row = await world.rest('volume', making.id)
    expectAtRest(row, 'gone')
    expect(row.data.size).toBe(1)
  })

  test('50: without a mark at the backend the force waits for the old call (rule R18)', async () => {
    const world = new World()
    const driver = new ControlledDriver({ stubborn: true })
    const { runtime } = await world.start({ nodes, cluster, driver })
    const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.until(() => driver.open.length === 1)
    accepted(await runtime.volume(id).force_delete())
    await world.environment.advance(30_000)
    expect(driver.calls.length).toBe(1)
    expect(await runtime.stuck()).toMatchObject([{ kind: 'volume', id, reason: 'leftover_call' }])
    driver.open[0]!.done()
    await world.until(() => driver.open.length === 1)
    driver.open[0]!.done()
    expectAtRest(await world.rest('volume', id), 'gone')
    expect(await runtime.stuck()).toEqual([])
  })
})

test('10: an accept that the store refuses to write is an error, and nothing is sent or changed', async () => {
  const world = new World()
  const driver = new ControlledDriver()
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
  world.fault = storeOf('api', 'refuses')
  await expect(runtime.volume.create({ name: 'a', size: 1 })).rejects.toMatchObject({ code: 'store_refused' })
  world.fault = () => undefined
  await world.environment.advance(5_000)
  expect(driver.calls).toEqual([])
  expect(await world.rows('volume')).toEqual([])
})
