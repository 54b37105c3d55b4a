import { expect, test } from 'vitest'
import { backup, snapshot, volume } from '../../machines/index.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { memoryStore } from '../../store/index.ts'
import { VirtualEnvironment } from '../kit/virtual_environment.ts'

const driver = {
  operations: {
    volume: {
      create: async () => {},
      extend: async (c: any) => ({ size: c.input.size }),
      delete: async () => {},
      force_delete: async () => {},
    },
    snapshot: { create: async () => {}, delete: async () => {} },
    backup: { create: async () => {}, restore: async () => {}, delete: async () => {} },
  },
} as any
test('an operation goes from accept to rest', async () => {
  const environment = new VirtualEnvironment()
  const logs: string[] = []
  const starting = createRuntime({
    store: memoryStore(),
    resources: [volume, snapshot, backup],
    environment,
    log: (m) => logs.push(m),
    nodes: ['h1', 'h2', 'h3'].map((host) => ({ cluster: 'ssd', backend: 'file', host, driver })),
  })
  const runtime = await environment.until(starting)
  const made = await runtime.volume.create({ name: 'a', size: 1 })
  if (!made.ok) throw new Error(made.message)
  const s = await environment.until(made.settled())
  expect(s.row.status).toBe('available')
  const e = await runtime.volume(made.id).extend({ size: 2 })
  if (!e.ok) throw new Error(e.message)
  expect((await environment.until(e.settled())).row.data.size).toBe(2)
  const snap = await runtime.snapshot.create({ name: 's', volume_id: made.id })
  if (!snap.ok) throw new Error(snap.message)
  await environment.until(snap.settled())
  const no = await runtime.volume(made.id).delete()
  expect(no).toMatchObject({ ok: false, guard: 'hasNoSnapshots' })
  const b = await runtime.backup.create({ name: 's', volume_id: made.id })
  if (!b.ok) throw new Error(b.message)
  expect((await runtime.volume.get(made.id))?.status).toBe('backing-up')
  await environment.until(b.settled())
  expect((await runtime.volume.get(made.id))?.status).toBe('available')
  const d = await runtime.snapshot(snap.id).delete()
  if (!d.ok) throw new Error(d.message)
  await environment.until(d.settled())
  expect((await runtime.volume.get(made.id))?.children).toEqual({})
  await environment.advance(30_000)
  console.log(runtime.nodes(), await runtime.clusters(), logs)
  await environment.until(runtime.stop())
})
