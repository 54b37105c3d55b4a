// What the runtime counts of itself agrees with what happened to it: callers, nodes and rows are driven in
// virtual time, and the numbers are compared.

import { expect, test } from 'vitest'
import { MEASURES, type Measured, type MeasureName } from '../../runtime/index.ts'
import { accepted, FaultRig } from '../kit/fault_rig.ts'

/** One sample's value or count: of all that have these labels. */
function total(measured: Measured, name: MeasureName, labels: Record<string, string> = {}): number {
  return measured[name]
    .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
    .reduce((sum, sample) => sum + ('value' in sample ? sample.value : sample.count), 0)
}

test('accepts, claims, ends and refusals are counted by kind, operation and outcome', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  expect(await runtime.volume(id).detach()).toMatchObject({ ok: false })
  expect(await runtime.volume(id).extend({ size: 1 })).toMatchObject({ ok: false, guard: 'isLarger' })
  await expect(runtime.volume(id).extend({ size: -1 })).rejects.toThrow()
  rig.backend.behave = () => {
    throw new Error('broken')
  }
  await rig.until(accepted(await runtime.volume(id).extend({ size: 2 }, { request_id: 'r' })).settled())
  accepted(await runtime.volume(id).extend({ size: 2 }, { request_id: 'r' }))

  const measured = await rig.until(runtime.measures())
  const create = { kind: 'volume', operation: 'create' }
  const extend = { kind: 'volume', operation: 'extend' }
  expect(total(measured, 'accepted', create)).toBe(1)
  expect(total(measured, 'accepted', extend)).toBe(1)
  expect(total(measured, 'accepted')).toBe(2)
  expect(total(measured, 'repeated')).toBe(1)
  expect(total(measured, 'claims', create)).toBe(1)
  expect(total(measured, 'operation_seconds', { ...create, outcome: 'done' })).toBe(1)
  expect(total(measured, 'operation_seconds', { ...extend, outcome: 'failed' })).toBe(1)
  expect(total(measured, 'operation_seconds')).toBe(2)
  expect(total(measured, 'queued_seconds')).toBe(2)
  expect(total(measured, 'refused', { operation: 'detach', step: 'accept', reason: 'status' })).toBe(1)
  expect(total(measured, 'refused', { operation: 'extend', step: 'accept', reason: 'isLarger' })).toBe(1)
  expect(total(measured, 'errors', { code: 'bad_input' })).toBe(1)
  expect(total(measured, 'commit_seconds', { step: 'accept', outcome: 'committed' })).toBe(2)
  expect(total(measured, 'commit_seconds', { step: 'finish', outcome: 'committed' })).toBe(2)
  await rig.stop()
})

test('what is queued, in hand and waited for is told, and the age of each heartbeat', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1'], settings: { concurrency: 1 } })
  rig.backend.hold()
  for (const name of ['a', 'b', 'c']) accepted(await runtime.volume.create({ name, size: 1 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.advance(1_000)
  const measured = await rig.until(runtime.measures())
  expect(total(measured, 'queued', { topic: 'ssd@file' })).toBe(2)
  expect(total(measured, 'in_flight', { node: 'h1@file' })).toBe(1)
  expect(total(measured, 'waits')).toBe(3)
  expect(total(measured, 'nodes', { state: 'up' })).toBe(1)
  expect(total(measured, 'store_open')).toBe(1)
  expect(total(measured, 'store_offset')).toBe(runtime.offset())
  const [age] = measured.heartbeat_age_seconds
  expect(age!.labels).toEqual({ node: 'h1@file' })
  expect(total(measured, 'heartbeat_age_seconds')).toBeLessThanOrEqual(2)
  await rig.stop()
})

test('a node that ends, its cleanup, and attempts that are used up are counted', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start({ nodes: ['h1', 'h2', 'h3', 'h4', 'h5'] })
  const id = await rig.volume(runtime)
  rig.backend.behave = (call) => {
    runtime.node(call.host).kill()
    throw call.context.signal.reason
  }
  await rig.until(accepted(await runtime.volume(id).delete()).settled(), 120_000)
  const measured = await rig.until(runtime.measures())
  const labels = { kind: 'volume', operation: 'delete' }
  expect(total(measured, 'attempts_used_up', labels)).toBe(1)
  expect(total(measured, 'operation_seconds', { ...labels, outcome: 'attempts_used_up' })).toBe(1)
  expect(total(measured, 'claims', labels)).toBe(3)
  expect(total(measured, 'cleanups', labels)).toBe(3)
  expect(total(measured, 'lives_ended', { state: 'killed' })).toBe(3)
  expect(total(measured, 'nodes_downed')).toBe(3)
  await rig.stop()
})

test('while the store is lost the counts stand, and what only rows could tell has no samples', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  await rig.volume(runtime)
  rig.faults.lose('EIO')
  await rig.advance(100)
  const measured = await rig.until(runtime.measures())
  expect(total(measured, 'store_open')).toBe(0)
  expect(total(measured, 'store_losses')).toBe(1)
  expect(total(measured, 'accepted')).toBe(1)
  expect(measured.queued).toEqual([])
  expect(Object.keys(measured).sort()).toEqual(Object.keys(MEASURES).sort())
  rig.faults.back()
  await rig.advance(5_000)
  await rig.stop()
})
