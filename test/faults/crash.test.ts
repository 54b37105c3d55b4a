// A process dies at a numbered crash point of runtime/commit.ts, and another one opens the same store: what
// was acknowledged is there and ends at rest, what was refused left no trace, nothing runs twice under one
// fence. 1: before the swap. 2: after it, before anything is run. 3: between the commands.

import { expect, test } from 'vitest'
import { accepted, FaultRig } from '../kit/fault_rig.ts'
import { Mortal } from '../kit/mortal.ts'

const moments = ['accept', 'claim', 'finish', 'instant'] as const

/** Some of everything: creates, a held volume, requeued and restored operations, an instant one. */
async function story(
  rig: FaultRig,
  mortal: Mortal,
  { fences, cluster }: { fences: boolean; cluster: string },
  acknowledged: Map<string, string>,
) {
  const runtime = await rig.start({
    name: 'mortal',
    nodes: ['h1'],
    cluster,
    driver: { fences, undoes: fences },
    seams: mortal.seams,
  })
  const said = async (name: string, call: () => Promise<unknown>): Promise<string | null> => {
    const answer = (await Promise.race([call(), until(rig, () => mortal.crashed)])) as
      | { ok: true; id: string }
      | { ok: false }
      | undefined
    if (answer === undefined || mortal.crashed) return null
    const id = accepted(answer).id
    acknowledged.set(name, id)
    return id
  }
  const rest = () =>
    rig.untilSo(() => mortal.crashed || rig.ledger.resources().every(({ operation }) => operation === null))
  const volume = await said('create', () =>
    runtime.volume.create({ name: 'v', size: 1 }, { request_id: 'create' }),
  )
  await rest()
  if (volume === null) return
  await said('attach', () =>
    runtime.volume(volume).attach({ host: 'a', device: 'b' }, { request_id: 'attach' }),
  )
  await said('detach', () => runtime.volume(volume).detach(undefined, { request_id: 'detach' }))
  await said('extend', () => runtime.volume(volume).extend({ size: 2 }, { request_id: 'extend' }))
  await rest()
  const backup = await said('backup', () =>
    runtime.backup.create({ name: 'b', volume_id: volume }, { request_id: 'backup' }),
  )
  await rest()
  if (backup === null) return
  await said('restore', () =>
    runtime.backup(backup).restore({ volume_id: volume }, { request_id: 'restore' }),
  )
  await rest()
  await said('delete', () => runtime.volume(volume).delete(undefined, { request_id: 'delete' }))
  await rest()
}

async function until(rig: FaultRig, so: () => boolean): Promise<undefined> {
  for (let i = 0; i < 2_000 && !so(); i++) await rig.environment.settle()
  return undefined
}

const crashes = moments.flatMap((moment) =>
  ([1, 2] as const).flatMap((point) =>
    Array.from({ length: moment === 'instant' ? 2 : 5 }, (_, i) => ({ moment, point, nth: i + 1 })),
  ),
)

test.each(crashes)(
  'a process that dies at crash point $point of $moment number $nth loses nothing that it acknowledged',
  async ({ moment, point, nth }) => {
    // In a cluster named as its first host, queued and taken have the same text (rule R17).
    for (const { fences, cluster } of [
      { fences: false, cluster: 'ssd' },
      { fences: false, cluster: 'h1' },
      { fences: true, cluster: 'h1' },
    ]) {
      const rig = new FaultRig({ shared: true })
      const mortal = new Mortal(moment, nth, point)
      const acknowledged = new Map<string, string>()
      await story(rig, mortal, { fences, cluster }, acknowledged)
      expect(mortal.crashed).toBe(true)
      const trace = rig.ledger.entries().at(-1)
      void trace
      const next = await rig.start({
        name: 'next',
        nodes: ['h2'],
        cluster,
        driver: { fences, undoes: fences },
      })
      await rig.advance(30_000)
      // Acknowledged: its request row is there and says how it ended.
      for (const [name, id] of acknowledged) {
        const request = rig.ledger.rows.get(`request/${name}`)
        expect(request, name).toMatchObject({ resource: { id } })
        expect(request!.settled, name).not.toBe(null)
      }
      // Not acknowledged: it stands there as a whole and has ended, or has left no trace.
      for (const row of rig.ledger.rows.values())
        if (row.kind === 'request') expect(row.settled).not.toBe(null)
      const runs = rig.backend.calls.map((call) => `${call.key} ${call.fence}`)
      expect(new Set(runs).size).toBe(runs.length)
      expect(rig.violations()).toEqual([])
      // And the system works on.
      await rig.volume(next)
      await rig.stop()
    }
  },
)

test.each([
  { moment: 'put right', fences: false, operation: 'extend' },
  { moment: 'requeue', fences: false, operation: 'delete' },
  { moment: 'queue a cleanup', fences: true, operation: 'extend' },
  { moment: 'claim of a cleanup', fences: true, operation: 'extend' },
])(
  'a cleaner that dies at crash point 1 or 2 of "$moment" is followed by another one',
  async ({ moment, fences, operation }) => {
    for (const point of [1, 2] as const) {
      const rig = new FaultRig({ shared: true })
      const driver = { fences, undoes: fences }
      const first = await rig.start({ name: 'p1', nodes: ['h1'], driver })
      const ids = [await rig.volume(first, 'a'), await rig.volume(first, 'b'), await rig.volume(first, 'c')]
      rig.backend.hold()
      for (const id of ids)
        accepted(
          operation === 'delete'
            ? await first.volume(id).delete()
            : await first.volume(id).extend({ size: 2 }),
        )
      await rig.untilSo(() => rig.backend.running().length === 3)
      await rig.until(first.stop({ within_ms: 0 }))
      rig.backend.behave = () => undefined
      const mortal = new Mortal(moment, 2, point)
      await rig.start({ name: 'mortal', nodes: ['h2'], driver, seams: mortal.seams })
      await rig.untilSo(() => mortal.crashed)
      await rig.start({ name: 'p3', nodes: ['h3'], driver })
      await rig.advance(60_000)
      const ends = ids.map((id) => rig.ledger.rows.get(`volume/${id}`)!.status)
      expect(new Set(ends)).toEqual(new Set([operation === 'delete' ? 'gone' : 'error_extending']))
      expect(rig.violations()).toEqual([])
      await rig.stop()
    }
  },
)

test('crash point 3: an abort and a doorbell that reached nobody are made up for', async () => {
  const rig = new FaultRig({ shared: true })
  const first = await rig.start({ name: 'p1', nodes: ['h1'], driver: { fences: true } })
  const id = await rig.volume(first)
  rig.backend.holdDeaf()
  const extended = accepted(await first.volume(id).extend({ size: 2 })).settled()
  await rig.untilSo(() => rig.backend.running().length === 1)
  const [old] = rig.backend.running()
  // A force operation has two commands, abort and ring. The process that accepts it has neither the call nor
  // a node, so it is as if it had died before both.
  const api = await rig.start({ name: 'p2', nodes: [] })
  const deleting = accepted(await api.volume(id).force_delete())
  await rig.untilSo(() => rig.backend.running().length === 2)
  old!.finish({ size: 2 })
  await rig.advance(500)
  expect(await api.volume.get(id)).toMatchObject({ status: 'deleting', data: { size: 1 } })
  rig.backend.running()[0]!.finish()
  expect((await rig.until(deleting.settled())).row.status).toBe('gone')
  expect(await rig.until(extended)).toMatchObject({ ok: false, error: { code: 'forced' } })
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a cancel or force operation of another process aborts the call where it runs', async () => {
  const rig = new FaultRig({ shared: true })
  const first = await rig.start({ name: 'p1', nodes: ['h1'] })
  const [a, b] = [await rig.volume(first, 'a'), await rig.volume(first, 'b')]
  rig.backend.hold()
  const extending = accepted(await first.volume(a).extend({ size: 2 }))
  accepted(await first.volume(b).extend({ size: 2 }))
  await rig.untilSo(() => rig.backend.running().length === 2)
  const api = await rig.start({ name: 'p2', nodes: [] })
  accepted(await api.volume(a).cancel())
  expect(await rig.until(extending.settled(), 1_000)).toMatchObject({
    ok: false,
    error: { code: 'cancelled' },
  })
  accepted(await api.volume(b).reset_status({ status: 'error' }))
  await rig.advance(100)
  expect(rig.backend.running()).toEqual([])
  expect((await api.volume.get(b))!.status).toBe('error')
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
