// A store that several processes share: answers come late, and what was true when a swap was made is not
// true any more when its answer is heard. Each test holds one answer back, lets the world move on, and looks
// at what the driver of the late process is asked to do.

import { expect, test } from 'vitest'
import type { Change } from '../../store/store.ts'
import { accepted, FaultRig, Gate, only, overlay } from '../kit/fault_rig.ts'
import type { VirtualEnvironment } from '../kit/virtual_environment.ts'

const isClaim = (changes: readonly Change[]) =>
  changes.some((change) => 'put' in change && 'fence' in change.put && change.put.incarnation !== null)

test('a stalled process does not start a driver before a good beat', async () => {
  const rig = new FaultRig({ shared: true })
  const answer = new Gate()
  const runtime = await rig.start({
    nodes: ['h1'],
    seams: {
      storeFor: only('h1@file', (store) =>
        overlay(store, {
          transact: async (expect, changes) => {
            const result = await store.transact(expect, changes)
            if (isClaim(changes)) await answer.pass()
            return result
          },
        }),
      ),
    },
  })
  const id = await rig.volume(runtime)
  const other = await rig.start({ name: 'p2', nodes: ['h2'] })
  other.node('h2').drain()
  answer.shut()
  rig.backend.holdDeaf()
  accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => answer.waiting === 1)
  const before = rig.backend.calls.length
  const counter = rig.ledger.beat('h1@file')!.counter
  answer.open()
  // The answer is the first thing that the process hears after its stall.
  await (rig.environment as VirtualEnvironment).stall(7_000)
  await rig.untilSo(() => rig.backend.calls.length > before)
  expect(rig.ledger.beat('h1@file')!.counter).toBeGreaterThan(counter)
  await rig.stop()
})

test('a force operation that overtakes the answer of a claim ends its call', async () => {
  const rig = new FaultRig({ shared: true })
  const answer = new Gate()
  const runtime = await rig.start({
    nodes: ['h1'],
    seams: {
      storeFor: only('h1@file', (store) =>
        overlay(store, {
          transact: async (expect, changes) => {
            const result = await store.transact(expect, changes)
            if (isClaim(changes)) await answer.pass()
            return result
          },
        }),
      ),
    },
  })
  const id = await rig.volume(runtime)
  const other = await rig.start({ name: 'p2', nodes: ['h2'] })
  other.node('h2').drain()
  answer.shut()
  rig.backend.hold()
  accepted(await runtime.volume(id).extend({ size: 3 }))
  await rig.untilSo(() => answer.waiting === 1)
  const n = rig.backend.calls.length
  other.node('h2').start()
  runtime.node('h1').drain()
  accepted(await other.volume(id).force_delete())
  await rig.untilSo(() => rig.backend.running().some((c) => c.host === 'h2'))
  answer.open()
  await rig.advance(100)
  expect(rig.backend.calls.slice(n).map((c) => `${c.host} ${c.operation} ${c.aborted_at !== null}`)).toEqual([
    'h2 force_delete false',
  ])
  expect(rig.violations({ rested: false })).toEqual([])
  await rig.stop()
})

test('a life whose registration is answered late counts from when it asked: it fences before it is declared down', async () => {
  const rig = new FaultRig({ shared: true })
  const answer = new Gate()
  const beats = new Gate()
  answer.shut()
  const p2 = await rig.start({ name: 'p2', nodes: ['h2'] })
  rig.backend.hold()
  const starting = rig.start({
    nodes: ['h1'],
    seams: {
      storeFor: only('h1@file', (store) =>
        overlay(store, {
          transact: async (e, c) => {
            if (c.some((x) => 'put' in x && x.put.kind === 'beat')) await beats.pass()
            const r = await store.transact(e, c)
            if (c.some((x) => 'put' in x && x.put.kind === 'service' && x.put.state === 'starting'))
              await answer.pass()
            return r
          },
        }),
      ),
    },
  })
  while (rig.ledger.service('h1@file') === undefined) await new Promise((r) => setTimeout(r, 1))
  await new Promise<void>((r) => {
    rig.environment.timer(4500, () => {
      beats.shut()
      answer.open()
      r()
    })
  })
  const p1 = await starting
  p2.node('h2').drain()
  accepted(await p1.volume.create({ name: 'v', size: 1 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  const call = rig.backend.running()[0]!
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'down' || call.aborted_at !== null)
  expect(call.aborted_at).not.toBe(null)
  await rig.stop()
})
