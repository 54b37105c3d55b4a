// What happens between a read and its swap. One actor is held with its swap in hand while another one's goes
// through; every expectation that a swap has beside its own row is there for such a moment.

import { expect, test } from 'vitest'
import { nodeChart } from '../../machines/node.ts'
import type { ResourceRow, ServiceRow } from '../../machines/row.ts'
import { type Change, keyOf, type Store, type StoredRow } from '../../store/store.ts'
import { accepted, beatsThrough, chain, endOf, FaultRig, Gate, only, overlay } from '../kit/fault_rig.ts'

/** Swaps that put such a row wait at the gate; everything else goes by. */
const swapsThrough = (gate: Gate, puts: (row: StoredRow) => boolean) => (store: Store) =>
  overlay(store, {
    transact: async (expect, changes: readonly Change[]) => {
      if (changes.some((change) => 'put' in change && puts(change.put))) await gate.pass()
      return store.transact(expect, changes)
    },
  })

const isResource = (row: StoredRow) => 'fence' in row
const isTaken = (row: StoredRow) => isResource(row) && row.incarnation !== null
const isEnd = (row: StoredRow) => isResource(row) && row.operation === null
const isDown = (row: StoredRow) => row.kind === 'service' && row.state === 'down'

/** A life that never doubts itself: only the others' half of the protocol is left (rule R8 off). */
const neverDoubts = nodeChart.provide({ guards: { isFresh: () => true } as never })

/** h1 in a process of its own, its beats and one more sort of its swaps in the test's hand; p2 only sweeps. */
async function watched(puts: (row: StoredRow) => boolean) {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const swaps = new Gate()
  const sweeper = new Gate()
  const one = await rig.start({
    nodes: ['h1'],
    settings: { schedulers: 1 },
    seams: {
      charts: { node: neverDoubts },
      storeFor: chain(
        only('h1@file', (store) => beatsThrough(beats, store)),
        only('h1@file', swapsThrough(swaps, puts)),
        // Its own scheduler is no part of the story.
        only(
          /^scheduler/,
          swapsThrough(sweeper, () => true),
        ),
      ),
    },
  })
  const id = await rig.volume(one)
  sweeper.shut()
  const cleaning = new Gate()
  await rig.start({
    name: 'p2',
    nodes: [],
    settings: { schedulers: 1 },
    seams: { storeFor: only(/^scheduler/, swapsThrough(cleaning, isResource)) },
  })
  const row = () => rig.ledger.rows.get(`volume/${id}`) as unknown as ResourceRow
  const service = () => rig.ledger.service('h1@file') as ServiceRow
  return { rig, beats, swaps, cleaning, one, id, row, service }
}

test('a claim that was decided before its node was declared down is refused after it (rule R5)', async () => {
  const { rig, beats, swaps, one, id, row, service } = await watched(isTaken)
  beats.shut()
  swaps.shut()
  accepted(await one.volume(id).delete())
  await rig.untilSo(() => swaps.waiting === 1)
  await rig.untilSo(() => service().state === 'down' && service().cleaned_incarnation === 1)
  swaps.open()
  await rig.advance(1_000)
  expect(row()).toMatchObject({ status: 'deleting', worker: 'ssd@file', incarnation: null, attempts: 0 })
  expect(rig.backend.running()).toEqual([])
  expect(rig.violations({ rested: false })).toEqual([])
  await rig.stop()
})

test('a finish that was decided before its node was declared down is refused after it (rule R5)', async () => {
  const { rig, beats, swaps, cleaning, one, id, row, service } = await watched(isEnd)
  beats.shut()
  swaps.shut()
  cleaning.shut()
  accepted(await one.volume(id).extend({ size: 9 }))
  await rig.untilSo(() => swaps.waiting === 1)
  // Down, and not cleaned yet: nobody has touched the row.
  await rig.untilSo(() => service().state === 'down')
  swaps.open()
  await rig.advance(1_000)
  expect(row()).toMatchObject({ status: 'extending', worker: 'h1@file', incarnation: 1 })
  cleaning.open()
  await rig.untilSo(() => row().operation === null)
  expect(row()).toMatchObject({ status: 'error_extending', error: { code: 'interrupted' } })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a beat that was decided before its node was declared down is refused, and that life is over (rule R5)', async () => {
  const { rig, beats, service } = await watched(() => false)
  beats.shut()
  await rig.untilSo(() => service().state === 'down')
  const down = rig.ledger.entries().at(-1)!.offset
  const beaten = rig.ledger.beat('h1@file')!.counter
  expect(beats.waiting).toBe(1)
  beats.open()
  await rig.untilSo(() => service().incarnation === 2 && service().state === 'up')
  const late = rig.ledger.of(keyOf(rig.ledger.beat('h1@file')!)).filter(({ offset }) => offset > down)
  expect(late[0]!.after).toMatchObject({ incarnation: 2, counter: beaten + 1 })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a node that beats after it was judged silent, and before it is declared down, stays up', async () => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const downs = new Gate()
  const one = await rig.start({
    nodes: ['h1'],
    seams: {
      charts: { node: neverDoubts },
      storeFor: chain(
        only('h1@file', (store) => beatsThrough(beats, store)),
        only(/^scheduler/, swapsThrough(downs, isDown)),
      ),
    },
  })
  const id = await rig.volume(one)
  rig.backend.hold()
  const extending = accepted(await one.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  beats.shut()
  downs.shut()
  await rig.untilSo(() => downs.waiting > 0)
  beats.open()
  await rig.advance(1)
  downs.open()
  await rig.advance(20_000)
  expect(rig.ledger.service('h1@file')).toMatchObject({ state: 'up', incarnation: 1 })
  rig.backend.running()[0]!.finish({ size: 2 })
  expect(endOf(await rig.until(extending.settled()))).toBe('available')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a machine that stood still proves no silence: its nodes may beat before its schedulers count again (rule R12)', async () => {
  const rig = new FaultRig({ shared: true })
  const beats = new Gate()
  const one = await rig.start({
    nodes: ['h1'],
    seams: { storeFor: only('h1@file', (store) => beatsThrough(beats, store)) },
  })
  const id = await rig.volume(one)
  rig.backend.hold()
  const extending = accepted(await one.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.start({ name: 'p2', nodes: [] })
  // Every scheduler has begun to count.
  await rig.advance(5_000)
  // The first beat after the stall takes longer than the first sweeps.
  beats.shut()
  await rig.environment.stall(20_000)
  await rig.advance(1_500)
  beats.open()
  await rig.advance(20_000)
  expect(rig.ledger.service('h1@file')).toMatchObject({ state: 'up', incarnation: 1 })
  rig.backend.running()[0]!.finish({ size: 2 })
  expect(endOf(await rig.until(extending.settled()))).toBe('available')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('cleanup_done is not written for a node that started again while its first life was cleaned (rule R6)', async () => {
  const rig = new FaultRig({ shared: true })
  const closing = new Gate()
  const counts = (store: Store) =>
    overlay(store, {
      // The last look before cleanup_done is written.
      count: async (filter) => {
        const left = await store.count(filter)
        await closing.pass()
        return left
      },
    })
  const one = await rig.start({
    nodes: ['h1'],
    settings: { schedulers: 1 },
    seams: { storeFor: only(/^scheduler/, counts) },
  })
  closing.shut()
  one.node('h1').kill()
  await rig.untilSo(() => closing.waiting === 1)
  one.node('h1').start()
  await rig.untilSo(() => rig.ledger.service('h1@file')!.incarnation === 2)
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'up')
  closing.open()
  await rig.advance(2_000)
  expect(rig.ledger.service('h1@file')).toMatchObject({
    state: 'up',
    incarnation: 2,
    cleaned_incarnation: 0,
  })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('incarnations of a host grow, whatever cluster its lives are in (rule R2)', async () => {
  const rig = new FaultRig({ shared: true })
  for (const [index, cluster] of ['ssd', 'hdd', 'ssd'].entries()) {
    const process = await rig.start({ name: `p${index}`, nodes: ['h1'], cluster })
    const up = [...rig.ledger.rows.values()].filter(({ kind, state }) => kind === 'service' && state === 'up')
    expect(up.map((row) => [row.cluster, row.incarnation])).toEqual([[cluster, index + 1]])
    await rig.until(process.stop())
  }
})

test('a node that signs off while a claim of an earlier life of it is not put right is not cleanup_done (rule R6)', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'] })
  const id = await rig.volume(runtime)
  rig.backend.holdDeaf()
  accepted(await runtime.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  runtime.node('h1').kill()
  await rig.advance(100)
  // The call of the first life runs on, so its claim waits (rule R18).
  runtime.node('h1').start()
  await rig.untilSo(() => rig.ledger.service('h1@file')!.incarnation === 2)
  await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'up')
  await rig.until(runtime.stop())
  const service = rig.ledger.service('h1@file')!
  expect(service).toMatchObject({ state: 'down', incarnation: 2 })
  expect(service.cleaned_incarnation).toBeLessThan(2)
  expect(rig.ledger.rows.get(`volume/${id}`)).toMatchObject({ status: 'deleting', incarnation: 1 })
})

test('a claim raises the mark of the row that its operation holds over the claim before it (rule R8)', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ driver: { fences: true, undoes: true } })
  const id = await rig.volume(runtime)
  rig.backend.hold()
  const made = accepted(await runtime.backup.create({ name: 'b', volume_id: id }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  const fence = () => (rig.ledger.rows.get(`volume/${id}`) as unknown as ResourceRow).fence
  const first = fence()
  expect(rig.backend.marks.get(`volume/${id}`)).toBe(first)
  rig.backend.holdDeaf()
  runtime.node(rig.backend.running()[0]!.host).kill()
  rig.backend.behave = () => undefined
  // Cleaned by the other node: what the first one may still write to the volume is refused there.
  await rig.until(made.settled())
  expect(rig.backend.marks.get(`volume/${id}`)).toBeGreaterThan(first)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('rows that can not be claimed now do not hide the others from the sweep (rule R3)', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'], settings: { mailbox: 2, concurrency: 20 } })
  const stuck: string[] = []
  for (let i = 0; i < 4; i++) stuck.push(await rig.volume(runtime, `v${i}`))
  rig.backend.holdDeaf()
  for (const id of stuck) accepted(await runtime.volume(id).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 4)
  // Each is queued again, and waits for a call that does not end (rule R18): more of them than a sweep rings.
  for (const id of stuck) accepted(await runtime.volume(id).force_delete())
  rig.backend.behave = () => undefined
  const others = await Promise.all(
    Array.from({ length: 12 }, (_, i) => runtime.volume.create({ name: `w${i}`, size: 1 })),
  )
  const ends = await rig.until(Promise.all(others.map((one) => accepted(one).settled())))
  expect(ends.map(({ row }) => row.status)).toEqual(others.map(() => 'available'))
  for (const id of stuck) expect(rig.ledger.rows.get(`volume/${id}`)).toMatchObject({ status: 'deleting' })
  await rig.stop()
})
