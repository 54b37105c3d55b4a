// Quotas are counted in the swaps that take and give back: no race overruns them, no crash, failure, cancel
// or force operation leaks them. What is counted is compared with what the rows say.

import { expect, test } from 'vitest'
import type { QuotaRow } from '../../machines/quota.ts'
import type { ResourceRow } from '../../machines/row.ts'
import { accepted, endOf, FaultRig, orAborted } from '../kit/fault_rig.ts'

const project = 'lab'

/** What the rows take, counted anew. */
function taken(rows: readonly ResourceRow[]): { [resource: string]: number } {
  const volumes = rows.filter(({ kind, status }) => kind === 'volume' && status !== 'gone')
  return {
    volumes: volumes.length,
    gigabytes: volumes.reduce((sum, { data }) => sum + (data.size as number), 0),
  }
}

async function counted(runtime: { quotas(): Promise<readonly QuotaRow[]> }) {
  return (await runtime.quotas()).find(({ id }) => id === project)?.used
}

test('a hundred creates at once take a limit of ten exactly, and the others are refused with what is taken', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  await rig.until(runtime.setQuota(project, { volumes: 10 }))
  const answers = await rig.until(
    Promise.all(Array.from({ length: 100 }, () => runtime.volume.create({ name: 'v', size: 1, project }))),
  )
  expect(answers.filter(({ ok }) => ok)).toHaveLength(10)
  expect(answers.find(({ ok }) => !ok)).toMatchObject({
    resource: { kind: 'quota', id: project },
    expected: ['at most 10 volumes'],
    found: '10 volumes, and 1 asked for',
  })
  await rig.untilSo(() => rig.ledger.unrested().length === 0)
  expect(await counted(runtime)).toEqual({ volumes: 10, gigabytes: 10 })
  await rig.stop()
})

test('an extend takes what it asks for from its accept on, and gives it back when it fails', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  await rig.until(runtime.setQuota(project, { gigabytes: 10 }))
  const made = accepted(await rig.until(runtime.volume.create({ name: 'v', size: 4, project })))
  await rig.until(made.settled())
  rig.backend.hold()
  const extending = accepted(await rig.until(runtime.volume(made.id).extend({ size: 9 })))
  expect(await counted(runtime)).toEqual({ volumes: 1, gigabytes: 9 })
  expect((await rig.until(runtime.volume.create({ name: 'w', size: 2, project }))).ok).toBe(false)
  await rig.untilSo(() => rig.backend.running().length === 1)
  rig.backend.running()[0]!.fail(new Error('it broke'))
  expect(endOf(await rig.until(extending.settled()))).toBe('error_extending: driver_failed')
  expect(await counted(runtime)).toEqual({ volumes: 1, gigabytes: 4 })
  await rig.stop()
})

test('a limit lowered under what is taken lets everything end and be given back', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const made = accepted(await rig.until(runtime.volume.create({ name: 'v', size: 4, project })))
  await rig.until(made.settled())
  rig.backend.hold()
  accepted(await rig.until(runtime.volume(made.id).extend({ size: 9 })))
  await rig.until(runtime.setQuota(project, { volumes: 0, gigabytes: 1 }))
  await rig.untilSo(() => rig.backend.running().length === 1)
  rig.backend.running()[0]!.finish({ size: 9 })
  await rig.untilSo(() => rig.ledger.unrested().length === 0)
  expect(await counted(runtime)).toEqual({ volumes: 1, gigabytes: 9 })
  rig.backend.behave = () => undefined
  await rig.until(accepted(await rig.until(runtime.volume(made.id).delete())).settled())
  expect(await counted(runtime)).toEqual({ volumes: 0, gigabytes: 0 })
  await rig.stop()
})

test('crashes, cancels and force operations leak nothing', async () => {
  const rig = new FaultRig()
  const runtime = await rig.start()
  const ids: string[] = []
  for (let i = 0; i < 12; i++) {
    const made = accepted(await rig.until(runtime.volume.create({ name: 'v', size: 1, project })))
    ids.push(made.id)
  }
  await rig.untilSo(() => rig.ledger.unrested().length === 0)
  rig.backend.behave = (call) => orAborted(call)
  for (const [i, id] of ids.entries())
    await rig.until(i % 3 === 0 ? runtime.volume(id).delete() : runtime.volume(id).extend({ size: 3 }))
  await rig.untilSo(() => rig.backend.running().length > 0)
  await rig.until(runtime.cancel('volume', ids[1]!))
  runtime.node('h1').kill()
  await rig.until(runtime.volume(ids[2]!).force_delete())
  await rig.until(runtime.volume(ids[4]!).reset_status({ status: 'error' }))
  rig.backend.behave = () => undefined
  for (const call of rig.backend.running()) call.finish()
  await rig.untilSo(() => rig.ledger.unrested().length === 0)
  expect(await counted(runtime)).toEqual(taken([...rig.ledger.rows.values()] as unknown as ResourceRow[]))
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
