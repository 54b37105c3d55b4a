// The store is lost, or refuses to write: everyone fences, nothing is lost, and the system goes on by
// itself through a full start of each node (rules R5, R8, R14).

import { expect, test } from 'vitest'
import { defaultSettings } from '../../runtime/settings.ts'
import { accepted, endOf, FaultRig, Gate } from '../kit/fault_rig.ts'

const { down_after_ms } = defaultSettings
const hosts = ['h1', 'h2', 'h3']

test.each(['EIO: i/o error, fsync', 'the folder was unmounted'])(
  'a lost store (%s) fences every node at once; all resume with new incarnations and every accepted operation ends',
  async (cause) => {
    const rig = new FaultRig()
    const runtime = await rig.start({ nodes: hosts })
    const ids = await Promise.all([...'abcdef'].map((name) => rig.volume(runtime, name)))
    rig.backend.hold()
    const accepts = await Promise.all(
      ids.map(async (id, i) =>
        accepted(
          i % 2 === 0 ? await runtime.volume(id).delete() : await runtime.volume(id).extend({ size: 9 }),
        ),
      ),
    )
    const ends = accepts.map((one) => one.settled().then(endOf))
    await rig.untilSo(() => rig.backend.running().length === ids.length)
    const running = rig.backend.running()
    const lost_at = rig.environment.monotonic()
    rig.faults.lose(cause)
    await rig.advance(down_after_ms)
    for (const call of running) expect(call.aborted_at! - lost_at).toBeLessThan(down_after_ms)
    expect(runtime.state()).toBe('suspended')
    await expect(runtime.volume.create({ name: 'x', size: 1 })).rejects.toMatchObject({ code: 'store_lost' })
    await rig.advance(40_000)
    rig.backend.behave = () => undefined
    rig.faults.back()
    expect((await rig.until(Promise.all(ends))).sort()).toEqual([
      'error_extending: interrupted',
      'error_extending: interrupted',
      'error_extending: interrupted',
      'gone',
      'gone',
      'gone',
    ])
    expect(runtime.state()).toBe('open')
    expect(runtime.nodes().map(({ incarnation, state }) => [incarnation, state])).toEqual(
      hosts.map(() => [2, 'up']),
    )
    expect(rig.violations()).toEqual([])
    await rig.stop()
  },
)

test.each(['ENOSPC: no space left on device', 'EROFS: read-only file system'])(
  'a store that refuses to write (%s) fences every node before down_after; all resume by themselves',
  async (cause) => {
    const rig = new FaultRig()
    const runtime = await rig.start({ nodes: hosts })
    const ids = await Promise.all([...'abc'].map((name) => rig.volume(runtime, name)))
    rig.backend.hold()
    const accepts = await Promise.all(ids.map(async (id) => accepted(await runtime.volume(id).delete())))
    const ends = accepts.map((one) => one.settled().then(endOf))
    await rig.untilSo(() => rig.backend.running().length === ids.length)
    const running = rig.backend.running()
    const refused_at = rig.environment.monotonic()
    rig.faults.refuse(cause)
    const before = rig.ledger.rows.size
    await expect(runtime.volume.create({ name: 'x', size: 1 })).rejects.toMatchObject({
      code: 'store_refused',
    })
    // Long enough for every node to fence itself and to fail its start many times.
    await rig.advance(90_000)
    for (const call of running) expect(call.aborted_at! - refused_at).toBeLessThan(down_after_ms)
    expect(rig.ledger.rows.size).toBe(before)
    rig.backend.behave = () => undefined
    rig.faults.back()
    expect(await rig.until(Promise.all(ends))).toEqual(['gone', 'gone', 'gone'])
    await rig.advance(5_000)
    for (const node of runtime.nodes())
      expect(node).toMatchObject({ incarnation: 2, state: 'up', given_up: null })
    expect(rig.violations()).toEqual([])
    await rig.stop()
  },
)

test('a short refusal ends no life: work goes on and its finish is written once the store takes writes again', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: hosts })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const extending = accepted(await runtime.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  rig.faults.refuse('ENOSPC')
  rig.backend.running()[0]!.finish({ size: 2 })
  await rig.advance(2_500)
  rig.faults.back()
  expect(endOf(await rig.until(extending.settled()))).toBe('available')
  for (const node of runtime.nodes()) expect(node).toMatchObject({ incarnation: 1, state: 'up' })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('losses of the store count neither as restarts nor as attempts', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: hosts, settings: { restarts: 1, attempts: 2 } })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const deleting = accepted(await runtime.volume(id).delete())
  const end = deleting.settled().then(endOf)
  for (let loss = 1; loss <= 6; loss++) {
    await rig.untilSo(() => rig.backend.running().length === 1)
    if (loss % 2 === 0) rig.faults.refuse('ENOSPC')
    else rig.faults.lose('EIO')
    await rig.advance(9_000)
    rig.faults.back()
  }
  await rig.untilSo(() => rig.backend.running().length === 1)
  rig.backend.running()[0]!.finish()
  expect(await rig.until(end)).toBe('gone')
  await rig.advance(3_000)
  for (const node of runtime.nodes()) expect(node).toMatchObject({ state: 'up', given_up: null })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('settled() of before the loss is answered with the end that another process wrote meanwhile', async () => {
  const rig = new FaultRig({ shared: true })
  const runtime = await rig.start({ name: 'p1', nodes: ['h1'] })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const extending = accepted(await runtime.volume(id).extend({ size: 4 }))
  const end = extending.settled().then(endOf)
  await rig.untilSo(() => rig.backend.running().length === 1)
  rig.faults.lose('EIO')
  await rig.advance(1_000)
  const call = rig.backend.calls.at(-1)!
  expect(call.aborted_at).not.toBe(null)
  rig.backend.behave = () => undefined
  // The disk comes back for the other process first.
  rig.faults.back()
  expect(await rig.until(end)).toBe('error_extending: interrupted')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a store that can not be opened again for a long while is tried until it can', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: hosts })
  rig.faults.lose('EIO')
  await rig.advance(600_000)
  expect(runtime.state()).toBe('suspended')
  rig.faults.back()
  await rig.advance(5_000)
  expect(runtime.state()).toBe('open')
  await rig.volume(runtime)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a runtime that is stopped while the store is lost stops', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: hosts })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const deleting = accepted(await runtime.volume(id).delete())
  const end = deleting.settled().then(endOf, (error: Error & { code: string }) => error.code)
  await rig.untilSo(() => rig.backend.running().length === 1)
  rig.faults.lose('EIO')
  await rig.advance(2_000)
  await rig.until(runtime.stop())
  expect(await end).toBe('stopped')
  rig.faults.back()
  rig.backend.behave = () => undefined
  // What was accepted ends at the next start.
  await rig.start({ nodes: ['h4'] })
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)!.status === 'gone')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a runtime that is stopped while it opens the store again lets go of the store', async () => {
  const rig = new FaultRig()
  const opening = new Gate()
  const runtime = await rig.start({
    nodes: hosts,
    source: {
      name: rig.source.name,
      open: async () => {
        await opening.pass()
        return rig.source.open()
      },
    },
  })
  opening.shut()
  rig.faults.lose('EIO')
  rig.faults.back()
  await rig.untilSo(() => opening.waiting === 1)
  const stopped = runtime.stop()
  await rig.advance(100)
  opening.open()
  await rig.until(stopped)
  await rig.advance(10_000)
  // An exclusive store that is still open would refuse.
  const next = await rig.start({ nodes: hosts })
  await rig.volume(next)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
