// A node that is silent for too long: it stops by itself before others may take its work, and what it
// says afterwards changes nothing (rules R1, R5, R8, R12).

import { expect, test } from 'vitest'
import { nodeChart } from '../../machines/node.ts'
import type { ResourceRow } from '../../machines/row.ts'
import { defaultSettings } from '../../runtime/settings.ts'
import { accepted, beatsThrough, endOf, FaultRig, Gate, only } from '../kit/fault_rig.ts'

const { down_after_ms } = defaultSettings

test('a node whose heartbeats are held back is aborted before down_after, is refused late, and comes back as a new life', async () => {
  const rig = new FaultRig()
  const beats = new Gate()
  const runtime = await rig.start({
    seams: { storeFor: only('h1@file', (store) => beatsThrough(beats, store)) },
  })
  const id = await rig.volume(runtime)
  runtime.node('h2').drain()
  rig.backend.holdDeaf()
  const deleting = accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [call] = rig.backend.running()
  expect(call!.host).toBe('h1')

  beats.shut()
  const silent_since = rig.environment.monotonic()
  await rig.untilSo(() => call!.aborted_at !== null)
  expect(call!.aborted_at! - silent_since).toBeLessThan(down_after_ms)
  // The late finish: the driver says done after its node has ended.
  call!.finish()
  await rig.advance(100)
  expect((await runtime.volume.get(id))!.status).toBe('deleting')

  rig.backend.behave = () => undefined
  beats.open()
  const settled = await rig.until(deleting.settled())
  expect(endOf(settled)).toBe('gone')
  await rig.advance(2 * down_after_ms)
  expect(runtime.nodes().find(({ host }) => host === 'h1')).toMatchObject({
    incarnation: 2,
    state: 'up',
    given_up: null,
  })
  const ends = rig.ledger
    .of(`volume/${id}`)
    .filter(({ after }) => (after as unknown as ResourceRow).status === 'gone')
  expect(ends).toHaveLength(1)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a node that does not fence itself is declared down; its late finish is refused and the resource ends once', async () => {
  const rig = new FaultRig()
  const beats = new Gate()
  const neverDoubts = nodeChart.provide({ guards: { isFresh: () => true } as never })
  const runtime = await rig.start({
    seams: {
      charts: { node: neverDoubts },
      storeFor: only('h1@file', (store) => beatsThrough(beats, store)),
    },
  })
  const id = await rig.volume(runtime)
  runtime.node('h2').drain()
  rig.backend.hold()
  const extending = accepted(await runtime.volume(id).extend({ size: 7 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [call] = rig.backend.running()
  beats.shut()
  // No fence and no mark here, so the resource waits for the call to end (rule R18); being down comes first.
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'down')
  expect(call!.aborted_at).toBe(null)
  call!.finish({ size: 7 })
  const settled = await rig.until(extending.settled())
  // Put right by the cleaner, by the policy of the table; the zombie's success was refused.
  expect(endOf(settled)).toBe('error_extending: interrupted')
  expect(settled.row.data.size).toBe(1)
  beats.open()
  await rig.advance(2 * down_after_ms)
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 2, state: 'up' })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a zombie of another process is refused after its row went to the next node', async () => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const neverDoubts = nodeChart.provide({ guards: { isFresh: () => true } as never })
  const zombie = await rig.start({
    name: 'p1',
    nodes: ['h1'],
    driver: { fences: true },
    seams: {
      charts: { node: neverDoubts },
      storeFor: only('h1@file', (store) => beatsThrough(beats, store)),
    },
  })
  const id = await rig.volume(zombie)
  rig.backend.hold()
  accepted(await zombie.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  const healthy = await rig.start({ name: 'p2', nodes: ['h2'], driver: { fences: true } })
  beats.shut()
  await rig.untilSo(() => rig.backend.of(`volume/${id}`).length === 3)
  const [, first, second] = rig.backend.of(`volume/${id}`)
  expect([first!.host, second!.host]).toEqual(['h1', 'h2'])
  // The zombie ends first. Its finish compares worker, incarnation, fence and the service row.
  first!.finish()
  await rig.advance(500)
  expect(await healthy.volume.get(id)).toMatchObject({ status: 'deleting', worker: 'h2@file' })
  second!.finish()
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)!.status === 'gone')
  beats.open()
  await rig.advance(2 * down_after_ms)
  expect(rig.ledger.service('h1@file')).toMatchObject({ incarnation: 2, state: 'up' })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test.each([3_000, 10_000])(
  'an event loop that is blocked for %i ms fences and downs nobody by itself',
  async (ms) => {
    for (const shared of [false, true]) {
      const rig = new FaultRig({ shared })
      const runtime = await rig.start({ nodes: ['h1', 'h2', 'h3'] })
      const id = await rig.volume(runtime)
      rig.backend.hold()
      const extending = accepted(await runtime.volume(id).extend({ size: 3 }))
      await rig.untilSo(() => rig.backend.running().length === 1)
      await rig.environment.stall(ms)
      await rig.advance(2_000)
      await rig.environment.stall(ms)
      await rig.advance(30_000)
      const [call] = rig.backend.running()
      expect(call?.aborted_at).toBe(null)
      expect(runtime.nodes().map(({ incarnation, state }) => [incarnation, state])).toEqual([
        [1, 'up'],
        [1, 'up'],
        [1, 'up'],
      ])
      call!.finish({ size: 3 })
      expect(endOf(await rig.until(extending.settled()))).toBe('available')
      expect(rig.violations()).toEqual([])
      await rig.stop()
    }
  },
)
