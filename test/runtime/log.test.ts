// What the runtime tells of itself: sentences that are complete, and fields to search by.

import { describe, expect, test } from 'vitest'
import type { LogEntry } from '../../runtime/index.ts'
import { Logger } from '../../runtime/log.ts'
import { accepted, ControlledDriver, World } from '../kit/rig.ts'

const saying = (world: World, text: string) => world.entries.filter(({ message }) => message.includes(text))

async function working() {
  const world = new World()
  const driver = new ControlledDriver()
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], driver })
  const made = await runtime.volume.create({ name: 'a', size: 1 }, { request_id: 'order-7' })
  await world.until(() => driver.open.length === 1)
  const [call] = driver.open
  return { world, runtime, driver, id: accepted(made).id, call: call!, node: call!.worker }
}

describe('An entry', () => {
  test("of a driver has the fields of its operation, the caller's request id among them", async () => {
    const { world, id, call, node } = await working()
    call.context.log('the array is slow', 'warn')
    const fields = {
      ...{ node, topic: 'ssd@file', incarnation: 1, kind: 'volume', id, operation: 'create' },
      ...{ request_id: 'order-7', fence: call.context.fence, attempt: 1 },
    }
    const message = `${node}: volume/${id} create: the array is slow`
    expect(saying(world, 'the array is slow')).toEqual([{ level: 'warn', message, fields }])
  })

  test('of a driver that says no level, or one that is none, is told as info, and bounded', async () => {
    const { world, call } = await working()
    call.context.log('half-way'.padEnd(5_000, '.'))
    call.context.log('half-way', 'loud' as never)
    expect(saying(world, 'half-way').map(({ level }) => level)).toEqual(['info', 'info'])
    expect(saying(world, 'half-way')[0]!.message.length).toBeLessThan(1_100)
  })

  test('is told of each accept, claim and end of an operation, and a failed end is a warning', async () => {
    const { world, driver, runtime, id, call } = await working()
    call.done()
    await world.rest('volume', id)
    accepted(await runtime.volume(id).extend({ size: 2 }, { request_id: 'order-8' }))
    await world.until(() => driver.open.length === 1)
    driver.open[0]!.fail(new Error('no space'))
    await world.rest('volume', id)
    const about = world.entries.filter(({ fields }) => fields.id === id)
    // Accept and claim may share a flush, and either be told first.
    const lines = about.map(({ level, message }) => `${level} ${message.replace(/h[12]@/, 'h@')}`)
    expect(lines.sort()).toEqual(
      [
        `debug create of volume/${id} is accepted: queued at ssd@file`,
        `debug h@file: volume/${id} create: claimed with fence 1, attempt 1`,
        `debug h@file: volume/${id} create: done; it is available`,
        `debug extend of volume/${id} is accepted: queued at ssd@file`,
        `debug h@file: volume/${id} extend: claimed with fence 2, attempt 1`,
        `warn h@file: volume/${id} extend: failed with driver_failed, it is error_extending: no space`,
      ].sort(),
    )
    const requests = about.map(({ fields }) => fields.request_id)
    expect(requests.sort()).toEqual([...Array(3).fill('order-7'), ...Array(3).fill('order-8')])
  })

  test('of a life that is over names the node, its cluster and which life it was', async () => {
    const { world, runtime, node } = await working()
    runtime.node(node).kill()
    await world.until(() => saying(world, 'is over (killed)').length === 1)
    const fields = { node, topic: 'ssd@file', incarnation: 1, state: 'killed' }
    expect(saying(world, 'is over (killed)')).toMatchObject([{ fields }])
  })

  test('of a scheduler says which one, and whose life it declared down', async () => {
    const world = new World({ exclusive: false })
    const driver = new ControlledDriver()
    const one = await world.start({ nodes: [{ host: 'h1' }], driver })
    await world.start({ nodes: [{ host: 'h2' }], driver })
    await one.crash()
    await world.until(() => saying(world, 'is down').length === 1)
    const [{ level, fields }] = saying(world, 'is down') as [LogEntry]
    expect(level).toBe('warn')
    expect(fields).toMatchObject({ node: 'h1@file', topic: 'ssd@file', incarnation: 1 })
    expect(fields.scheduler).toMatch(/^scheduler [12]$/)
  })

  test('holds nothing but what JSON holds', async () => {
    const { world, call } = await working()
    call.done()
    await world.environment.advance(10_000)
    for (const entry of world.entries) expect(JSON.parse(JSON.stringify(entry))).toEqual(entry)
  })
})

describe('A logger', () => {
  test('tells what it is about with every entry, and what is nearer counts', () => {
    const told: LogEntry[] = []
    const log = new Logger((entry) => told.push(entry), { topic: 'a@b' })
    log.about({ node: 'h1@b' }, 'h1@b: ').about({ id: 'x' }, 'x: ').info('done', { topic: 'c@d' })
    const fields = { topic: 'c@d', node: 'h1@b', id: 'x' }
    expect(told).toEqual([{ level: 'info', message: 'h1@b: x: done', fields }])
  })

  test('whose listener throws throws nothing', () => {
    const log = new Logger(() => {
      throw new Error('the disk of the log is full')
    })
    expect(() => log.error('x')).not.toThrow()
  })
})
