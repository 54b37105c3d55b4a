// What does not get on by itself is listed with the reason, since when, and what to do; what gets on is not.

import { expect, test } from 'vitest'
import { accepted, ControlledDriver, World } from '../kit/rig.ts'

test('a queue of which no node is up, or all are disabled, is listed until one takes it', async () => {
  const world = new World()
  const driver = new ControlledDriver({ auto: true })
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], driver })
  for (const host of ['h1', 'h2']) await runtime.admin.disableNode(host)
  const at = world.environment.now()
  const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }, { cluster: 'ssd@file' }))
  await world.environment.advance(10_000)
  expect(await runtime.stuck()).toEqual([
    {
      ...{ kind: 'volume', id, reason: 'nodes_disabled', since: at },
      message: 'all nodes of ssd@file that are up are disabled: h1, h2',
      what_to_do: 'enable one: rekindle node enable h1@file',
    },
  ])
  runtime.node('h2').kill()
  await runtime.admin.enableNode('h1')
  await world.rest('volume', id)
  expect(await runtime.stuck()).toEqual([])
  runtime.node('h1').kill()
  await world.environment.advance(20_000)
  const waiting = accepted(await runtime.volume.create({ name: 'b', size: 1 }, { cluster: 'ssd@file' })).id
  expect(await runtime.stuck()).toMatchObject([
    { id: waiting, reason: 'no_node_up', what_to_do: expect.stringContaining('start a node of ssd@file') },
  ])
})

test('what waits while the store refuses every write is listed, though no row can say that its node is over', async () => {
  const world = new World()
  const driver = new ControlledDriver()
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }], driver })
  const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
  await world.until(() => driver.open.length === 1)
  world.fault = ({ method }) => (method === 'transact' ? 'refuses' : undefined)
  await world.environment.advance(30_000)
  expect((await world.service('h1')).state).toBe('up')
  expect(await runtime.stuck()).toMatchObject([{ id, reason: 'no_node_up' }])
  world.fault = () => undefined
  await world.until(async () => (await runtime.stuck()).length === 0)
})

test('a cleanup that fails is listed with its failures and its next try, and once it was given up as that', async () => {
  const world = new World()
  const driver = new ControlledDriver({ fences: true })
  const settings = { cleanups: 3 }
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], driver, settings })
  const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
  await world.until(() => driver.open.length === 1)
  driver.faultOfMark = () => new Error('the array does not answer')
  runtime.node(driver.open[0]!.worker).kill()
  await world.until(async () => ((await world.row('volume', id)).operation?.cleanup?.failures ?? 0) === 2)
  const [failing] = await runtime.stuck()
  expect(failing).toMatchObject({
    ...{ id, reason: 'cleanup_failing', failures: 2 },
    message: expect.stringContaining('the array does not answer'),
    what_to_do: expect.stringContaining(`--resource volume/${id}`),
  })
  expect(failing!.next_try_at).toBeGreaterThan(world.environment.now())
  await world.rest('volume', id)
  expect(await runtime.stuck()).toMatchObject([
    { id, reason: 'cleanup_given_up', what_to_do: expect.stringContaining('delete') },
  ])
})

test('an operation that used up its attempts is listed where it ended', async () => {
  const world = new World()
  const driver = new ControlledDriver()
  const settings = { attempts: 1 }
  const { runtime } = await world.start({ nodes: [{ host: 'h1' }, { host: 'h2' }], driver, settings })
  const { id } = accepted(await runtime.volume.create({ name: 'a', size: 1 }))
  await world.until(() => driver.open.length === 1)
  driver.open[0]!.done()
  await world.rest('volume', id)
  accepted(await runtime.volume(id).delete({}))
  await world.until(() => driver.open.length === 1)
  runtime.node(driver.open[0]!.worker).kill()
  const { error } = await world.rest('volume', id)
  expect(await runtime.stuck()).toMatchObject([
    { id, reason: 'attempts_used_up', since: error!.at, message: expect.stringContaining('error_deleting') },
  ])
})
