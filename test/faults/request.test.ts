// A request id makes an accept idempotent: asked again, it gives the answer of that time and accepts nothing.

import { expect, test } from 'vitest'
import { accepted, endOf, FaultRig, Gate, only, overlay } from '../kit/fault_rig.ts'

test('the same id and body give the same answer while the operation runs, after it settled, and after the resource moved on', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  rig.backend.hold()
  const ask = () => runtime.volume.create({ name: 'v', size: 1 }, { request_id: 'r1' })
  const first = accepted(await ask())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const second = accepted(await ask())
  expect(second).toMatchObject({ id: first.id, repeated: true })
  rig.backend.running()[0]!.finish()
  expect(endOf(await rig.until(first.settled()))).toBe('available')
  expect(endOf(await rig.until(second.settled()))).toBe('available')
  rig.backend.behave = () => {
    throw new Error('broken')
  }
  const extend = () => runtime.volume(first.id).extend({ size: 2 }, { request_id: 'r2' })
  const extended = accepted(await extend())
  expect(endOf(await rig.until(extended.settled()))).toBe('error_extending: driver_failed')
  rig.backend.behave = () => undefined
  await rig.until(accepted(await runtime.volume(first.id).delete()).settled())
  // The volume is gone: each answer is still its own.
  const third = accepted(await ask())
  expect(third).toMatchObject({ id: first.id, repeated: true })
  expect((await rig.until(third.settled())).ok).toBe(true)
  const again = await rig.until(accepted(await extend()).settled())
  expect(again).toMatchObject({ ok: false, error: { code: 'driver_failed' } })
  expect(rig.backend.calls).toHaveLength(3)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('the answer outlives a loss of the store and a new process', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const first = accepted(await runtime.volume.create({ name: 'v', size: 1 }, { request_id: 'r1' }))
  await rig.until(first.settled())
  rig.faults.lose('EIO')
  rig.faults.back()
  await rig.advance(5_000)
  const again = accepted(await runtime.volume.create({ size: 1, name: 'v' }, { request_id: 'r1' }))
  expect(again).toMatchObject({ id: first.id, repeated: true })
  await rig.until(runtime.stop())
  const next = await rig.start({ name: 'p2' })
  const late = accepted(await next.volume.create({ name: 'v', size: 1 }, { request_id: 'r1' }))
  expect(late).toMatchObject({ id: first.id, repeated: true })
  expect(endOf(await rig.until(late.settled()))).toBe('available')
  expect(rig.ledger.resources()).toHaveLength(1)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('an id that was used for another body, operation or resource is refused and changes nothing', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const first = accepted(await runtime.volume.create({ name: 'v', size: 1 }, { request_id: 'r1' }))
  await rig.until(first.settled())
  const before = runtime.offset()
  const reused = { code: 'request_reused' }
  await expect(runtime.volume.create({ name: 'w', size: 1 }, { request_id: 'r1' })).rejects.toMatchObject(
    reused,
  )
  await expect(runtime.volume(first.id).extend({ size: 2 }, { request_id: 'r1' })).rejects.toMatchObject(
    reused,
  )
  await expect(runtime.volume(first.id).delete(undefined, { request_id: 'r1' })).rejects.toMatchObject(reused)
  for (const bad of ['', 'a b', 'x'.repeat(201), 'ä', '\u0000', 7 as never, null as never])
    await expect(runtime.volume.create({ name: 'v', size: 1 }, { request_id: bad })).rejects.toMatchObject({
      code: 'bad_input',
    })
  expect(runtime.offset()).toBe(before)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('an id that was used for one operation of a resource is refused for another one of it, though both take no input', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  rig.backend.hold()
  accepted(await runtime.volume(id).delete(undefined, { request_id: 'r1' }))
  const before = runtime.offset()
  await expect(runtime.volume(id).force_delete(undefined, { request_id: 'r1' })).rejects.toMatchObject({
    code: 'request_reused',
  })
  expect(runtime.offset()).toBe(before)
  await rig.stop()
})

test('a refusal keeps no request id: asked again it is decided again', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  const attached = accepted(await runtime.volume(id).attach({ host: 'a', device: 'b' }))
  await rig.until(attached.settled())
  expect(await runtime.volume(id).delete(undefined, { request_id: 'r1' })).toMatchObject({
    ok: false,
    found: 'in-use',
  })
  accepted(await runtime.volume(id).detach())
  expect(accepted(await runtime.volume(id).delete(undefined, { request_id: 'r1' })).repeated).toBe(false)
  await rig.advance(1_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('of fifty calls at once with one id one is accepted, in one process and in two', async () => {
  for (const shared of [false, true]) {
    const rig = new FaultRig({ shared })
    const writing = new Gate()
    const storeFor = only('api', (store) =>
      overlay(store, {
        transact: async (expect, changes) => {
          await writing.pass()
          return store.transact(expect, changes)
        },
      }),
    )
    const p1 = await rig.start({ nodes: ['h1'], seams: { storeFor } })
    const p2 = shared ? await rig.start({ name: 'p2', nodes: ['h2'], seams: { storeFor } }) : p1
    writing.shut()
    const asked = Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        (i % 2 === 0 ? p1 : p2).volume.create({ name: 'v', size: 1 }, { request_id: 'r1' }),
      ),
    )
    await rig.untilSo(() => writing.waiting === 50)
    writing.open()
    const answers = (await asked).map((answer) => accepted(answer))
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1)
    expect(answers.filter(({ repeated }) => !repeated)).toHaveLength(1)
    const ends = await rig.until(Promise.all(answers.map((answer) => answer.settled())))
    expect(ends.every(({ ok }) => ok)).toBe(true)
    expect(rig.ledger.resources()).toHaveLength(1)
    expect(rig.backend.calls).toHaveLength(1)
    expect(rig.violations()).toEqual([])
    await rig.stop()
  }
})

test('a call that finds the resource taken by its own id gets that answer, not a refusal', async () => {
  const rig = new FaultRig({ shared: true })
  const looking = new Gate()
  const p1 = await rig.start({ nodes: ['h1'] })
  const p2 = await rig.start({
    name: 'p2',
    nodes: ['h2'],
    seams: {
      storeFor: only('api', (store) =>
        overlay(store, {
          get: async (key) => {
            const row = await store.get(key)
            if (key.startsWith('request/')) await looking.pass()
            return row
          },
        }),
      ),
    },
  })
  const id = await rig.volume(p1)
  looking.shut()
  const late = p2.volume(id).extend({ size: 3 }, { request_id: 'r1' })
  await rig.untilSo(() => looking.waiting === 1)
  // The other process is first, after the look of this one and before its swap.
  const first = accepted(await rig.until(p1.volume(id).extend({ size: 3 }, { request_id: 'r1' })))
  looking.open()
  expect(accepted(await rig.until(late))).toMatchObject({ id: first.id, repeated: true })
  expect(endOf(await rig.until(first.settled()))).toBe('available')
  expect(rig.backend.of(`volume/${id}`)).toHaveLength(2)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('an id is kept while its operation runs and for its time after that, then forgotten', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({
    nodes: ['h1'],
    settings: { keep_requests_ms: 100_000, keep_gone_ms: 100_000 },
  })
  rig.backend.hold()
  const first = accepted(await runtime.volume.create({ name: 'v', size: 1 }, { request_id: 'r1' }))
  await rig.advance(300_000)
  expect(rig.ledger.rows.has('request/r1')).toBe(true)
  rig.backend.running()[0]!.finish()
  await rig.until(first.settled())
  await rig.advance(90_000)
  expect(rig.ledger.rows.has('request/r1')).toBe(true)
  await rig.advance(100_000)
  expect(rig.ledger.rows.has('request/r1')).toBe(false)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
