// Several cleaners at once: each row is put right once, losers say nothing, the work is shared, and a start
// does not wait for it (rules R2, R6, R7, R14).

import { expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import { accepted, FaultRig, Gate, only, overlay } from '../kit/fault_rig.ts'

const row = (entry: { after: unknown }) => entry.after as ResourceRow

test.each([
  { driver: 'that cannot fence', fences: false, cluster: 'h1' },
  { driver: 'that can fence', fences: true, cluster: 'ssd' },
])(
  'two schedulers and the restarted node clean the same 1,000 rows of a driver $driver at once: each row once, losers silent',
  async ({ fences, cluster }) => {
    const rig = new FaultRig({ shared: true })
    const cleaners = new Gate()
    const atClaims = (gate: Gate) =>
      only(/^(scheduler|h1@)/, (store) =>
        overlay(store, {
          list: async (filter, page) => {
            const found = await store.list(filter, page)
            // All cleaners hold the same rows in hand before the first one writes.
            if (filter.taken === true && found.rows.length > 0) await gate.pass()
            return found
          },
        }),
      )
    const settings = { concurrency: 1_000, schedulers: 2 }
    const first = await rig.start({ name: 'p1', nodes: ['h1'], cluster, driver: { fences }, settings })
    rig.backend.hold()
    const made = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => first.volume.create({ name: `v${i}`, size: 1 })),
    )
    const keys = made.map((one) => `volume/${accepted(one).id}`)
    await rig.untilSo(() => rig.backend.running().length === 1_000)
    // The process dies: nothing of it goes on, no row is put right.
    first.node('h1').kill()
    await rig.until(first.stop({ within_ms: 0 }))
    await rig.advance(100)
    rig.backend.behave = () => undefined
    cleaners.shut()
    const died_at = rig.ledger.entries().length
    // Its schedulers watch h1 until it is down; the node itself is started again at that moment.
    await rig.start({
      name: 'p2',
      nodes: ['h2'],
      cluster,
      driver: { fences },
      settings,
      seams: { storeFor: atClaims(cleaners) },
    })
    await rig.untilSo(() => rig.ledger.service('h1@file')!.state === 'down')
    await rig.untilSo(() => cleaners.waiting === 2)
    const restarting = rig.start({
      name: 'p3',
      nodes: ['h1'],
      cluster,
      driver: { fences },
      settings,
      seams: { storeFor: atClaims(cleaners) },
    })
    await rig.untilSo(() => cleaners.waiting >= 3)
    cleaners.open()
    await restarting
    await rig.untilSo(() => rig.ledger.resources().every(({ operation }) => operation === null))
    await rig.advance(10_000)

    const released = rig.ledger
      .entries()
      .slice(died_at)
      .filter(
        ({ before, after }) =>
          before?.incarnation === 1 && before.worker === 'h1@file' && after?.incarnation === null,
      )
    expect(released.map(({ key }) => key).sort()).toEqual([...keys].sort())
    for (const one of rig.ledger.resources())
      expect(one).toMatchObject({ status: 'error', error: { code: 'interrupted' } })
    expect(rig.logs.filter((line) => /could not|failed|conflict/.test(line))).toEqual([])
    expect(rig.violations()).toEqual([])
    await rig.stop()
  },
)

test('the hundred deletes of a node that went down are shared by the others, and no start waits for them', async () => {
  const rig = new FaultRig({ shared: true })
  const settings = { concurrency: 4 }
  const dying = await rig.start({ name: 'p1', nodes: ['h1'], settings: { concurrency: 100 } })
  const ids: string[] = []
  for (let i = 0; i < 100; i++) ids.push(await rig.volume(dying, `v${i}`))
  rig.backend.hold()
  await Promise.all(ids.map((id) => dying.volume(id).delete()))
  await rig.untilSo(() => rig.backend.running().length === 100)
  dying.node('h1').kill()
  await rig.until(dying.stop({ within_ms: 0 }))
  await rig.advance(100)

  const work_ms = 2_000
  rig.backend.behave = (call) =>
    new Promise<void>((resolve) => {
      rig.environment.timer(work_ms, resolve)
      void call
    })
  await rig.start({ name: 'p2', nodes: ['h2', 'h3', 'h4'], settings })
  const before = rig.environment.monotonic()
  // The node itself is back before anyone held it to be down, and takes its share.
  await rig.start({ name: 'p3', nodes: ['h1'], settings })
  const started_at = rig.environment.monotonic()
  await rig.untilSo(() => rig.ledger.resources().every(({ status }) => status === 'gone'), 120_000)
  // It watched its old life for down_after, then cleaned; it waited for none of the deletes.
  expect(started_at - before).toBeLessThan(12_000)
  const share = new Map<string, number>()
  for (const entry of rig.ledger.entries())
    if (entry.after?.status === 'gone') share.set(row(entry).host!, (share.get(row(entry).host!) ?? 0) + 1)
  expect([...share.keys()].sort()).toEqual(['h1', 'h2', 'h3', 'h4'])
  for (const count of share.values()) expect(count).toBeGreaterThanOrEqual(15)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a row whose cleanup fails stops no other; it is tried again with back-off, listed as stuck, and ends in its failed status past the limit', async () => {
  const rig = new FaultRig()
  let bad = ''
  const tries: number[] = []
  const node = (host: string) => {
    const driver = rig.backend.driver(host, { fences: true })
    const fence = async (of: ResourceRow, mark: number) => {
      if (host === 'h2' && of.id === bad) {
        tries.push(rig.environment.monotonic())
        throw new Error('the array does not answer')
      }
      await driver.fence!(of, mark)
    }
    return { cluster: 'ssd', backend: 'file', host, driver: { ...driver, fence } }
  }
  const runtime = await rig.start({ nodes: [node('h1'), node('h2')], settings: { cleanups: 4 } })
  runtime.node('h2').drain()
  rig.backend.hold()
  const made = await Promise.all([1, 2, 3].map((i) => runtime.volume.create({ name: `v${i}`, size: 1 })))
  const ids = made.map((one) => accepted(one).id)
  bad = ids[1]!
  await rig.untilSo(() => rig.backend.running().length === 3)
  runtime.node('h2').kill()
  runtime.node('h1').kill()
  await rig.advance(500)
  rig.backend.behave = () => undefined
  runtime.node('h2').start()
  await rig.untilSo(() => tries.length === 2)
  await rig.advance(500)
  const errors = async () => Promise.all(ids.map(async (id) => (await runtime.volume.get(id))!.error?.code))
  expect(await errors()).toEqual(['interrupted', undefined, 'interrupted'])
  expect(await runtime.stuck()).toMatchObject([{ id: bad, reason: 'cleanup_failing' }])
  await rig.untilSo(() => rig.ledger.resources().every(({ operation }) => operation === null))
  expect(await errors()).toEqual(['interrupted', 'cleanup_failed', 'interrupted'])
  expect((await runtime.volume.get(bad))!.status).toBe('error')
  const waits = tries.slice(1).map((at, i) => at - tries[i]!)
  expect(waits).toHaveLength(3)
  for (const [i, wait] of waits.entries()) expect(wait).toBeGreaterThanOrEqual(1_000 * 2 ** (i + 1))
  await rig.advance(10_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})

test('a cleaner that is slow puts nothing of the next life right', async () => {
  const rig = new FaultRig({ shared: true })
  const slow = new Gate()
  const first = await rig.start({ name: 'p1', nodes: ['h1'] })
  const id = await rig.volume(first)
  rig.backend.hold()
  accepted(await first.volume(id).delete())
  await rig.untilSo(() => rig.backend.running().length === 1)
  first.node('h1').kill()
  await rig.until(first.stop({ within_ms: 0 }))
  await rig.start({
    name: 'p2',
    nodes: ['h2'],
    seams: {
      storeFor: only(/^scheduler/, (store) =>
        overlay(store, {
          list: async (filter, page) => {
            const found = await store.list(filter, page)
            if (filter.taken === true && found.rows.length > 0) await slow.pass()
            return found
          },
        }),
      ),
    },
  })
  slow.shut()
  await rig.untilSo(() => slow.waiting === 2)
  // Meanwhile the node is back, cleans its own, and claims the same row in its next life.
  const third = await rig.start({ name: 'p3', nodes: ['h1'] })
  await rig.untilSo(() => rig.backend.running().length === 1)
  await rig.advance(500)
  const claimed = await third.volume.get(id)
  slow.open()
  await rig.advance(3_000)
  const fence = (await third.volume.get(id))!.fence
  expect(fence).toBe(claimed!.fence)
  rig.backend.running()[0]!.finish()
  await rig.untilSo(() => rig.ledger.rows.get(`volume/${id}`)!.status === 'gone')
  await rig.advance(10_000)
  expect(rig.violations()).toEqual([])
  await rig.stop()
})
