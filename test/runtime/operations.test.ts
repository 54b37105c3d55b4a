import { expect, test } from 'vitest'
import { backup, snapshot, volume } from '../../machines/index.ts'
import type { Driver } from '../../runtime/driver.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { memoryStore, type Store, StoreError, type StoreSource } from '../../store/index.ts'
import { VirtualEnvironment } from '../kit/virtual_environment.ts'

const driver: Driver = {
  operations: {
    volume: {
      create: async () => {},
      extend: async ({ input }) => ({ size: input.size! }),
      delete: async () => {},
    },
    snapshot: { create: async () => {}, delete: async () => {} },
    backup: { create: async () => {} },
  },
}

test('an operation goes from accept to rest', async () => {
  const environment = new VirtualEnvironment()
  const starting = createRuntime({
    store: memoryStore(),
    resources: [volume, snapshot, backup],
    environment,
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
  await environment.until(runtime.stop())
})

test('the late finish of an older claim does not take a newer claim of the same node along', async () => {
  const environment = new VirtualEnvironment()
  const settle: (() => void)[] = []
  const waiting = () => new Promise<void>((resolve) => settle.push(resolve))
  const slow: Driver = {
    operations: { volume: { create: waiting, force_delete: waiting } },
    fence: async () => {},
  }
  // The finish of the create is on its way to the store until the test lets it arrive.
  let arrive = () => {}
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const storeFor = (_: string, store: Store): Store => ({
    ...boundStore(store),
    async transact(expect, changes) {
      if (changes.some((change) => 'put' in change && change.put.status === 'available')) await arrived
      return store.transact(expect, changes)
    },
  })
  const runtime = await environment.until(
    createRuntime(
      {
        store: memoryStore(),
        resources: [volume],
        environment,
        nodes: [{ backend: 'file', host: 'h1', driver: slow }],
      },
      { storeFor },
    ),
  )
  const made = await runtime.volume.create({ name: 'a', size: 1 })
  if (!made.ok) throw new Error(made.message)
  await environment.advance(100)
  settle[0]!()
  await environment.advance(100)
  const forced = await runtime.volume(made.id).force_delete()
  if (!forced.ok) throw new Error(forced.message)
  await environment.advance(100)
  arrive()
  await environment.advance(100)
  settle[1]!()
  expect((await environment.until(forced.settled())).row.status).toBe('gone')
  await environment.until(runtime.stop())
})

test('how an operation ended is told however late it is asked for', async () => {
  const environment = new VirtualEnvironment()
  const runtime = await environment.until(
    createRuntime({
      store: memoryStore(),
      resources: [volume],
      environment,
      nodes: [{ backend: 'file', host: 'h1', driver }],
    }),
  )
  const made = await runtime.volume.create({ name: 'a', size: 1 })
  if (!made.ok) throw new Error(made.message)
  await environment.until(made.settled())
  const extended = await runtime.volume(made.id).extend({ size: 2 })
  if (!extended.ok) throw new Error(extended.message)
  await environment.advance(1_000)
  const deleted = await runtime.volume(made.id).delete()
  if (!deleted.ok) throw new Error(deleted.message)
  await environment.until(deleted.settled())
  // The volume is gone by now; the extend was done all the same.
  const late = await environment.until(extended.settled())
  expect(late).toMatchObject({ ok: true, row: { status: 'available', data: { size: 2 } } })
  await environment.until(runtime.stop())
})

test('a drained node takes nothing, and works again when it is started', async () => {
  const environment = new VirtualEnvironment()
  const runtime = await environment.until(
    createRuntime({
      store: memoryStore(),
      resources: [volume],
      environment,
      nodes: [{ backend: 'file', host: 'h1', driver }],
    }),
  )
  runtime.node('h1').drain()
  const made = await runtime.volume.create({ name: 'a', size: 1 })
  if (!made.ok) throw new Error(made.message)
  await environment.advance(10_000)
  expect(await runtime.volume.get(made.id)).toMatchObject({ status: 'creating', incarnation: null })
  runtime.node('h1').start()
  expect((await environment.until(made.settled())).row.status).toBe('available')
  expect(runtime.nodes()).toMatchObject([{ incarnation: 1, here: { state: 'up' } }])
  await environment.until(runtime.stop())
})

test('a commit whose outcome was unknown when the store was lost is told once the store is back', async () => {
  const environment = new VirtualEnvironment()
  const inner = memoryStore({ exclusive: false })
  let loseWithNext = false
  const source: StoreSource = {
    name: 'a store that is lost in the middle of a commit',
    async open() {
      const store = await inner.open()
      let lost = false
      let tellLost = (_: unknown) => {}
      return {
        ...boundStore(store),
        exclusive: true,
        watch: (from, listener) => store.watch(from, (commit) => !lost && listener(commit)),
        onLost: (listener) => {
          tellLost = listener
        },
        async transact(expect, changes) {
          if (lost) throw new StoreError('store_lost', 'the disk is gone')
          if (!loseWithNext || !changes.some((c) => 'put' in c && c.put.kind === 'volume'))
            return store.transact(expect, changes)
          loseWithNext = false
          lost = true
          await store.transact(expect, changes)
          tellLost(new Error('the disk is gone'))
          throw new StoreError('store_lost', 'the disk is gone')
        },
      }
    },
  }
  const runtime = await environment.until(
    createRuntime({
      store: source,
      resources: [volume],
      environment,
      nodes: [{ backend: 'file', host: 'h1', driver }],
    }),
  )
  const told: string[] = []
  runtime.watch((event) => {
    if (event.type === 'change' && event.row?.kind === 'volume')
      told.push(`${event.row.version} ${String(event.row.status)}`)
  })
  loseWithNext = true
  await expect(runtime.volume.create({ name: 'a', size: 1 })).rejects.toMatchObject({ code: 'store_lost' })
  await environment.advance(20_000)
  expect(told).toEqual(['1 creating', '2 creating', '3 available'])
  await environment.until(runtime.stop())
})

function boundStore(store: Store): Store {
  return {
    exclusive: store.exclusive,
    get: (key) => store.get(key),
    list: (filter, page) => store.list(filter, page),
    count: (filter) => store.count(filter),
    transact: (expect, changes) => store.transact(expect, changes),
    offset: () => store.offset(),
    watch: (from, listener) => store.watch(from, listener),
    onLost: (listener) => store.onLost(listener),
    close: () => store.close(),
  }
}
