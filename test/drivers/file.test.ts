// The file driver over real files: the contract, crashes before every effect, stalls before every call.

import { appendFileSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../machines/row.ts'
import { checksum, fileDriver, scan } from '../../runtime/drivers/file.ts'
import { contextOf, type DriverStep, driverContract, rowOf } from '../kit/driver_contract.ts'
import {
  abortEverywhere,
  backup,
  backupData,
  copied,
  crashEverywhere,
  emptyFolder,
  endOf,
  imageOf,
  leftIn,
  look,
  PIECES,
  related,
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
  upToTheEnd,
  volume,
  volumeData,
  withBackup,
  withSnapshot,
  withVolume,
} from './file_rig.ts'
import { stallingDisk, watchedDisk } from './watched_disk.ts'

const MIB = 2 ** 20

afterEach(removeFolders)

describe('the contract', () => {
  const story: DriverStep[] = [
    { ref: volume, operation: 'create', makes: volumeData },
    { ref: target, operation: 'create', makes: { name: 'copy', size: 2 * SIZE } },
    { ref: volume, operation: 'extend', input: { size: 1.5 * SIZE } },
    { ref: snapshot, operation: 'create', makes: snapshotData, related: [volume] },
    { ref: backup, operation: 'create', makes: backupData, related: [volume] },
    { ref: backup, operation: 'restore', input: { volume_id: 'v2' }, related: [target] },
    { ref: backup, operation: 'delete' },
    { ref: snapshot, operation: 'force_delete' },
    { ref: target, operation: 'force_delete' },
    { ref: volume, operation: 'delete' },
  ]
  const open = async () => {
    const folder = await emptyFolder()
    return { driver: fileDriver(folder, PIECES), look: () => look(folder), close: async () => {} }
  }
  for (const { title, run } of driverContract({ story, open })) test(title, run)
})

const SCENES: Scene[] = [
  {
    title: 'volume create',
    takes_back: true,
    operation: 'create',
    row: rowOf(volume, volumeData, { fence: 2 }),
    prepare: async (folder) => void (await started(folder)),
  },
  {
    title: 'volume extend',
    operation: 'extend',
    row: rowOf(volume, volumeData, { fence: 2 }),
    given: { input: { size: 2 * SIZE } },
    prepare: withVolume,
  },
  {
    title: 'volume delete',
    operation: 'delete',
    row: rowOf(volume, volumeData, { fence: 2 }),
    prepare: withVolume,
  },
  {
    title: 'snapshot create',
    takes_back: true,
    operation: 'create',
    row: rowOf(snapshot, snapshotData, { fence: 2 }),
    given: { related },
    prepare: withVolume,
  },
  {
    title: 'snapshot delete',
    operation: 'delete',
    row: rowOf(snapshot, snapshotData, { fence: 2 }),
    prepare: withSnapshot,
  },
  {
    title: 'backup create',
    takes_back: true,
    operation: 'create',
    row: rowOf(backup, backupData, { fence: 2 }),
    given: { related },
    prepare: withVolume,
  },
  {
    title: 'backup restore',
    operation: 'restore',
    row: rowOf(backup, backupData, { fence: 2 }),
    given: {
      input: { volume_id: 'v2' },
      related: { volume: rowOf(target, { name: 'copy', size: 2 * SIZE }, { fence: 2 }) },
    },
    prepare: withBackup,
  },
  {
    title: 'backup delete',
    operation: 'delete',
    row: rowOf(backup, backupData, { fence: 2 }),
    prepare: withBackup,
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

describe('an abort', () => {
  test.each(SCENES.filter(({ title }) => /(snapshot|backup) (create|restore)/.test(title)))(
    'between any two pieces of a $title rejects with the reason and leaves the backend as it was',
    async (scene) => {
      expect(await abortEverywhere(scene)).toBeGreaterThanOrEqual(5)
    },
  )
})

describe('what is done is durable', () => {
  test.each(SCENES.filter(({ title }) => title !== 'volume extend'))(
    'a $title syncs what it publishes before the rename and the folder after it',
    async ({ operation, row, given, prepare }) => {
      const folder = await emptyFolder()
      await prepare(folder)
      const calls: string[] = []
      const disk = watchedDisk((name, path) => void calls.push(`${name} ${path.slice(folder.length + 1)}`))
      await run(fileDriver(folder, { ...PIECES, disk }), operation, row, given)
      const home = `${given?.related?.volume && operation === 'restore' ? 'volume' : row.kind}s`
      if (operation === 'delete') {
        const removed = calls.findIndex((call) => call.startsWith(`rename ${home}/`))
        expect(calls.slice(removed)).toContain(`handle.sync ${home}`)
      } else {
        const published = calls.findLastIndex((call) => /^rename work\/.*\/./.test(call))
        const made = calls[published]!.slice('rename '.length)
        expect(calls.slice(0, published)).toContain(`handle.sync ${made}`)
        expect(calls.slice(published)).toContain(`handle.sync ${home}`)
        const written = calls.filter((call) => call.startsWith('handle.write'))
        for (const call of written)
          expect(calls.slice(calls.lastIndexOf(call))).toContain(call.replace(/\w+ /, 'sync '))
      }
    },
  )

  test('a result that an earlier run left without syncing its folder is synced before it is called done', async () => {
    const folder = await emptyFolder()
    await withSnapshot(folder)
    const calls: string[] = []
    const disk = watchedDisk((name, path) => void calls.push(`${name} ${path.slice(folder.length + 1)}`))
    const driver = fileDriver(folder, { ...PIECES, disk })
    await run(driver, 'create', rowOf(snapshot, snapshotData, { fence: 2 }), { related })
    expect(calls).toContain('handle.sync snapshots')
    await run(driver, 'delete', rowOf(backup, backupData, { fence: 2 }))
    expect(calls).toContain('handle.sync backups')
  })
})

describe('a fence', () => {
  test('that is older than one planted by another process is refused, also in the middle of a copy', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    const seen: number[] = []
    const progress = (fraction: number) => {
      seen.push(fraction)
      // As another process would: behind this driver's back. Synchronous, so that the very next look sees it.
      if (seen.length === 3) appendFileSync(join(folder, 'fences', 'snapshot', 's1'), '\n9\n')
    }
    const creating = run(driver, 'create', rowOf(snapshot, snapshotData, { fence: 2 }), { related, progress })
    await expect(creating).rejects.toMatchObject({ code: 'fenced' })
    expect(seen).toHaveLength(3)
    expect((await scan(folder)).snapshot).toEqual([])
  })

  test('raised on the volume a restore writes to stops that restore, whose own mark nobody raised', async () => {
    const { operation, row, given, prepare } = SCENES.find(({ title }) => title === 'backup restore')!
    const base = await emptyFolder()
    await prepare(base)
    const before = await look(base)
    await upToTheEnd(async (n) => {
      const folder = await copied(base)
      const { disk, stalled, release } = stallingDisk(n)
      const settled = endOf(run(fileDriver(folder, { ...PIECES, disk }), operation, row, given))
      if ((await Promise.race([stalled, settled])) !== 'stalled') return 'past the end'
      await fileDriver(folder).fence!(rowOf(target, {}), 3)
      const fenced = await look(folder)
      release()
      const code = await settled
      expect((await look(folder)).present).toEqual(fenced.present)
      if (fenced.present['volume v2'] === before.present['volume v2']) expect(code).toBe('fenced')
    })
  })

  test('outlives its resource: a create that was claimed before a delete makes nothing after it', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    await run(driver, 'delete', rowOf(volume, volumeData, { fence: 3 }))
    await started(folder)
    const late = run(driver, 'create', rowOf(volume, volumeData, { fence: 1 }))
    await expect(late).rejects.toMatchObject({ code: 'fenced' })
    expect((await scan(folder)).volume).toEqual([])
  })

  test('is forgotten at a set-up once nobody raised it for long and its resource is not there', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    await run(driver, 'create', rowOf(target, volumeData, { fence: 1 }))
    await run(driver, 'delete', rowOf(target, volumeData, { fence: 2 }))
    const marks = join(folder, 'fences', 'volume')
    await started(folder)
    expect(await fs.readdir(marks)).toEqual(['v1', 'v2'])
    for (const id of ['v1', 'v2']) await fs.utimes(join(marks, id), 1, 1)
    await started(folder)
    expect(await fs.readdir(marks)).toEqual(['v1'])
  })

  test('torn by a crash in the middle of its digits lets nobody in and shuts nobody out', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    await fs.appendFile(join(folder, 'fences', 'volume', 'v1'), '\n12\n\n1')
    await driver.fence!(rowOf(volume, {}), 13)
    const extending = (fence: number) =>
      run(driver, 'extend', rowOf(volume, volumeData, { fence }), { input: { size: SIZE } })
    await expect(extending(12)).rejects.toMatchObject({ code: 'fenced' })
    await expect(extending(13)).resolves.toEqual({ size: SIZE })
  })

  test('raised a thousand times is still read from a bounded end of its file', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    const raised = Array.from({ length: 3000 }, (_, i) => `\n${i + 2}\n`).join('')
    await fs.appendFile(join(folder, 'fences', 'volume', 'v1'), raised)
    const extending = run(driver, 'extend', rowOf(volume, volumeData, { fence: 3000 }), {
      input: { size: SIZE },
    })
    await expect(extending).rejects.toMatchObject({ code: 'fenced' })
  })
})

describe('images and backups', () => {
  test('a 256 MiB volume keeps its holes through snapshot, backup and restore, and all bytes arrive', async () => {
    const folder = await emptyFolder()
    const driver = await started(folder, { piece_bytes: 4 * MIB })
    const big = rowOf(volume, { name: 'big', size: 0.25 }, { fence: 1 })
    await run(driver, 'create', big)
    const offsets = [0, 60 * MIB - 3, 130 * MIB, 256 * MIB - 30]
    await scatter(folder, 'v1', offsets)
    await run(driver, 'create', rowOf(snapshot, snapshotData, { fence: 1 }), { related: { volume: big } })
    const facts = await run(driver, 'create', rowOf(backup, backupData, { fence: 1 }), {
      related: { volume: big },
    })
    expect(facts).toMatchObject({ size: 0.25, bytes: 256 * MIB, chunks: 64, sha256: expect.any(String) })
    expect((await fs.readdir(join(folder, 'backups', 'b1'))).sort()).toEqual([
      ...['0.gz', '14.gz', '15.gz', '32.gz', '63.gz'],
      'manifest.json',
    ])
    const other = rowOf(target, { name: 'other', size: 0.25 }, { fence: 1 })
    await run(driver, 'create', other)
    const restoring = rowOf(backup, facts as JsonObject, { fence: 2 })
    await run(driver, 'restore', restoring, { input: { volume_id: 'v2' }, related: { volume: other } })
    for (const path of [imageOf(folder), join(folder, 'snapshots', 's1.img'), imageOf(folder, 'v2')]) {
      const { size, blocks } = await fs.stat(path)
      expect(size).toBe(256 * MIB)
      expect(blocks * 512).toBeLessThan(MIB)
      const handle = await fs.open(path)
      for (const offset of offsets) {
        const text = `written at ${offset}`
        const { buffer } = await handle.read(Buffer.alloc(text.length), 0, text.length, offset)
        expect(buffer.toString()).toBe(text)
      }
      await handle.close()
    }
  })

  test('a snapshot stays as it was when its volume is written to, extended and deleted', async () => {
    const folder = await emptyFolder()
    await withSnapshot(folder)
    const before = await checksum(folder, 'snapshot', 's1')
    expect(before).toBe(await checksum(folder, 'volume', 'v1'))
    await scatter(folder, 'v1', [12_345])
    const driver = await started(folder)
    await run(driver, 'extend', rowOf(volume, volumeData, { fence: 2 }), { input: { size: 1 } })
    await run(driver, 'delete', rowOf(volume, volumeData, { fence: 3 }))
    expect(await checksum(folder, 'snapshot', 's1')).toBe(before)
  })

  test('a file system that shares blocks is asked to, and the copy is synced', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const calls: string[] = []
    const plain = watchedDisk((name, path) => void calls.push(`${name} ${path.slice(folder.length + 1)}`))
    const disk = new Proxy(plain, {
      get: (_, key) =>
        key === 'copyFile' ? (from: string, to: string) => fs.copyFile(from, to) : Reflect.get(plain, key),
    })
    const driver = fileDriver(folder, { ...PIECES, disk })
    await run(driver, 'create', rowOf(snapshot, snapshotData, { fence: 1 }), { related })
    expect(await checksum(folder, 'snapshot', 's1')).toBe(await checksum(folder, 'volume', 'v1'))
    expect(calls).toContain('handle.sync work/snapshot.s1.1/snapshot.s1.1')
    expect(calls.filter((call) => call.startsWith('handle.write'))).toHaveLength(1)
  })

  test('an extend never shrinks an image, and tells how long it is', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    const extend = (size: number, fence: number) =>
      run(driver, 'extend', rowOf(volume, volumeData, { fence }), { input: { size } })
    expect(await extend(0.5, 2)).toEqual({ size: 0.5 })
    expect(await extend(SIZE, 3)).toEqual({ size: 0.5 })
    expect((await fs.stat(imageOf(folder))).size).toBe(512 * MIB)
  })

  test('undoing an extend that had grown the image tells the row so', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const driver = await started(folder)
    const input = { size: 2 * SIZE }
    const undo = (fence: number) =>
      driver.undo!(contextOf(rowOf(volume, volumeData, { fence }), 'extend', { input }))
    expect(await undo(2)).toBeUndefined()
    await run(driver, 'extend', rowOf(volume, volumeData, { fence: 3 }), { input })
    expect(await undo(4)).toEqual({ size: 2 * SIZE })
  })

  const damages: [string, string, (folder: string) => Promise<void>][] = [
    ['changed', 'chunk 0', (at) => fs.writeFile(join(at, '0.gz'), 'not gzip')],
    ['swapped for another', 'chunk 1', (at) => fs.copyFile(join(at, '0.gz'), join(at, '1.gz'))],
    ['lost', 'chunk 1', (at) => fs.rm(join(at, '1.gz'))],
    ['cut short', 'chunk 1', (at) => fs.truncate(join(at, '1.gz'), 30)],
    ['whose manifest was rewritten', 'manifest.json', (at) => rewriteManifest(at)],
    ['whose manifest was lost', 'manifest', (at) => fs.rm(join(at, 'manifest.json'))],
  ]
  test.each(damages)('a backup %s is not restored: the error names %s', async (_, named, damage) => {
    const folder = await emptyFolder()
    await withBackup(folder)
    const digest = await checksum(folder, 'backup', 'b1')
    await damage(join(folder, 'backups', 'b1'))
    const before = await checksum(folder, 'volume', 'v2')
    const driver = await started(folder)
    const row = rowOf(backup, { ...backupData, sha256: digest }, { fence: 2 })
    const held = { volume: rowOf(target, { size: 2 * SIZE }, { fence: 2 }) }
    const restoring = run(driver, 'restore', row, { input: { volume_id: 'v2' }, related: held })
    await expect(restoring).rejects.toMatchObject({
      code: 'backup_damaged',
      message: expect.stringContaining(named),
    })
    expect(await checksum(folder, 'volume', 'v2')).toBe(before)
    expect(await leftIn(folder)).toEqual([])
  })

  test('a backup larger than its target is refused before anything is written', async () => {
    const folder = await emptyFolder()
    await withBackup(folder)
    const held = { volume: rowOf(target, { size: SIZE / 2 }, { fence: 2 }) }
    const restoring = run(await started(folder), 'restore', rowOf(backup, backupData, { fence: 2 }), {
      input: { volume_id: 'v2' },
      related: held,
    })
    await expect(restoring).rejects.toMatchObject({ code: 'backup_too_large' })
  })

  test('a restore that is handed another volume than was asked for overwrites nothing', async () => {
    const folder = await emptyFolder()
    await withBackup(folder)
    const before = await look(folder)
    const given = { input: { volume_id: 'v2' }, related }
    const restoring = run(await started(folder), 'restore', rowOf(backup, backupData, { fence: 2 }), given)
    await expect(restoring).rejects.toMatchObject({ code: 'missing', message: expect.stringContaining('v2') })
    expect(await look(folder)).toEqual(before)
  })
})

describe('errors', () => {
  test.each(['../v1', 'a/b', '', '.', '-x', 'x'.repeat(129), 'a.b', 'a\0b', 'ü'])(
    'the id %j is refused before the file system is asked',
    async (id) => {
      const folder = await emptyFolder()
      const driver = await started(folder)
      const row = rowOf({ kind: 'volume', id }, volumeData, { fence: 1 })
      for (const act of [
        () => run(driver, 'create', row),
        () => run(driver, 'delete', row),
        () => driver.fence!(row, 1),
        () => driver.undo!(contextOf(row, 'create')),
      ])
        await expect(act()).rejects.toMatchObject({ code: 'bad_id' })
    },
  )

  test.each([0, -1, Number.NaN, Infinity, '1', null])('the size %s is refused', async (size) => {
    const driver = await started(await emptyFolder())
    const creating = run(driver, 'create', rowOf(volume, { size } as JsonObject, { fence: 1 }))
    await expect(creating).rejects.toMatchObject({ code: 'bad_size' })
  })

  test('a full disk is told as no_space with its cause, and what was half made is gone', async () => {
    const folder = await emptyFolder()
    await withVolume(folder)
    const before = await look(folder)
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    })
    const disk = watchedDisk((name, path) => {
      if (name === 'handle.writeFile' && path.endsWith('1.gz')) throw full
    })
    const creating = run(
      fileDriver(folder, { ...PIECES, disk }),
      'create',
      rowOf(backup, backupData, { fence: 1 }),
      {
        related,
      },
    )
    await expect(creating).rejects.toMatchObject({ code: 'no_space', cause: full })
    expect(await look(folder)).toEqual(before)
  })

  test('what an operation needs and is not there is named', async () => {
    const driver = await started(await emptyFolder())
    const creating = run(driver, 'create', rowOf(snapshot, snapshotData, { fence: 1 }), { related })
    await expect(creating).rejects.toMatchObject({ code: 'missing', message: expect.stringContaining('v1') })
  })

  test('a folder that is no folder fails the set-up by name', async () => {
    const file = join(await emptyFolder(), 'a file')
    await fs.writeFile(file, '')
    await expect(started(file)).rejects.toMatchObject({
      code: 'backend_unusable',
      message: expect.stringContaining(file),
    })
  })

  test('a set-up clears what is over and keeps what another node may be working on', async () => {
    const folder = await emptyFolder()
    const driver = await started(folder)
    await driver.fence!(rowOf(volume, {}), 2)
    for (const name of ['volume.v1.1', 'volume.v1.2', 'volume.v9.1'])
      await fs.mkdir(join(folder, 'work', name))
    await fs.writeFile(join(folder, 'trash', 'volume.v1.0'), '')
    await started(folder)
    expect(await leftIn(folder)).toEqual(['volume.v1.2', 'volume.v9.1'])
  })
})

async function rewriteManifest(at: string): Promise<void> {
  const path = join(at, 'manifest.json')
  const manifest = JSON.parse(await fs.readFile(path, 'utf8'))
  manifest.chunks = manifest.chunks.map(() => null)
  await fs.writeFile(path, JSON.stringify(manifest))
}
