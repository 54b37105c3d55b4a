// The power fails, or the process is killed, at every operation on the disk in turn. Whoever opens the
// folder again finds all that was acknowledged, nothing that was refused, and of the rest whole
// transactions; and can go on. A failure names the seed and the operation.

import { expect, test } from 'vitest'
import { jsonStore } from '../../store/index.ts'
import type { Store } from '../../store/store.ts'
import { type Fate, FaultyDisk } from '../kit/faulty_file_system.ts'
import { put, row } from '../kit/store_contract.ts'
import { type Asked, ask, check, work } from './workload.ts'

const folder = '/data'
const empty = { state: new Map(), offset: 0 }

/** Small checkpoints and shards, so that a short workload has many of both. */
const open = (disk: FaultyDisk): Promise<Store> =>
  jsonStore(folder, { file_system: disk.fileSystem(), checkpoint_bytes: 900, shard_rows: 3 }).open()

/** One life of a process: it opens, works and closes, unless it dies before that. */
async function live(disk: FaultyDisk, asked: Asked[], seed: number, bursts: number): Promise<void> {
  const store = await open(disk)
  await work(store, asked, seed, bursts)
  await store.close()
}

/** About how many operations a life takes. */
async function operationsOf(seed: number, bursts: number): Promise<number> {
  const disk = new FaultyDisk(seed)
  await live(disk, [], seed, bursts)
  return disk.operations.length
}

/** Runs `body` and says where it was if it fails. */
async function told(where: () => string, body: () => Promise<unknown>): Promise<void> {
  try {
    await body()
  } catch (error) {
    if (error instanceof Error) error.message = `${where()}: ${error.message}`
    throw error
  }
}

for (const end of ['power cut', 'kill'] as const)
  for (const seed of end === 'kill' ? [1] : [1, 2, 3])
    test(`a ${end} at any operation takes back nothing that was acknowledged (seed ${seed})`, async () => {
      const operations = await operationsOf(seed, 30)
      expect(operations).toBeGreaterThan(100)
      for (let at = 1; at <= operations; at++) {
        const disk = new FaultyDisk(seed * 100_000 + at)
        // Other interleavings of batches and checkpoints.
        disk.slowness = 4 * seed - 3
        const where = () => `seed ${seed}, died at ${at} (${disk.operations[at - 1]})`
        await told(where, async () => {
          const asked: Asked[] = []
          const died = disk.plan({ at, code: 'die' })
          await Promise.race([died, live(disk, asked, seed, 30)])
          if (end === 'power cut') disk.crash()
          else disk.kill()
          const store = await open(disk)
          const found = await check(store, empty, asked)
          const more: Asked[] = []
          await work(store, more, at, 3)
          await store.close()
          disk.crash()
          const again = await open(disk)
          await check(again, found, more)
          await again.close()
        })
      }
    })

test('a power cut at any operation of the reopening after a power cut does no more harm than the first', async () => {
  const seed = 7
  const operations = await operationsOf(seed, 12)
  for (let first = 5; first <= operations; first += 13) {
    for (let second = 1; ; second++) {
      const disk = new FaultyDisk(seed * 1_000_000 + first * 1_000 + second)
      let recovered = false
      const where = () => `died at ${first} and at ${second} of reopening (${disk.operations.at(-1)})`
      await told(where, async () => {
        const asked: Asked[] = []
        await Promise.race([disk.plan({ at: first, code: 'die' }), live(disk, asked, seed, 12)])
        disk.crash()
        const died = disk.plan({ at: disk.operations.length + second, code: 'die' })
        // What this life shows is a promise as well: the next one must not take it back.
        let shown = empty
        await Promise.race([
          died,
          open(disk).then(async (store) => {
            shown = await check(store, empty, asked)
            recovered = true
          }),
        ])
        disk.crash()
        const store = await open(disk)
        const found = await check(store, empty, asked)
        expect(found.offset).toBeGreaterThanOrEqual(shown.offset)
        await store.close()
      })
      if (recovered) break
    }
  }
})

test('a last batch that is torn at any byte is there up to its last whole transaction', async () => {
  const run = async (fate: Fate) => {
    const disk = new FaultyDisk(11)
    const store = await open(disk)
    const asked: Asked[] = []
    await put(store, row('before'))
    const died = disk.plan({ at: disk.operations.length + 2, code: 'die' })
    const burst = Array.from({ length: 4 }, (_, i) =>
      ask(
        store,
        asked,
        [{ key: `volume/${i}`, version: 0 }],
        [{ put: row(String(i), 1, { text: 'ü'.repeat(20 * i) }) }],
      ),
    )
    await Promise.race([died, Promise.all(burst)])
    expect(disk.operations.at(-1)).toMatch('datasync')
    disk.crash(() => fate)
    const again = await open(disk)
    const before = { state: new Map([['volume/before', row('before')]]), offset: 1 }
    const { offset } = await check(again, before, asked)
    expect(await put(again, row('after'))).toEqual({ ok: true, offset: offset + 1 })
    await again.close()
    return offset - 1
  }
  const kept: number[] = []
  for (let first = 0; kept.at(-1) !== 4; first++) kept.push(await run({ first }))
  expect([...new Set(kept)]).toEqual([0, 1, 2, 3, 4])
})

test('a sector of the last batch that is lost while a later one is kept takes whole transactions with it', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const disk = new FaultyDisk(seed)
    await told(
      () => `seed ${seed}`,
      async () => {
        const store = await open(disk)
        const asked: Asked[] = []
        const died = disk.plan({ at: disk.operations.length + 2, code: 'die' })
        const burst = Array.from({ length: 9 }, (_, i) =>
          ask(
            store,
            asked,
            [{ key: `volume/${i}`, version: 0 }],
            [{ put: row(String(i), 1, { text: 'x'.repeat(400) }) }],
          ),
        )
        await Promise.race([died, Promise.all(burst)])
        disk.crash(() => 'sectors')
        const again = await open(disk)
        await check(again, empty, asked)
        await again.close()
      },
    )
  }
})

test('a look at a row that is about to be durable is answered when it is, and not at all after a crash', async () => {
  const disk = new FaultyDisk(5)
  const store = await open(disk)
  await put(store, row('a'))
  const died = disk.plan({ at: disk.operations.length + 2, code: 'die' })
  const answered: string[] = []
  const change = put(store, row('a', 2)).then(() => answered.push('change'))
  // Nothing is changed by it, and it binds the version that is not durable yet.
  const look = store.transact([{ key: 'volume/a', version: 2 }], []).then(() => answered.push('look'))
  await Promise.race([died, change, look])
  await new Promise((resolve) => setImmediate(resolve))
  expect(disk.operations.at(-1)).toMatch('datasync')
  expect(answered).toEqual([])
  disk.crash(() => 'lost')
  const again = await open(disk)
  expect(await again.get('volume/a')).toEqual(row('a'))
  const both = [put(again, row('a', 2)), again.transact([{ key: 'volume/a', version: 2 }], [])]
  expect(await Promise.all(both)).toEqual([
    { ok: true, offset: 2 },
    { ok: true, offset: 2 },
  ])
  await again.close()
})
