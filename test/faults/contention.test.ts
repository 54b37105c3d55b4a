// Many commits of one process want the same row at once: each loses to the one before it, so without turns
// a thousand of them would read and decide a million times, and the last ones give up.

import { expect, test } from 'vitest'
import { FaultRig } from '../kit/fault_rig.ts'

test('1,500 snapshots asked of one volume at once are all accepted, and all are made', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const id = await rig.volume(runtime)
  const asked = Array.from({ length: 1_500 }, () => runtime.snapshot.create({ name: 's', volume_id: id }))
  const answers = await rig.until(Promise.all(asked))
  expect(answers.filter(({ ok }) => !ok)).toEqual([])
  await rig.untilSo(() => rig.ledger.unrested().length === 0)
  const { rows } = await runtime.snapshot.list({ status: 'available', limit: 2_000 })
  expect(rows.length).toBe(1_500)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
