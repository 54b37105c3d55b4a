// One operation on the disk fails, each in turn, or all do from some point on. What was refused left no
// trace, what is unknown is wholly there or not at all, and a failed checkpoint harms nobody.

import { expect, test } from 'vitest'
import { jsonStore } from '../../store/index.ts'
import type { Store } from '../../store/store.ts'
import { FaultyDisk } from '../kit/faulty_file_system.ts'
import { put, row } from '../kit/store_contract.ts'
import { type Asked, check, rowsOf, work } from './workload.ts'

const folder = '/data'
const empty = { state: new Map(), offset: 0 }
const open = (disk: FaultyDisk): Promise<Store> =>
  jsonStore(folder, { file_system: disk.fileSystem(), checkpoint_bytes: 900, shard_rows: 3 }).open()

test.each(['EIO', 'ENOSPC', 'EROFS'])(
  '%s at any operation: refused leaves no trace, unknown is whole or absent, and reopening tells no lie that a power cut reveals',
  async (code) => {
    const met = new Set<string>()
    let operation = ''
    for (let at = 1; operation !== 'none'; at++) {
      const disk = new FaultyDisk(at)
      disk.slowness = 1 + (at % 5)
      try {
        const asked: Asked[] = []
        let lost = 0
        let opened = true
        disk.plan({ at, code, ...(at % 2 === 0 ? { written: (at * 37) % 900 } : {}) })
        const store = await open(disk).catch((error) => {
          expect(error.code).toBe('store_unusable')
          expect(error.message).toContain(folder)
          opened = false
        })
        if (store !== undefined) {
          store.onLost(() => lost++)
          await work(store, asked, 1, 30).catch((error) => expect(error.code).toBe('store_lost'))
          await store.close()
        }
        operation = disk.operations[at - 1]?.split(' ')[0] ?? 'none'
        const unknown = asked.some(({ outcome }) => outcome === 'unknown')
        expect(lost).toBe(unknown ? 1 : 0)
        if (unknown) met.add(`lost at ${operation}`)
        if (asked.some(({ outcome }) => outcome === 'refused')) met.add(`refused at ${operation}`)
        if (!opened) met.add('not opened')
        // The same machine opens it again, with all that its page cache believes; then the power fails.
        disk.plan()
        const again = await open(disk)
        const found = await check(again, empty, asked)
        disk.crash()
        const third = await open(disk)
        await check(third, found, [])
        const more: Asked[] = []
        await work(third, more, at, 3)
        await third.close()
        disk.crash()
        const fourth = await open(disk)
        await check(fourth, found, more)
        await fourth.close()
      } catch (error) {
        if (error instanceof Error)
          error.message = `${code} at ${at} (${disk.operations[at - 1]}): ${error.message}`
        throw error
      }
    }
    expect([...met].sort()).toEqual(
      code === 'EIO'
        ? ['lost at datasync', 'lost at write', 'not opened']
        : ['lost at datasync', 'not opened', 'refused at write'],
    )
  },
)

test('a full disk refuses batch after batch and shows what is on disk; with room again the store goes on', async () => {
  const disk = new FaultyDisk(1)
  const store = await open(disk)
  await put(store, row('a'))
  const told: number[] = []
  store.watch(1, ({ offset }) => told.push(offset))
  for (let turn = 0; turn < 3; turn++) {
    disk.plan({ at: disk.operations.length + 1, code: 'ENOSPC', written: 20 })
    await expect(put(store, row('a', 2))).rejects.toMatchObject({ code: 'store_refused' })
    expect(await store.get('volume/a')).toEqual(row('a'))
  }
  expect(told).toEqual([])
  expect(await put(store, row('a', 2))).toEqual({ ok: true, offset: 2 })
  await store.close()
  disk.crash()
  expect(await rowsOf(await open(disk))).toEqual(new Map([['volume/a', row('a', 2)]]))
})

test('a disk that turns read-only refuses and loses nothing; once it is writable again the store goes on', async () => {
  const disk = new FaultyDisk(1)
  const store = await open(disk)
  await put(store, row('a'))
  const from = disk.operations.length + 1
  disk.plan(...Array.from({ length: 100 }, (_, i) => ({ at: from + i, code: 'EROFS' })))
  for (let turn = 0; turn < 3; turn++)
    await expect(put(store, row('a', 2))).rejects.toMatchObject({ code: 'store_refused' })
  expect(await store.get('volume/a')).toEqual(row('a'))
  disk.plan()
  expect(await put(store, row('a', 2))).toEqual({ ok: true, offset: 2 })
  await store.close()
})

test('what stood upon a refused transaction does not commit; what did not, does', async () => {
  const disk = new FaultyDisk(1)
  const store = await open(disk)
  disk.plan({ at: disk.operations.length + 1, code: 'ENOSPC' })
  const refused = put(store, row('a')).catch(({ code }) => code)
  while (!disk.operations.at(-1)!.startsWith('write')) await Promise.resolve()
  const upon = put(store, row('a', 2)).then(
    ({ ok }) => ok,
    () => false,
  )
  const apart = put(store, row('b'))
  expect([await refused, await upon, await apart]).toEqual(['store_refused', false, { ok: true, offset: 1 }])
  expect([...(await rowsOf(store)).keys()]).toEqual(['volume/b'])
  await store.close()
})

test('after a failed sync everything rejects as lost, onLost is called once, and the same source opens again', async () => {
  const disk = new FaultyDisk(1)
  const source = jsonStore(folder, { file_system: disk.fileSystem() })
  const store = await source.open()
  let lost = 0
  store.onLost(() => {
    lost++
    throw new Error('a listener failed')
  })
  store.onLost(() => lost++)
  disk.plan({ at: disk.operations.length + 2, code: 'EIO' })
  const calls = [put(store, row('a')), put(store, row('b')), put(store, row('a', 2))]
  for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'store_lost' })
  for (const call of [put(store, row('c')), store.get('volume/a'), store.list({}), store.count({})])
    await expect(call).rejects.toMatchObject({ code: 'store_lost' })
  expect(lost).toBe(2)
  await store.close()
  const again = await source.open()
  expect((await again.get('volume/b'))?.version).toBe(await again.get('volume/a').then((found) => found && 1))
  await again.close()
})

test.each(['power cut', 'kill'])(
  'a batch that is refused after a whole line of it was written does not come back with a %s',
  async (end) => {
    const disk = new FaultyDisk(1)
    const store = await open(disk)
    await put(store, row('a'))
    const line = (text: string) => row('b', 1, { text })
    // Room enough that the first of the two lines is in the file, and the disk is full in the second.
    disk.plan({ at: disk.operations.length + 1, code: 'ENOSPC', written: 400 })
    const both = [put(store, line('x'.repeat(100))), put(store, row('c', 1, { text: 'y'.repeat(600) }))]
    for (const call of both) await expect(call).rejects.toMatchObject({ code: 'store_refused' })
    if (end === 'kill') disk.kill()
    else disk.crash(() => 'whole')
    expect([...(await rowsOf(await open(disk))).keys()]).toEqual(['volume/a'])
  },
)

test('a row that changes while a checkpoint fails is in the next one', async () => {
  const disk = new FaultyDisk(1)
  const fileSystem = disk.fileSystem()
  let tried = false
  let isFull = false
  let fail = () => {}
  const failing = new Promise<void>((resolve) => {
    fail = resolve
  })
  const create: typeof fileSystem.create = async (path) => {
    if (!isFull || !path.includes('shard')) return fileSystem.create(path)
    tried = true
    await failing
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  }
  const store = await jsonStore(folder, {
    file_system: { ...fileSystem, create },
    checkpoint_bytes: 900,
    shard_rows: 3,
  }).open()
  for (let i = 10; i < 40; i++) await put(store, row(String(i), 1, { text: 'x'.repeat(40) }))
  const manifests = () => disk.operations.filter((one) => one.startsWith('rename manifest')).length
  // The journal grows by changes of the last row alone.
  let version = 1
  const grow = () => put(store, row('39', ++version, { text: 'y'.repeat(200) }))
  isFull = true
  for (let turn = 0; !tried && turn < 100; turn++) await grow()
  expect(tried).toBe(true)
  await put(store, row('10', 2))
  fail()
  isFull = false
  const before = manifests()
  for (let turn = 0; manifests() === before && turn < 100; turn++) await grow()
  expect(manifests()).toBe(before + 1)
  await store.close()
  disk.crash()
  const again = await rowsOf(await open(disk))
  expect([again.get('volume/10'), again.size]).toEqual([row('10', 2), 30])
})
