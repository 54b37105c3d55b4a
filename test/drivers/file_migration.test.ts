// Migrations between folders: what a source exports, the copy that is verified before it counts, what an
// undo may remove and what it must never touch, and the release of the source.

import { createHash } from 'node:crypto'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { Driver, Exported } from '../../runtime/driver.ts'
import { checksum, fileDriver, scan } from '../../runtime/drivers/file.ts'
import { contextOf, rowOf, setupOf } from '../kit/driver_contract.ts'
import {
  abortEverywhere,
  claimedAgain,
  copied,
  crashEverywhere,
  emptyFolder,
  endOf,
  imageOf,
  KIB,
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
  volume,
  volumeData,
  withSnapshot,
  withVolume,
} from './file_rig.ts'
import { watchedDisk } from './watched_disk.ts'

afterEach(removeFolders)

/** It lives at another topic than the one that `setupOf` tells. */
const HOME = 'ssd@file'
const row = rowOf(volume, volumeData, { fence: 2, cluster: HOME })
const never = new AbortController().signal

async function sourceFolder(): Promise<string> {
  const folder = await emptyFolder()
  await withVolume(folder)
  return folder
}

async function exported(folder: string): Promise<Exported> {
  return (await started(folder)).export!(row, never)
}

async function opened() {
  return { source: await exported(await sourceFolder()) }
}

function undo(folder: string, claimed = row): Promise<unknown> {
  return fileDriver(folder).undo!(contextOf(claimed, 'migrate'))
}

const SCENES: Scene[] = [
  {
    title: 'migration to an empty folder',
    operation: 'migrate',
    row,
    opened,
    takes_back: true,
    prepare: async (folder) => void (await started(folder)),
  },
  {
    title: 'release of the source',
    operation: 'release_source',
    row,
    prepare: async (folder) => {
      const source = await exported(await sourceFolder())
      await run(await started(folder), 'migrate', { ...row, fence: 1 }, { source })
    },
  },
]

describe.each(SCENES)('a $title', (scene) => {
  test('that crashes before any of its effects is done by running it again, or undone, and leaves nothing else', async () => {
    expect(await crashEverywhere(scene)).toBeGreaterThan(5)
  })

  test('that stalls before any of its effects changes nothing once a newer fence is raised', async () => {
    expect(await stallEverywhere(scene)).toBeGreaterThan(5)
  })
})

describe('a migration', () => {
  test('copies every byte, keeps the holes, and leaves the source until that is released', async () => {
    const [from, to] = [await sourceFolder(), await emptyFolder()]
    const big = rowOf(volume, { name: 'big', size: 2 ** -9 }, { fence: 3, cluster: HOME })
    await run(await started(from), 'extend', { ...big, fence: 2 }, { input: { size: 2 ** -9 } })
    await scatter(from, 'v1', [1_500_000])
    const driver = await started(to)
    expect(await run(driver, 'migrate', big, { source: await exported(from) })).toEqual({ size: 2 ** -9 })
    const sum = await checksum(from, 'volume', 'v1')
    expect(await checksum(to, 'volume', 'v1')).toBe(sum)
    const { size, blocks } = await fs.stat(imageOf(to))
    expect(size).toBe(2 * 1024 * KIB)
    expect(blocks * 512).toBeLessThan(256 * KIB)
    await run(await started(from), 'release_source', { ...big, cluster: 'hdd@file', fence: 4 })
    expect((await look(from)).present).toEqual({})
    expect((await look(to)).present).toEqual({ 'volume v1': sum })
  })

  test('that is aborted between any two pieces rejects with the reason and leaves nothing', async () => {
    expect(await abortEverywhere(SCENES[0]!)).toBeGreaterThanOrEqual(8)
  })

  test('tells progress that never goes back, the verifying included', async () => {
    const seen: number[] = []
    const progress = (fraction: number) => void seen.push(fraction)
    await run(await started(await emptyFolder()), 'migrate', row, { ...(await opened()), progress })
    expect(seen.length).toBeGreaterThanOrEqual(8)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(seen.at(-1)).toBeGreaterThan(0.8)
  })

  test('replaces what an earlier stay of the volume left at its target', async () => {
    const [from, to] = [await sourceFolder(), await sourceFolder()]
    await scatter(to, 'v1', [33_333])
    await run(await started(to), 'migrate', row, { source: await exported(from) })
    expect(await checksum(to, 'volume', 'v1')).toBe(await checksum(from, 'volume', 'v1'))
  })

  const wrongs: [string, (source: Exported) => Partial<Exported>][] = [
    ['whose checksum is another', () => ({ checksum: async () => createHash('sha256').digest('hex') })],
    ['that leaves a piece out', (source) => ({ pieces: (signal) => some(source.pieces(signal), 1) })],
    ['that gives a piece beyond its end', (source) => ({ bytes: source.bytes - 16 * KIB })],
    ['that is longer than it says', (source) => ({ bytes: source.bytes + 16 * KIB })],
  ]
  async function* some<T>(pieces: AsyncIterable<T>, skipped: number): AsyncGenerator<T> {
    let index = 0
    for await (const piece of pieces) if (index++ !== skipped) yield piece
  }
  test.each(wrongs)('from a source %s puts nothing in place', async (_, wrong) => {
    const folder = await emptyFolder()
    const driver = await started(folder)
    const { source } = await opened()
    const migrating = run(driver, 'migrate', row, { source: { ...source, ...wrong(source) } })
    await expect(migrating).rejects.toMatchObject({ code: 'checksum_mismatch' })
    expect(await look(folder)).toEqual({ present: {}, left: [], strays: [], missing: [] })
  })

  test('is verified against what was written: a byte that the disk changed is found', async () => {
    const folder = await emptyFolder()
    await started(folder)
    let flipped = false
    const disk = watchedDisk(async (name, path) => {
      if (name !== 'handle.sync' || !path.endsWith('volume.v1.2') || flipped) return
      flipped = true
      await fs.writeFile(path, 'X', { flag: 'r+' })
    })
    const migrating = run(fileDriver(folder, { ...PIECES, disk }), 'migrate', row, await opened())
    await expect(migrating).rejects.toMatchObject({ code: 'checksum_mismatch' })
    expect(flipped).toBe(true)
    expect((await look(folder)).present).toEqual({})
  })

  test('that fails after its copy is in place takes it back, since no undo follows a failure', async () => {
    const full = Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' })
    for (const folderName of ['arrivals', 'volumes']) {
      const folder = await emptyFolder()
      await started(folder)
      let failed = false
      const disk = watchedDisk((name, path) => {
        if (name !== 'handle.sync' || failed || path !== join(folder, folderName)) return
        failed = true
        throw full
      })
      const migrating = run(fileDriver(folder, { ...PIECES, disk }), 'migrate', row, await opened())
      await expect(migrating).rejects.toMatchObject({ code: 'driver_failed', cause: full })
      expect(failed).toBe(true)
      expect(await look(folder)).toEqual({ present: {}, left: [], strays: [], missing: [] })
    }
  })

  test('that fails before its copy is in place leaves there what was there', async () => {
    const folder = await sourceFolder()
    const before = await look(folder)
    const full = Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', syscall: 'fsync' })
    let failures = 0
    const disk = watchedDisk((name, path) => {
      if (name === 'handle.sync' && path === join(folder, 'arrivals') && failures++ === 0) throw full
    })
    const { source } = await opened()
    const migrating = run(fileDriver(folder, { ...PIECES, disk }), 'migrate', row, { source })
    await expect(migrating).rejects.toMatchObject({ cause: full })
    expect(failures).toBeGreaterThan(0)
    expect(await look(folder)).toEqual(before)
  })

  test('that is aborted between the note and the copy takes the note back as well', async () => {
    const folder = await emptyFolder()
    await started(folder)
    const control = new AbortController()
    const reason = new Error('cancelled')
    const disk = watchedDisk((name, path) => {
      if (name === 'handle.sync' && path === join(folder, 'arrivals')) control.abort(reason)
    })
    const driver = fileDriver(folder, { ...PIECES, disk })
    const given = { ...(await opened()), signal: control.signal }
    await expect(run(driver, 'migrate', row, given)).rejects.toBe(reason)
    expect(await look(folder)).toEqual({ present: {}, left: [], strays: [], missing: [] })
  })

  test('without a source, or from a source that is not there, is refused', async () => {
    const driver = await started(await emptyFolder())
    await expect(run(driver, 'migrate', row)).rejects.toMatchObject({ code: 'missing' })
    await expect(exported(await emptyFolder())).rejects.toMatchObject({ code: 'missing' })
  })

  test('forgets where a volume came from when the volume is removed', async () => {
    const folder = await emptyFolder()
    const driver = await started(folder)
    await run(driver, 'migrate', row, await opened())
    expect(await fs.readdir(join(folder, 'arrivals'))).toEqual(['v1'])
    await run(driver, 'delete', { ...row, cluster: 'hdd@file', fence: 3 })
    expect(await look(folder)).toEqual({ present: {}, left: [], strays: [], missing: [] })
  })
})

describe('into the same folder', () => {
  async function alias(folder: string): Promise<string> {
    const link = join(await emptyFolder(), 'link')
    await fs.symlink(folder, link)
    return link
  }

  test('a migration is refused, by whatever path the folder is called', async () => {
    const folder = await sourceFolder()
    const before = await look(folder)
    for (const [index, path] of [folder, await alias(folder)].entries()) {
      const migrating = run(
        await started(path),
        'migrate',
        { ...row, fence: 2 + index },
        {
          source: await exported(folder),
        },
      )
      await expect(migrating).rejects.toMatchObject({ code: 'same_place' })
    }
    expect(await look(folder)).toEqual(before)
  })

  test('the undo of a migration that crashed before it was refused does not remove the volume', async () => {
    const folder = await sourceFolder()
    const before = await look(folder)
    await undo(folder)
    expect(await look(folder)).toEqual(before)
  })

  test('nor does it where the volume once came by a migration from elsewhere', async () => {
    const folder = await emptyFolder()
    await run(await started(folder), 'migrate', { ...row, cluster: 'old@file' }, await opened())
    const before = await look(folder)
    await undo(folder, claimedAgain(row))
    expect(await look(folder)).toEqual(before)
    await undo(folder, { ...row, cluster: 'old@file', fence: 4 })
    expect((await look(folder)).present).toEqual({})
  })

  test('a release at the topic where the volume lives is refused', async () => {
    const folder = await sourceFolder()
    const { cluster, backend } = setupOf()
    const here = { ...row, cluster: `${cluster}@${backend}` }
    const releasing = run(await started(folder), 'release_source', here)
    await expect(releasing).rejects.toMatchObject({ code: 'same_place' })
    expect((await scan(folder)).volume).toEqual(['v1'])
  })
})

describe('a migration there and back', () => {
  test('ends with the volume at home, and its marks let no call of the way there through', async () => {
    const [home, away] = [await sourceFolder(), await emptyFolder()]
    const at = (cluster: string, fence: number) => ({ ...row, cluster, fence })
    const [homeDriver, awayDriver]: Driver[] = [await started(home), await started(away)]
    const from = async (driver: Driver) => ({ source: await driver.export!(row, never) })
    await run(awayDriver!, 'migrate', at(HOME, 2), await from(homeDriver!))
    await scatter(away, 'v1', [20_000])
    const sum = await checksum(away, 'volume', 'v1')
    // The source at home was not released yet: the old copy is replaced.
    await run(homeDriver!, 'migrate', at('hdd@file', 4), await from(awayDriver!))
    expect(await endOf(run(homeDriver!, 'release_source', at('hdd@file', 3)))).toBe('fenced')
    await run(awayDriver!, 'release_source', at(HOME, 5))
    expect(await look(home)).toEqual({ present: { 'volume v1': sum }, left: [], strays: [], missing: [] })
    expect(await look(away)).toEqual({ present: {}, left: [], strays: [], missing: [] })
  })
})

describe('what a driver exports', () => {
  test('leaves out what is zero, in order, and the checksum is that of the whole content', async () => {
    const folder = await sourceFolder()
    await fs.writeFile(imageOf(folder), Buffer.alloc(16 * KIB), { flag: 'r+' })
    const source = await exported(folder)
    const image = await fs.readFile(imageOf(folder))
    const rebuilt = Buffer.alloc(source.bytes)
    const offsets: number[] = []
    for await (const { offset, data } of source.pieces(never)) {
      offsets.push(offset)
      rebuilt.set(data, offset)
    }
    expect(offsets).toEqual([16 * KIB, 48 * KIB])
    expect(rebuilt.equals(image)).toBe(true)
    expect(await source.checksum(never)).toBe(createHash('sha256').update(image).digest('hex'))
    expect(await source.checksum(never)).toBe(await checksum(folder, 'volume', 'v1'))
  })

  test('is a snapshot too, and of a backup nothing', async () => {
    const folder = await emptyFolder()
    await withSnapshot(folder)
    const driver = await started(folder)
    const source = await driver.export!(rowOf(snapshot, snapshotData), never)
    expect(await source.checksum(never)).toBe(await checksum(folder, 'snapshot', 's1'))
    const opening = driver.export!(rowOf({ kind: 'backup', id: 'b1' }, {}), never)
    await expect(opening).rejects.toMatchObject({ code: 'missing' })
  })

  test('is read under the signal: an abort ends the pieces and the checksum with its reason', async () => {
    const folder = await sourceFolder()
    const source = await exported(folder)
    const aborted = AbortSignal.abort(new Error('fenced'))
    await expect(source.checksum(aborted)).rejects.toThrow('fenced')
    const reading = async () => {
      for await (const _ of source.pieces(aborted)) expect.unreachable()
    }
    await expect(reading()).rejects.toThrow('fenced')
    await expect((await started(folder)).export!(row, aborted)).rejects.toThrow('fenced')
  })

  test('is not changed by being copied: the folder of the source is as it was', async () => {
    const from = await sourceFolder()
    const calls: string[] = []
    const disk = watchedDisk((name) => void calls.push(name))
    const source = await fileDriver(from, { ...PIECES, disk }).export!(row, never)
    await run(await started(await emptyFolder()), 'migrate', row, { source })
    expect(new Set(calls)).toEqual(new Set(['stat', 'open', 'handle.stat', 'handle.read']))
    expect(await look(from)).toEqual(await look(await copied(from)))
  })
})

test('the volume’s row is told the size of what was copied', async () => {
  const from = await sourceFolder()
  await run(await started(from), 'extend', { ...row, fence: 2 }, { input: { size: 2 * SIZE } })
  const source = await exported(from)
  // Its row does not know of an extend that failed after it had grown the image.
  expect(await run(await started(await emptyFolder()), 'migrate', row, { source })).toEqual({
    size: 2 * SIZE,
  })
})
