// A node's reports on their way into its beat row, and what a driver may answer: an older report never comes back,
// and what is no answer leaves the last one standing.

import { describe, expect, test } from 'vitest'
import type { BeatRow, Capabilities } from '../../machines/row.ts'
import { checkedCapabilities } from '../../runtime/capabilities.ts'
import { plainClock } from '../../runtime/clock.ts'
import { Logger } from '../../runtime/log.ts'
import { Registration, type Report } from '../../runtime/registration.ts'
import { settingsFrom } from '../../runtime/settings.ts'
import { memoryStore } from '../../store/index.ts'
import { ControlledDriver, World } from '../kit/rig.ts'
import { VirtualEnvironment } from '../kit/virtual_environment.ts'

const report = (free_gib: number, reported_offset: number): Report => ({
  capabilities: { total_gib: 100, free_gib },
  reported_at: 1_000 + reported_offset,
  reported_offset,
})

async function registered() {
  const environment = new VirtualEnvironment()
  const store = await memoryStore().open()
  const life = async () => {
    const registration = new Registration(
      { cluster: 'ssd', backend: 'file', host: 'h1', driver: { operations: {} } },
      {
        environment,
        clock: plainClock(environment),
        store,
        settings: settingsFrom({}),
        told: () => ({ cluster: undefined, retired: undefined }),
        endedHere: 0,
        isOver: () => false,
        log: new Logger(null),
      },
    )
    await registration.register()
    return registration
  }
  const beat = async () => (await store.get('beat/ssd@file@h1')) as unknown as BeatRow
  return { life, beat }
}

describe('A report in the beat row', () => {
  test('41: of one life is never older than the one before, though its beat arrives later', async () => {
    const { life, beat } = await registered()
    const node = await life()
    await node.beat(report(50, 10))
    await node.beat(report(80, 4))
    expect(await beat()).toMatchObject({ counter: 2, ...report(50, 10) })
    // Both at once: whichever swap is first, the newer report stays.
    await Promise.all([node.beat(report(20, 30)), node.beat(report(40, 20))])
    expect(await beat()).toMatchObject({ counter: 4, ...report(20, 30) })
    await node.beat(null)
    expect(await beat()).toMatchObject({ counter: 5, ...report(20, 30) })
  })

  test('of a life that is over counts for nothing once the next one has beaten', async () => {
    const { life, beat } = await registered()
    await (await life()).beat(report(50, 10))
    await (await life()).beat(null)
    expect(await beat()).toMatchObject({ incarnation: 2, counter: 2, capabilities: null })
  })
})

describe('What a driver says of its backend', () => {
  test('is taken with the fields that are known, and no others', () => {
    const said = {
      total_gib: 10,
      free_gib: 5,
      provisioned_gib: 7,
      reserved_percent: 10,
      thin: true,
      max_over_subscription: 2,
      multiattach: false,
      specs: { ssd: true, zone: 'north', iops: 5_000 },
    }
    expect(checkedCapabilities({ ...said, password: 'x' } as Capabilities)).toEqual(said)
  })

  test('is not said where it is absent or without end', () => {
    expect(checkedCapabilities({ total_gib: Number.POSITIVE_INFINITY } as Capabilities)).toEqual({
      total_gib: null,
      free_gib: null,
    })
  })

  test.each([
    ['nothing', undefined, 'capabilities are undefined, not an object'],
    ['an amount below 0', { total_gib: 1, free_gib: -1 }, 'free_gib is -1'],
    ['an amount that is no number', { total_gib: '1', free_gib: 1 }, 'total_gib is 1'],
    ['an amount that is NaN', { total_gib: Number.NaN, free_gib: 1 }, 'total_gib is NaN'],
    ['a sign that is no Boolean', { thin: 'yes' }, 'thin is yes'],
    ['specs that are a list', { specs: [] }, 'specs are no object'],
    ['a spec that is an object', { specs: { zone: {} } }, "the spec 'zone'"],
    ['a spec without end', { specs: { zone: 'x'.repeat(300) } }, "the spec 'zone'"],
    [
      'too many specs',
      { specs: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`s${i}`, i])) },
      '101 specs',
    ],
  ])('is refused where it is %s', (_, said, message) => {
    expect(() => checkedCapabilities(said as never)).toThrow(message)
  })

  test('leaves the last report standing where it is no answer, and the node up', async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    driver.capabilities = async () => ({ total_gib: 10, free_gib: 4 })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
    driver.capabilities = async () => ({ total_gib: 10, free_gib: -4 })
    await world.environment.advance(10_000)
    expect((await runtime.clusters())[0]).toMatchObject({ up: true, capabilities: { free_gib: 4 } })
    expect(world.logs.join('\n')).toContain('free_gib is -4; a number of at least 0 is expected')
  })

  test('is known before the node is up, so that nothing is placed blindly', async () => {
    const world = new World()
    const driver = new ControlledDriver({ auto: true })
    driver.capabilities = async () => ({ total_gib: 10, free_gib: 4 })
    const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
    await expect(runtime.volume.create({ name: 'a', size: 5 })).rejects.toMatchObject({ code: 'no_cluster' })
  })
})
