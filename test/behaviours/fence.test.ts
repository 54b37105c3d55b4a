// Who may no longer work: behaviours 43-48 of reference/cinder.md.

import { describe, expect, test } from 'vitest'
import { nodeChart } from '../../machines/index.ts'
import { accepted, beatsOf, ControlledDriver, clusterings, expectAtRest, storeOf, World } from '../kit/rig.ts'

describe.each(clusterings)('A node that may no longer work, $clustering', ({ cluster }) => {
  /** h1 in the middle of a create; a second process watches without a node of its own. */
  async function working(options: { stubborn?: boolean; probe?: () => Promise<void>; deaf?: boolean } = {}) {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver({ stubborn: options.stubborn ?? false })
    const { probe, deaf } = options
    const one = await world.start({
      nodes: [{ host: 'h1', ...(probe ? { probes: [{ name: 'lock manager', check: probe }] } : {}) }],
      cluster,
      driver,
      // A chart that does not look at its own beats: only the others' half of the protocol is left (R8 off).
      ...(deaf
        ? { seams: { charts: { node: nodeChart.provide({ guards: { isFresh: () => true } } as never) } } }
        : {}),
      settings: { schedulers: 1 },
    })
    const other = await world.start({ nodes: [] })
    const { id } = accepted(await one.runtime.volume.create({ name: 'a', size: 1 }))
    await world.until(() => driver.open.length === 1)
    const call = driver.open[0]!
    const aborted = { at: Number.POSITIVE_INFINITY }
    call.context.signal.addEventListener('abort', () => {
      aborted.at = world.environment.monotonic()
    })
    return { world, driver, one, other, id, call, aborted }
  }

  test('43: a node that lost the store stops what it does before others may clean, and takes no more', async () => {
    const { world, driver, one, other, id, call, aborted } = await working()
    const lost_at = world.environment.monotonic()
    world.fault = storeOf('h1@file', 'is lost')
    let down_at = Number.POSITIVE_INFINITY
    const queued = accepted(await other.runtime.volume.create({ name: 'b', size: 1 })).id
    await world.until(async () => {
      const isDown = (await world.service('h1')).state === 'down'
      if (isDown) down_at = Math.min(down_at, world.environment.monotonic())
      return isDown
    })
    expect(call.context.signal.aborted).toBe(true)
    expect(aborted.at - lost_at).toBeLessThanOrEqual(one.runtime.settings.down_after_ms)
    expect(aborted.at).toBeLessThan(down_at)
    expectAtRest(await world.rest('volume', id), 'error')
    expect(driver.callsOn(queued)).toEqual([])

    // Back only through a full start: a new life, its own rows cleaned.
    world.fault = () => undefined
    await world.until(() => driver.callsOn(queued).length === 1)
    expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 2 })
    expect(await world.row('volume', queued)).toMatchObject({ worker: 'h1@file', incarnation: 2 })
    expect((await world.historyOf('volume', id)).length).toBe(3)
  })

  test('43: a lost store counts against no node, however long it is away', async () => {
    const { world } = await working()
    world.fault = storeOf('h1@file', 'is lost')
    await world.environment.advance(200_000)
    world.fault = () => undefined
    await world.until(async () => (await world.service('h1')).state === 'up')
  })

  test.each(['hangs', 'refuses'] as const)(
    '43: a store that %s for one node is lost for it',
    async (fault) => {
      const { world, one, aborted } = await working()
      const since = world.environment.monotonic()
      world.fault = storeOf('h1@file', fault)
      await world.environment.advance(30_000)
      const { fence_after_ms, heartbeat_ms } = one.runtime.settings
      expect(aborted.at - since).toBeLessThanOrEqual(fence_after_ms + heartbeat_ms)
    },
  )

  test('44: a node that lost its lock manager stops its operations and its beats, and others clean for it', async () => {
    const locks = { lost: false }
    const probe = async () => {
      if (locks.lost) throw new Error('no quorum')
    }
    const { world, id, call } = await working({ probe })
    locks.lost = true
    await world.environment.advance(2_100)
    expect(call.context.signal.aborted).toBe(true)
    const beatsOfLife = async () => (await world.historyOf('beat')).filter((beat) => beat.incarnation === 1)
    const before = (await beatsOfLife()).length
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(row.error?.message).toContain('h1@file went down')
    expect((await world.service('h1')).state).not.toBe('up')
    expect((await beatsOfLife()).length).toBe(before)
    expect(world.logs.some((line) => line.includes('lock manager is lost: no quorum'))).toBe(true)
  })

  test('45: a node that lost only its backend goes on: its operations fail, it stays up', async () => {
    const { world, driver, id, call } = await working()
    driver.capabilities = async () => Promise.reject(new Error('the backend does not answer'))
    await world.environment.advance(30_000)
    expect(call.context.signal.aborted).toBe(false)
    expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 1 })
    call.fail(new Error('the backend does not answer'))
    expectAtRest(await world.rest('volume', id), 'error')
  })

  test('46: a node whose driver can not be set up never comes up, cleans nothing and takes nothing', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const broken = { on: true }
    driver.setup = async () => {
      if (broken.on) throw new Error('no such pool')
    }
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }], cluster, driver })
    await world.environment.advance(60_000)
    const view = runtime.nodes()[0]!
    expect(view.state).not.toBe('up')
    expect(view.given_up).toContain('no such pool')
    expect((await runtime.clusters())[0]!.up).toBe(false)
    await expect(runtime.volume.create({ name: 'a', size: 1 })).rejects.toMatchObject({ code: 'no_cluster' })
    // Put right, an administrator starts it.
    broken.on = false
    runtime.node('h1').start()
    await world.until(async () => (await world.service('h1')).state === 'up')
    accepted(await runtime.volume.create({ name: 'a', size: 1 }))
    await world.until(() => driver.open.length === 1)
  })

  test('46: a node whose driver is still setting up cleans nothing yet and takes nothing', async () => {
    const { world, driver, one, id } = await working()
    await one.crash()
    let ready = () => {}
    driver.setup = () =>
      new Promise((resolve) => {
        ready = resolve
      })
    // Before anyone else has judged: what is cleaned now, the node itself cleaned.
    const alone = new Set<string>()
    world.fault = (call) => {
      if (call.changes.some((change) => 'put' in change && change.put.kind === 'volume'))
        alone.add(call.actor)
      return call.actor.startsWith('scheduler') ? 'hangs' : undefined
    }
    const starting = world.begin({ nodes: [{ host: 'h1' }], cluster, driver, settings: { schedulers: 1 } })
    await world.environment.advance(20_000)
    expect(await world.service('h1')).toMatchObject({ state: 'starting', incarnation: 2 })
    expect(alone).toEqual(new Set())
    ready()
    await world.environment.until(starting)
    expect(alone).toEqual(new Set(['h1@file']))
    expectAtRest(await world.row('volume', id), 'error')
  })

  test('47: a node that was declared down but lives finishes in vain: its end is refused, the result stands', async () => {
    const { world, driver, one, id, call } = await working({ stubborn: true, deaf: true })
    world.fault = beatsOf('h1@file', 'hangs')
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(one.runtime.nodes()[0]).toMatchObject({ state: 'down', here: { state: 'up' } })
    const looks: string[] = []
    world.fault = (call) => {
      if (call.actor === 'h1@file') looks.push(call.method)
      return beatsOf('h1@file', 'hangs')(call)
    }
    call.done({ size: 99 })
    await world.environment.advance(1_000)
    // It looked, and saw that the claim is no longer its own.
    expect(looks).toContain('get')
    expect(looks).not.toContain('transact')
    expect(await world.row('volume', id)).toEqual(row)
    expect(driver.calls.length).toBe(1)
  })

  test('47: a node paused beyond down_after has its signal aborted and ends its resource once', async () => {
    const { world, id, call, aborted } = await working({ stubborn: true })
    const paused_at = world.environment.monotonic()
    world.fault = beatsOf('h1@file', 'hangs')
    const row = await world.rest('volume', id)
    expectAtRest(row, 'error')
    expect(aborted.at - paused_at).toBeLessThanOrEqual(5_500)
    world.fault = () => undefined
    call.done({ size: 99 })
    await world.environment.advance(30_000)
    expect(await world.row('volume', id)).toEqual(row)
    expect((await world.historyOf('volume', id)).map(({ status }) => status)).toEqual([
      'creating',
      'creating',
      'error',
    ])
    // It is back, in a life of its own.
    expect(await world.service('h1')).toMatchObject({ state: 'up', incarnation: 2 })
  })

  test('48: whenever in its beat a node loses the store, it stops before anybody may call it down', async () => {
    for (let phase = 0; phase < 2_000; phase += 250) {
      const { world, aborted } = await working()
      await world.environment.advance(phase)
      world.fault = storeOf('h1@file', 'hangs')
      let down_at = Number.POSITIVE_INFINITY
      for (let passed = 0; passed < 20_000 && down_at === Number.POSITIVE_INFINITY; passed += 50) {
        await world.environment.advance(50)
        if ((await world.service('h1')).state === 'down') down_at = world.environment.monotonic()
      }
      expect(down_at).toBeLessThan(20_000 + phase)
      expect(down_at - aborted.at).toBeGreaterThanOrEqual(1_000)
    }
  })
})

test.each([
  { fence_after_ms: 8_000 },
  { fence_after_ms: 9_000 },
  { down_after_ms: 5_000 },
  { fence_after_ms: 6_000 },
  { heartbeat_ms: 3_000 },
])('48: settings that leave no time between the stop and the cleanup are refused: %o', async (settings) => {
  const world = new World()
  const starting = world.start({ nodes: [{ host: 'h1' }], driver: new ControlledDriver(), settings })
  await expect(starting).rejects.toMatchObject({
    code: 'bad_settings',
    message: expect.stringContaining('fence_after_ms'),
  })
})
