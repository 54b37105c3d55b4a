// Lives of nodes that end on purpose or by force, and processes that share a store: nothing queued is lost,
// and a host has one life at a time (rules R5, R10, R11, R12).

import { expect, test } from 'vitest'
import { defaultSettings } from '../../runtime/settings.ts'
import { accepted, beatsThrough, endOf, FaultRig, Gate, only, overlay } from '../kit/fault_rig.ts'

const { down_after_ms } = defaultSettings

test('a drained node takes nothing new, finishes what it has, and keeps its registration', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'] })
  const [a, b] = [await rig.volume(runtime, 'a'), await rig.volume(runtime, 'b')]
  rig.backend.hold()
  const first = accepted(await runtime.volume(a).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  runtime.node('h1').drain()
  const second = accepted(await runtime.volume(b).extend({ size: 2 }))
  await rig.advance(30_000)
  expect(rig.backend.running()).toHaveLength(1)
  expect(rig.backend.running()[0]!.aborted_at).toBe(null)
  rig.backend.running()[0]!.finish({ size: 2 })
  expect(endOf(await rig.until(first.settled()))).toBe('available')
  expect(runtime.nodes()).toMatchObject([{ state: 'up', incarnation: 1, here: { state: 'draining' } }])
  expect((await runtime.clusters())[0]).toMatchObject({ queued: 1 })
  // Killed and started again it takes what waited.
  runtime.node('h1').kill()
  rig.backend.behave = () => undefined
  await rig.advance(100)
  runtime.node('h1').start()
  expect(endOf(await rig.until(second.settled()))).toBe('available')
  await rig.advance(2_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('the queue of a killed node is worked off by the others at once, its claims after it was declared down', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1', 'h2'], settings: { concurrency: 2 } })
  const ids: string[] = []
  for (let i = 0; i < 10; i++) ids.push(await rig.volume(runtime, `v${i}`))
  rig.backend.hold()
  const accepts = await Promise.all(ids.map((id) => runtime.volume(id).delete()))
  await rig.untilSo(() => rig.backend.running().length === 4)
  const of = (host: string) => rig.backend.running().filter((call) => call.host === host)
  expect(of('h1')).toHaveLength(2)
  const killed_at = rig.environment.monotonic()
  runtime.node('h1').kill()
  rig.backend.behave = () => undefined
  for (const call of of('h2')) call.finish()
  await rig.advance(2_000)
  const gone = () => rig.ledger.resources().filter(({ status }) => status === 'gone').length
  expect(gone()).toBe(8)
  await rig.until(Promise.all(accepts.map((one) => accepted(one).settled())))
  const waited = rig.environment.monotonic() - killed_at
  expect(waited).toBeGreaterThanOrEqual(down_after_ms)
  expect(waited).toBeLessThan(down_after_ms + 4_000)
  await rig.advance(5_000)
  // Killed on purpose: nobody starts it but an administrator.
  expect(runtime.nodes().find(({ host }) => host === 'h1')).toMatchObject({
    incarnation: 1,
    state: 'down',
    cleanup_done: true,
    here: null,
  })
  expect(() => runtime.node('h1').kill()).toThrow(expect.objectContaining({ code: 'unknown_node' }))
  expect(() => runtime.node('h2').start()).toThrow(expect.objectContaining({ code: 'node_running' }))
  expect(() => runtime.node('h9').start()).toThrow(expect.objectContaining({ code: 'unknown_node' }))
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('with no node up, what is queued waits and is listed as stuck; the first node that comes up takes it', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'] })
  const id = await rig.volume(runtime)
  runtime.node('h1').kill()
  await rig.advance(2 * down_after_ms)
  const deleting = accepted(await runtime.volume(id).delete())
  await rig.advance(60_000)
  expect(await runtime.stuck()).toMatchObject([{ id, reason: 'no_node_up' }])
  runtime.node('h1').start()
  expect(endOf(await rig.until(deleting.settled()))).toBe('gone')
  expect(await runtime.stuck()).toEqual([])
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('stop accepts nothing more, lets the nodes finish what they work on, and leaves the queue for the next start', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'], settings: { concurrency: 2 } })
  const ids: string[] = []
  for (let i = 0; i < 6; i++) ids.push(await rig.volume(runtime, `v${i}`))
  rig.backend.hold()
  const accepts = await Promise.all(ids.map((id) => runtime.volume(id).delete()))
  const ends = accepts.map((one) =>
    accepted(one)
      .settled()
      .then(endOf, (error: { code: string }) => error.code),
  )
  await rig.untilSo(() => rig.backend.running().length === 2)
  let stopped = false
  const stopping = runtime.stop().then(() => {
    stopped = true
  })
  await rig.advance(30_000)
  expect(stopped).toBe(false)
  expect(rig.backend.running().map(({ aborted_at }) => aborted_at)).toEqual([null, null])
  await expect(runtime.volume.create({ name: 'x', size: 1 })).rejects.toMatchObject({ code: 'stopped' })
  for (const call of rig.backend.running()) call.finish()
  await rig.until(stopping)
  expect((await Promise.all(ends)).sort()).toEqual([
    'gone',
    'gone',
    'stopped',
    'stopped',
    'stopped',
    'stopped',
  ])
  // Signed off: nobody waits for it to be declared down.
  expect(rig.ledger.service('h1@file')).toMatchObject({
    state: 'down',
    incarnation: 1,
    cleaned_incarnation: 1,
  })
  rig.backend.behave = () => undefined
  await rig.start({ name: 'p2', nodes: ['h2'] })
  await rig.untilSo(() => rig.ledger.resources().every(({ status }) => status === 'gone'))
  expect(rig.backend.calls).toHaveLength(12)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a stop with a limit leaves the rest as a crash would, and the next start puts it right', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1', 'h2'] })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [call] = rig.backend.running()
  const stopping_at = rig.environment.monotonic()
  await rig.until(runtime.stop({ within_ms: 3_000 }))
  expect(rig.environment.monotonic() - stopping_at).toBeLessThan(4_000)
  expect(call!.aborted_at).not.toBe(null)
  expect(rig.ledger.rows.get(`volume/${id}`)).toMatchObject({
    status: 'deleting',
    worker: `${call!.host}@file`,
  })
  rig.backend.behave = () => undefined
  await rig.start({ name: 'p2', nodes: ['h1', 'h2'] })
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)!.status === 'gone')
  await rig.advance(2 * down_after_ms)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a second node with the host of one that beats is refused, and takes over after silence', async () => {
  const rig = new FaultRig({ shared: true })
  const first = await rig.start({ nodes: ['h1'] })
  const id = await rig.volume(first)
  rig.backend.hold()
  accepted(await first.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  for (const cluster of ['ssd', 'other'])
    await expect(rig.start({ name: 'p2', nodes: ['h1'], cluster })).rejects.toMatchObject({
      code: 'node_running',
      message: expect.stringContaining('h1@file runs already, in life 1'),
    })
  // The refused start took nothing away.
  expect(rig.backend.running()[0]!.aborted_at).toBe(null)
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 1, state: 'up' })
  const before = rig.environment.monotonic()
  rig.backend.behave = () => undefined
  await rig.until(first.stop({ within_ms: 0 }))
  await rig.start({ name: 'p3', nodes: ['h1'] })
  expect(rig.environment.monotonic() - before).toBeGreaterThanOrEqual(down_after_ms)
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 2, state: 'up' })
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)!.status === 'gone')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a life that is superseded while it is cut off has aborted by then, and its process does not take the host back', async () => {
  const rig = new FaultRig({ shared: true })
  const cut = new Gate()
  const first = await rig.start({
    nodes: ['h1'],
    seams: {
      storeFor: only('h1@file', (store) =>
        overlay(store, {
          transact: async (expect, changes) => {
            await cut.pass()
            return store.transact(expect, changes)
          },
        }),
      ),
    },
  })
  const id = await rig.volume(first)
  rig.backend.hold()
  accepted(await first.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [call] = rig.backend.running()
  cut.shut()
  rig.backend.behave = () => undefined
  await rig.start({ name: 'p2', nodes: ['h1'] })
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 2, state: 'up' })
  expect(call!.aborted_at).not.toBe(null)
  cut.open()
  await rig.advance(60_000)
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 2, state: 'up' })
  expect(first.nodes()).toMatchObject([{ incarnation: 2, given_up: expect.stringContaining('runs already') }])
  expect(rig.ledger.rows.get(`volume/${id}`)!.status).toBe('gone')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a host that registers again and again is not silent, even where its beats do not come through', async () => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  await rig.start({
    nodes: ['h1'],
    seams: { storeFor: only('h1@file', (store) => beatsThrough(beats, store)) },
  })
  beats.shut()
  await expect(rig.start({ name: 'p2', nodes: ['h1'] })).rejects.toMatchObject({ code: 'node_running' })
  expect(rig.violations({ rested: false })).toEqual([])
  await rig.stop()
})

test('a start that was stalled while it watched the host is no proof of silence', async () => {
  const rig = new FaultRig({ shared: true })
  await rig.start({ nodes: ['h1'] })
  const starting = rig.start({ name: 'p2', nodes: ['h1'] }).then(
    () => 'up',
    (error: { code: string }) => error.code,
  )
  await rig.environment.settle()
  await rig.environment.stall(10_000)
  expect(await starting).toBe('node_running')
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 1, state: 'up' })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('nodes of two processes that start at once make one row of their cluster, and both come up', async () => {
  const rig = new FaultRig({ shared: true })
  const starts = [
    rig.start({ name: 'p1', nodes: ['h1', 'h3'] }),
    rig.start({ name: 'p2', nodes: ['h2', 'h4'] }),
  ]
  const [p1] = await Promise.all(starts)
  const made = rig.ledger.of('cluster/ssd@file')
  expect(made).toHaveLength(1)
  expect(p1!.nodes().map(({ state }) => state)).toEqual(['up', 'up', 'up', 'up'])
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('two processes that start the same host at once: one gets it, the other is refused', async () => {
  const rig = new FaultRig({ shared: true })
  const outcomes = await Promise.all(
    ['p1', 'p2'].map((name) =>
      rig.start({ name, nodes: ['h1'] }).then(
        () => 'up',
        (error: { code: string }) => error.code,
      ),
    ),
  )
  expect(outcomes.sort()).toEqual(['node_running', 'up'])
  await rig.advance(20_000)
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 1, state: 'up' })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a life killed while it registers takes no incarnation any more', async () => {
  const rig = new FaultRig()
  const gate = new Gate()
  const runtime = await rig.start({
    nodes: ['h1'],
    seams: {
      storeFor: only('h1@file', (store) =>
        overlay(store, {
          list: async (f, p) => {
            const r = await store.list(f, p)
            if (f.kind === 'service') await gate.pass()
            return r
          },
        }),
      ),
    },
  })
  runtime.node('h1').kill()
  gate.shut()
  runtime.node('h1').start()
  await rig.advance(100)
  expect(gate.waiting).toBe(1)
  runtime.node('h1').kill()
  await rig.advance(10)
  // The next life registers past the gate
  gate.open()
  runtime.node('h1').start()
  await rig.advance(30_000)
  expect(rig.ledger.service('h1@file')!.incarnation).toBeLessThanOrEqual(2)
  await rig.stop()
})
