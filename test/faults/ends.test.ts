// How an operation ended is told as it was, whatever overtakes it: a force operation, or the next operation
// of the resource (rule R13).

import { expect, test } from 'vitest'
import { accepted, endOf, FaultRig, Gate, only, overlay } from '../kit/fault_rig.ts'

test('an operation that a reset of the status interrupts is told as forced, and the reset itself as done', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const extend = () => runtime.volume(id).extend({ size: 7 }, { request_id: 'r1' })
  const reset = () => runtime.volume(id).reset_status({ status: 'available' }, { request_id: 'r2' })
  const extending = accepted(await extend())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const resetting = accepted(await reset())
  expect(endOf(await rig.until(extending.settled()))).toBe('available: forced')
  expect(endOf(await rig.until(resetting.settled()))).toBe('available')
  // The same for who asks again.
  expect(endOf(await rig.until(accepted(await extend()).settled()))).toBe('available: forced')
  expect(endOf(await rig.until(accepted(await reset()).settled()))).toBe('available')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('an end that comes before the answer of the accept is told, though the next operation has begun by then', async () => {
  const rig = new FaultRig({ shared: true })
  const answers = new Gate()
  const p1 = await rig.start({ nodes: ['h1'] })
  const p2 = await rig.start({
    name: 'p2',
    nodes: ['h2'],
    seams: {
      storeFor: only('api', (store) =>
        overlay(store, {
          transact: async (expect, changes) => {
            const result = await store.transact(expect, changes)
            await answers.pass()
            return result
          },
        }),
      ),
    },
  })
  const id = await rig.volume(p1)
  answers.shut()
  const extending = p2.volume(id).extend({ size: 3 })
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)?.status === 'extending')
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)?.status === 'available')
  rig.backend.hold()
  accepted(await p1.volume(id).extend({ size: 4 }))
  answers.open()
  const ended = await rig.until(accepted(await rig.until(extending)).settled())
  expect(endOf(ended)).toBe('available')
  await rig.untilSo(() => rig.backend.running().length === 1)
  for (const call of rig.backend.running()) call.finish()
  await rig.advance(1_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
