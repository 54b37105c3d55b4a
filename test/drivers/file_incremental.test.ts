// Backups against a parent, backups of snapshots, and what a restore reads through a chain of them: over real
// files, crashed, stalled and aborted everywhere, with every link damaged in turn.

import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { JsonObject, ResourceRow } from '../../machines/row.ts'
import { checksum, fileDriver, strayFiles } from '../../runtime/drivers/file.ts'
import { type DriverStep, driverContract, rowOf } from '../kit/driver_contract.ts'
import {
  abortEverywhere,
  backup,
  backupData,
  crashEverywhere,
  emptyFolder,
  imageOf,
  KIB,
  leftIn,
  look,
  PIECES,
  removeFolders,
  run,
  type Scene,
  SIZE,
  scatter,
  snapshot,
  snapshotData,
  stallEverywhere,
  started,
  target,
  volume,
  volumeData,
  withSnapshot,
  withVolume,
} from './file_rig.ts'

afterEach(removeFolders)

const volumeRow = rowOf(volume, volumeData, { fence: 1 })
const snapshotRow = rowOf(snapshot, snapshotData, { fence: 1 })
const targetRow = rowOf(target, { name: 'copy', size: 2 * SIZE }, { fence: 1 })

function given(...relatedRows: readonly ResourceRow[]) {
  return { relatedRows, related: Object.fromEntries(relatedRows.map((row) => [row.kind, row])) }
}

const childData = (id: string) => ({ name: id, volume_id: 'v1', parent_id: `b${Number(id.slice(1)) - 1}` })

/** Backs the volume up as `id`, against the backup before it unless it is b1. Tells its row as it is then. */
async function backUp(folder: string, id: string, parent?: ResourceRow): Promise<ResourceRow> {
  const data = parent === undefined ? backupData : childData(id)
  const row = rowOf({ kind: 'backup', id }, data, { fence: 1 })
  const rows = parent === undefined ? given(volumeRow) : given(volumeRow, parent)
  const facts = await run(await started(folder), 'create', row, rows)
  return { ...row, data: { ...data, ...(facts as JsonObject) } }
}

async function chunksOf(folder: string, id: string): Promise<string[]> {
  return (await fs.readdir(join(folder, 'backups', id))).filter((name) => name.endsWith('.gz')).sort()
}

/** A whole backup and two against it, the volume changed before each; and a volume to restore into. */
async function withChain(folder: string): Promise<ResourceRow[]> {
  await withVolume(folder)
  const first = await backUp(folder, 'b1')
  await scatter(folder, 'v1', [17 * KIB])
  const second = await backUp(folder, 'b2', first)
  await scatter(folder, 'v1', [40 * KIB])
  const third = await backUp(folder, 'b3', second)
  await run(await started(folder), 'create', targetRow)
  await scatter(folder, 'v2', [1000])
  return [first, second, third]
}

function restore(folder: string, row: ResourceRow, fence = 2): Promise<JsonObject | void> {
  const into = { input: { volume_id: 'v2' }, ...given({ ...targetRow, fence }) }
  return started(folder).then((driver) => run(driver, 'restore', { ...row, fence }, into))
}

/** The target's content as far as the volume goes. */
async function restored(folder: string): Promise<Buffer> {
  return (await fs.readFile(imageOf(folder, 'v2'))).subarray(0, SIZE * 2 ** 30)
}

describe('the contract', () => {
  const story: DriverStep[] = [
    { ref: volume, operation: 'create', makes: volumeData },
    { ref: snapshot, operation: 'create', makes: snapshotData, related: [volume] },
    { ref: backup, operation: 'create', makes: backupData, related: [volume] },
    {
      ref: { kind: 'backup', id: 'b2' },
      operation: 'create',
      makes: childData('b2'),
      related: [volume, backup],
    },
    {
      ref: { kind: 'backup', id: 'b9' },
      operation: 'create',
      makes: { name: 'frozen', snapshot_id: 's1' },
      related: [snapshot],
    },
    {
      ref: { kind: 'backup', id: 'b2' },
      operation: 'restore',
      input: { volume_id: 'v1' },
      related: [volume],
    },
    { ref: { kind: 'backup', id: 'b2' }, operation: 'delete' },
    { ref: backup, operation: 'delete' },
  ]
  const open = async () => {
    const folder = await emptyFolder()
    return { driver: fileDriver(folder, PIECES), look: () => look(folder), close: async () => {} }
  }
  for (const { title, run } of driverContract({ story, open })) test(title, run)
})

const SCENES: Scene[] = [
  {
    title: 'incremental backup create',
    operation: 'create',
    row: rowOf({ kind: 'backup', id: 'b2' }, childData('b2'), { fence: 2 }),
    given: given(volumeRow, rowOf(backup, backupData, { fence: 1 })),
    takes_back: true,
    prepare: async (folder) => {
      await withVolume(folder)
      await backUp(folder, 'b1')
      await scatter(folder, 'v1', [17 * KIB])
    },
  },
  {
    title: 'backup create of a snapshot',
    operation: 'create',
    row: rowOf(backup, { name: 'frozen', snapshot_id: 's1' }, { fence: 2 }),
    given: given(snapshotRow),
    takes_back: true,
    prepare: async (folder) => {
      await withSnapshot(folder)
      await scatter(folder, 'v1', [17 * KIB])
    },
  },
  {
    title: 'restore through a chain',
    operation: 'restore',
    row: rowOf({ kind: 'backup', id: 'b3' }, childData('b3'), { fence: 2 }),
    given: { input: { volume_id: 'v2' }, ...given({ ...targetRow, fence: 2 }) },
    prepare: async (folder) => void (await withChain(folder)),
  },
]

describe.each(SCENES)('a $title', (scene) => {
  test('that crashes before any of its effects is done by running it again, or undone, and leaves nothing else', async () => {
    expect(await crashEverywhere(scene)).toBeGreaterThan(5)
  })

  test('that stalls before any of its effects changes nothing once a newer fence is raised', async () => {
    expect(await stallEverywhere(scene)).toBeGreaterThan(5)
  })

  test('that is aborted between any two pieces rejects with the reason and leaves the backend as it was', async () => {
    expect(await abortEverywhere(scene)).toBeGreaterThanOrEqual(5)
  })
})

describe('an incremental backup', () => {
  test('holds the chunks that changed since its parent and no others, and says what it takes', async () => {
    const folder = await emptyFolder()
    const [first, second, third] = await withChain(folder)
    expect(await chunksOf(folder, 'b1')).toEqual(['0.gz', '1.gz', '3.gz'])
    expect(await chunksOf(folder, 'b2')).toEqual(['1.gz'])
    expect(await chunksOf(folder, 'b3')).toEqual(['2.gz'])
    for (const { id, data } of [first!, second!, third!]) {
      const names = await chunksOf(folder, id)
      const sizes = names.map(async (name) => (await fs.stat(join(folder, 'backups', id, name))).size)
      const stored = (await Promise.all(sizes)).reduce((sum, size) => sum + size)
      expect(data).toMatchObject({ size: SIZE, bytes: 64 * KIB, chunks: 4, stored_bytes: stored })
    }
  })

  test('that follows on no change holds no chunk, and is restored whole', async () => {
    const folder = await emptyFolder()
    const [, , third] = await withChain(folder)
    const fourth = await backUp(folder, 'b4', third)
    expect(await chunksOf(folder, 'b4')).toEqual([])
    expect(fourth.data.stored_bytes).toBe(0)
    await restore(folder, fourth)
    expect((await restored(folder)).equals(await fs.readFile(imageOf(folder)))).toBe(true)
  })

  test('of each link of a chain is the volume as it was then', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    await run(await started(folder), 'create', targetRow)
    const images: Buffer[] = []
    const rows: ResourceRow[] = []
    for (const [index, offset] of [5, 17 * KIB, 40 * KIB, 5].entries()) {
      await scatter(folder, 'v1', [offset])
      // A chunk that is as it was two links ago, one that is zero now, and one that was.
      if (index === 2) await fs.writeFile(imageOf(folder), Buffer.alloc(16 * KIB), { flag: 'r+' })
      images.push(await fs.readFile(imageOf(folder)))
      rows.push(await backUp(folder, `b${index + 1}`, rows.at(-1)))
    }
    for (const [index, row] of rows.entries()) {
      await restore(folder, row, 2 + index)
      expect((await restored(folder)).equals(images[index]!), row.id).toBe(true)
    }
  })

  test('of a volume that was extended since holds what is new', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const first = await backUp(folder, 'b1')
    // Its last chunk is half as long as the others, then a whole one follows.
    const size = 1.625 * SIZE
    const driver = await started(folder)
    await run(driver, 'extend', { ...volumeRow, fence: 2 }, { input: { size } })
    await scatter(folder, 'v1', [98 * KIB])
    const larger = rowOf(volume, { ...volumeData, size }, { fence: 2 })
    const row = rowOf({ kind: 'backup', id: 'b2' }, childData('b2'), { fence: 1 })
    const facts = await run(driver, 'create', row, given(larger, first))
    expect(facts).toMatchObject({ size, bytes: 104 * KIB, chunks: 7 })
    expect(await chunksOf(folder, 'b2')).toEqual(['6.gz'])
    await run(driver, 'create', targetRow)
    await restore(folder, { ...row, data: { ...row.data, ...(facts as JsonObject) } })
    const image = await fs.readFile(imageOf(folder))
    expect((await fs.readFile(imageOf(folder, 'v2'))).subarray(0, image.length).equals(image)).toBe(true)
  })

  test('has chunks as long as its parent’s, whatever the driver is set to now', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const first = await backUp(folder, 'b1')
    await scatter(folder, 'v1', [17 * KIB])
    const other = await started(folder, { piece_bytes: 8 * KIB })
    const row = rowOf({ kind: 'backup', id: 'b2' }, childData('b2'), { fence: 1 })
    await run(other, 'create', row, given(volumeRow, first))
    expect(await chunksOf(folder, 'b2')).toEqual(['1.gz'])
    await run(other, 'create', targetRow)
    await restore(folder, row)
    expect((await restored(folder)).equals(await fs.readFile(imageOf(folder)))).toBe(true)
  })

  test('is of the volume its parent is of, and has a parent that is there and as it was made', async () => {
    const folder = await emptyFolder()
    const [first] = await withChain(folder)
    const driver = await started(folder)
    const creating = (data: JsonObject, ...rows: ResourceRow[]) =>
      run(driver, 'create', rowOf({ kind: 'backup', id: 'b7' }, data, { fence: 1 }), given(...rows))
    const ofOther = { name: 'x', volume_id: 'v2', parent_id: 'b1' }
    await expect(creating(ofOther, targetRow, first!)).rejects.toMatchObject({ code: 'bad_parent' })
    const data = { ...childData('b7'), parent_id: 'b1' }
    await expect(creating(data, volumeRow)).rejects.toMatchObject({ code: 'missing' })
    const forged = { ...first!, data: { ...first!.data, sha256: '0'.repeat(64) } }
    await expect(creating(data, volumeRow, forged)).rejects.toMatchObject({ code: 'backup_damaged' })
    await fs.rm(join(folder, 'backups', 'b1'), { recursive: true })
    await expect(creating(data, volumeRow, first!)).rejects.toMatchObject({ code: 'missing' })
    expect(await leftIn(folder)).toEqual([])
    await expect(fs.stat(join(folder, 'backups', 'b7'))).rejects.toThrow('ENOENT')
  })
})

describe('a backup of a snapshot', () => {
  test('is what the snapshot holds, and may be a parent of the volume’s next', async () => {
    const folder = await emptyFolder()
    await withSnapshot(folder)
    await scatter(folder, 'v1', [17 * KIB])
    const driver = await started(folder)
    const row = rowOf(backup, { name: 'frozen', snapshot_id: 's1' }, { fence: 1 })
    const facts = await run(driver, 'create', row, given(snapshotRow))
    expect(facts).toMatchObject({ size: SIZE, chunks: 4 })
    const frozen = { ...row, data: { ...row.data, ...(facts as JsonObject) } }
    const next = await backUp(folder, 'b2', frozen)
    expect(await chunksOf(folder, 'b2')).toEqual(['1.gz'])
    await run(driver, 'create', targetRow)
    await restore(folder, frozen, 2)
    const snapshotImage = await fs.readFile(join(folder, 'snapshots', 's1.img'))
    expect((await restored(folder)).equals(snapshotImage)).toBe(true)
    await restore(folder, next, 3)
    expect((await restored(folder)).equals(await fs.readFile(imageOf(folder)))).toBe(true)
  })
})

describe('a restore through a chain', () => {
  const damages: [string, string, (backups: string) => Promise<void>][] = [
    ['a chunk of the oldest', 'b1/0.gz', (at) => fs.writeFile(join(at, 'b1', '0.gz'), 'not gzip')],
    ['a chunk in the middle', 'b2/1.gz', (at) => fs.copyFile(join(at, 'b1', '1.gz'), join(at, 'b2', '1.gz'))],
    ['a chunk of its own', 'b3/2.gz', (at) => fs.rm(join(at, 'b3', '2.gz'))],
    ['the manifest of the oldest', 'b1/manifest.json', (at) => touched(join(at, 'b1', 'manifest.json'))],
    ['the manifest in the middle', 'b2/manifest.json', (at) => touched(join(at, 'b2', 'manifest.json'))],
    ['a whole link', 'b2/manifest.json', (at) => fs.rm(join(at, 'b2'), { recursive: true })],
  ]
  /** Still a manifest, and says the same. */
  async function touched(path: string): Promise<void> {
    await fs.appendFile(path, '\n')
  }
  test.each(damages)('that finds %s damaged restores nothing and names %s', async (_, named, damage) => {
    const folder = await emptyFolder()
    const [, , third] = await withChain(folder)
    await damage(join(folder, 'backups'))
    const before = await checksum(folder, 'volume', 'v2')
    await expect(restore(folder, third!)).rejects.toMatchObject({
      code: 'backup_damaged',
      message: expect.stringContaining(named),
    })
    expect(await checksum(folder, 'volume', 'v2')).toBe(before)
    expect(await leftIn(folder)).toEqual([])
  })

  test('into a volume that is not at this backend makes none', async () => {
    const folder = await emptyFolder()
    const [first] = await withChain(folder)
    await fs.rm(imageOf(folder, 'v2'))
    await expect(restore(folder, first!)).rejects.toMatchObject({ code: 'missing' })
    await expect(fs.stat(imageOf(folder, 'v2'))).rejects.toThrow('ENOENT')
  })
})

describe('a look through the whole folder', () => {
  test('finds nothing astray where all is well, in backups that share chunks too', async () => {
    const folder = await emptyFolder()
    await withChain(folder)
    expect(await strayFiles(folder)).toEqual({ unfinished: [], strays: [], missing: [] })
  })

  test('names files that nothing accounts for, and what a call has not finished', async () => {
    const folder = await emptyFolder()
    await withChain(folder)
    const astray = [
      ...['backups/b2/0.gz', 'backups/b2/note.txt', 'volumes/v1.img.tmp', 'volumes/v 1.img', 'notes'],
      ...['fences/volume/a b', 'snapshots/s1', 'arrivals/v77'],
    ]
    for (const path of astray) await fs.writeFile(join(folder, path), '')
    await fs.writeFile(join(folder, 'arrivals', 'v1'), 'ssd@file')
    await fs.mkdir(join(folder, 'work', 'backup.b5.1'))
    await fs.writeFile(join(folder, 'work', 'backup.b5.1', 'backup.b5.1'), '')
    expect(await strayFiles(folder)).toEqual({
      unfinished: ['work/backup.b5.1'],
      strays: astray.sort(),
      missing: [],
    })
  })

  test('names what a backup needs and is not there, also where a parent had it', async () => {
    const folder = await emptyFolder()
    await withChain(folder)
    await fs.rm(join(folder, 'backups', 'b1', '0.gz'))
    await fs.rm(join(folder, 'backups', 'b3', '2.gz'))
    expect((await strayFiles(folder)).missing).toEqual(['backups/b1/0.gz', 'backups/b3/2.gz'])
    await fs.writeFile(join(folder, 'backups', 'b2', 'manifest.json'), '{}')
    expect(await strayFiles(folder)).toEqual({
      unfinished: [],
      strays: [],
      missing: ['backups/b1/0.gz', 'backups/b2/manifest.json', 'backups/b3/2.gz'],
    })
  })
})

test('placement is told what the driver is configured with, and what thin images may grow to', async () => {
  const folder = await emptyFolder()
  await withSnapshot(folder)
  const specs = { disk: 'nvme', encrypted: true }
  const plain = await (await started(folder, { capabilities: { specs } })).capabilities!()
  expect(plain).toEqual({ total_gib: expect.any(Number), free_gib: expect.any(Number), specs })
  const thin = { thin: true, max_over_subscription: 3, reserved_percent: 10 }
  const told = await (await started(folder, { capabilities: thin })).capabilities!()
  expect(told).toMatchObject({ ...thin, provisioned_gib: 2 * SIZE })
})

test('a volume that is backed up is read, not changed', async () => {
  const folder = await emptyFolder()
  await withVolume(folder)
  const before = await checksum(folder, 'volume', 'v1')
  const first = await backUp(folder, 'b1')
  await backUp(folder, 'b2', first)
  expect(await checksum(folder, 'volume', 'v1')).toBe(before)
})
