// Volumes of the file driver that are made from something, put back to a snapshot, or removed with their
// snapshots: over real files, crashed, stalled and aborted everywhere.

import * as fs from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { JsonObject, Ref, ResourceRow } from '../../machines/row.ts'
import { checksum, fileDriver, scan } from '../../runtime/drivers/file.ts'
import { type contextOf, type DriverStep, driverContract, rowOf } from '../kit/driver_contract.ts'
import {
  abortEverywhere,
  backup,
  backupData,
  copied,
  crashEverywhere,
  emptyFolder,
  endOf,
  imageOf,
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
  upToTheEnd,
  volume,
  volumeData,
  withBackup,
  withSnapshot,
} from './file_rig.ts'
import { stallingDisk, watchedDisk } from './watched_disk.ts'

afterEach(removeFolders)

const second = { kind: 'snapshot', id: 's2' }
const made = { kind: 'volume', id: 'v3' }
const volumeRow = rowOf(volume, volumeData, { fence: 1 })
const snapshotRow = rowOf(snapshot, snapshotData, { fence: 1 })
const secondRow = rowOf(second, snapshotData, { fence: 1 })
const backupRow = rowOf(backup, backupData, { fence: 1 })

const given = (...relatedRows: readonly ResourceRow[]) => ({
  relatedRows,
  related: Object.fromEntries(relatedRows.map((row) => [row.kind, row])),
})
const dataFrom = (source: JsonObject): JsonObject => ({ name: 'made', size: 2 * SIZE, ...source })

/** The volume with a snapshot, and changed since. */
async function withChange(folder: string): Promise<void> {
  await withSnapshot(folder)
  await scatter(folder, 'v1', [7000, 50_000])
}

/** The volume with two snapshots. */
async function withSnapshots(folder: string): Promise<void> {
  await withChange(folder)
  await run(await started(folder), 'create', secondRow, given(volumeRow))
}

const reverting = { input: { snapshot_id: 's1' }, ...given(snapshotRow) }
const cascading = { input: { cascade: true }, ...given(snapshotRow, secondRow) }

describe('the contract', () => {
  const story: DriverStep[] = [
    { ref: volume, operation: 'create', makes: volumeData },
    { ref: snapshot, operation: 'create', makes: snapshotData, related: [volume] },
    { ref: backup, operation: 'create', makes: backupData, related: [volume] },
    { ref: made, operation: 'create', makes: dataFrom({ snapshot_id: 's1' }), related: [snapshot] },
    { ref: made, operation: 'delete' },
    { ref: target, operation: 'create', makes: dataFrom({ source_volume_id: 'v1' }), related: [volume] },
    {
      ref: { kind: 'volume', id: 'v4' },
      operation: 'create',
      makes: dataFrom({ backup_id: 'b1' }),
      related: [backup],
    },
    { ref: volume, operation: 'revert', input: { snapshot_id: 's1' }, related: [snapshot] },
    { ref: volume, operation: 'delete', input: { cascade: true }, related: [snapshot] },
  ]
  const open = async () => {
    const folder = await emptyFolder()
    return { driver: fileDriver(folder, PIECES), look: () => look(folder), close: async () => {} }
  }
  for (const { title, run } of driverContract({ story, open })) test(title, run)
})

const SCENES: Scene[] = [
  {
    title: 'volume create from a snapshot',
    operation: 'create',
    row: rowOf(made, dataFrom({ snapshot_id: 's1' }), { fence: 2 }),
    given: given(snapshotRow),
    takes_back: true,
    prepare: withChange,
  },
  {
    title: 'volume create from a volume',
    operation: 'create',
    row: rowOf(made, dataFrom({ source_volume_id: 'v1' }), { fence: 2 }),
    given: given(volumeRow),
    takes_back: true,
    prepare: withChange,
  },
  {
    title: 'volume create from a backup',
    operation: 'create',
    row: rowOf(made, dataFrom({ backup_id: 'b1' }), { fence: 2 }),
    given: given(backupRow),
    takes_back: true,
    prepare: withBackup,
  },
  {
    title: 'volume revert',
    operation: 'revert',
    row: rowOf(volume, volumeData, { fence: 2 }),
    given: reverting,
    prepare: withChange,
  },
  {
    title: 'volume delete in cascade',
    operation: 'delete',
    row: rowOf(volume, volumeData, { fence: 2 }),
    given: cascading,
    prepare: withSnapshots,
    between: [['volume v1', 'snapshot s2'], ['volume v1']],
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
  test.each(SCENES.filter(({ operation }) => operation !== 'delete'))(
    'between any two pieces of a $title rejects with the reason and leaves the backend as it was',
    async (scene) => {
      expect(await abortEverywhere(scene)).toBeGreaterThanOrEqual(4)
    },
  )
})

async function bytesAt(folder: string, id: string, offset: number, length: number): Promise<string> {
  const handle = await fs.open(imageOf(folder, id))
  const { buffer } = await handle.read(Buffer.alloc(length), 0, length, offset)
  await handle.close()
  return buffer.toString('latin1')
}

describe('a volume made from a source', () => {
  const sources: [string, JsonObject, ResourceRow][] = [
    ['a snapshot', { snapshot_id: 's1' }, snapshotRow],
    ['a volume', { source_volume_id: 'v1' }, volumeRow],
    ['a backup', { backup_id: 'b1' }, backupRow],
  ]

  async function withAll(folder: string): Promise<void> {
    await withBackup(folder)
    await run(await started(folder), 'create', snapshotRow, given(volumeRow))
  }

  test.each(sources)('that is %s has its content and the size it was asked for', async (_, source, row) => {
    const folder = await emptyFolder()
    await withAll(folder)
    const driver = await started(folder)
    await run(driver, 'create', rowOf(made, dataFrom(source), { fence: 1 }), given(row))
    const image = await fs.readFile(imageOf(folder, 'v3'))
    const original = await fs.readFile(imageOf(folder, 'v1'))
    expect(image.length).toBe(2 * original.length)
    expect(image.subarray(0, original.length).equals(original)).toBe(true)
    expect(image.subarray(original.length).every((byte) => byte === 0)).toBe(true)
    const same = rowOf({ kind: 'volume', id: 'v4' }, { ...dataFrom(source), size: SIZE }, { fence: 1 })
    await run(driver, 'create', same, given(row))
    expect(await checksum(folder, 'volume', 'v4')).toBe(await checksum(folder, 'volume', 'v1'))
  })

  test.each(sources)(
    'that is %s too large for it is refused, and nothing is made',
    async (_, source, row) => {
      const folder = await emptyFolder()
      await withAll(folder)
      const small = rowOf(made, { ...dataFrom(source), size: SIZE / 2 }, { fence: 1 })
      const creating = run(await started(folder), 'create', small, given(row))
      const code = row.kind === 'backup' ? 'backup_too_large' : 'size_differs'
      await expect(creating).rejects.toMatchObject({ code })
      expect((await scan(folder)).volume).not.toContain('v3')
    },
  )

  test.each(sources)(
    'that is %s which this backend does not have may be made elsewhere',
    async (_, source, row) => {
      const creating = run(
        await started(await emptyFolder()),
        'create',
        rowOf(made, dataFrom(source), { fence: 1 }),
        given(row),
      )
      await expect(creating).rejects.toMatchObject({
        code: 'not_here',
        message: expect.stringContaining(row.id),
      })
    },
  )

  test('is a copy: what is written to one later is not seen in the other', async () => {
    const folder = await emptyFolder()
    await withAll(folder)
    const row = rowOf(made, dataFrom({ source_volume_id: 'v1' }), { fence: 1 })
    await run(await started(folder), 'create', row, given(volumeRow))
    const before = await checksum(folder, 'volume', 'v3')
    await scatter(folder, 'v1', [12_345])
    expect(await checksum(folder, 'volume', 'v3')).toBe(before)
    await scatter(folder, 'v3', [30_000])
    expect(await bytesAt(folder, 'v1', 30_000, 7)).toBe('\0'.repeat(7))
  })

  test('whose file system shares blocks is grown to its size as well', async () => {
    const folder = await emptyFolder()
    await withAll(folder)
    const disk = new Proxy(
      watchedDisk(() => undefined),
      {
        get: (plain, key) =>
          key === 'copyFile' ? (from: string, to: string) => fs.copyFile(from, to) : Reflect.get(plain, key),
      },
    )
    const row = rowOf(made, dataFrom({ snapshot_id: 's1' }), { fence: 1 })
    await run(fileDriver(folder, { ...PIECES, disk }), 'create', row, given(snapshotRow))
    expect((await fs.stat(imageOf(folder, 'v3'))).size).toBe(2 * SIZE * 2 ** 30)
  })

  test('may not have two sources, nor one that it was not given', async () => {
    const folder = await emptyFolder()
    await withAll(folder)
    const driver = await started(folder)
    const both = dataFrom({ snapshot_id: 's1', source_volume_id: 'v1' })
    const creating = (data: JsonObject, ...rows: ResourceRow[]) =>
      run(driver, 'create', rowOf(made, data, { fence: 1 }), given(...rows))
    await expect(creating(both, snapshotRow, volumeRow)).rejects.toMatchObject({ code: 'missing' })
    await expect(creating(dataFrom({ snapshot_id: 's9' }), snapshotRow)).rejects.toMatchObject({
      code: 'missing',
      message: expect.stringContaining('s9'),
    })
  })

  test('of a damaged backup is not made', async () => {
    const folder = await emptyFolder()
    await withAll(folder)
    await fs.writeFile(join(folder, 'backups', 'b1', '0.gz'), 'not gzip')
    const row = rowOf(made, dataFrom({ backup_id: 'b1' }), { fence: 1 })
    const creating = run(await started(folder), 'create', row, given(backupRow))
    await expect(creating).rejects.toMatchObject({ code: 'backup_damaged' })
    expect((await scan(folder)).volume).not.toContain('v3')
  })

  const full = Object.assign(new Error('ENOSPC: no space left on device'), {
    code: 'ENOSPC',
    syscall: 'write',
  })
  test('on a full disk may be made elsewhere if it is empty; its source is here alone', async () => {
    const folder = await emptyFolder()
    await withAll(folder)
    const disk = watchedDisk((name, path) => {
      if (/handle\.(write|truncate)$/.test(name) && path.includes('/work/')) throw full
    })
    const driver = fileDriver(folder, { ...PIECES, disk })
    const empty = run(driver, 'create', rowOf(made, { name: 'empty', size: SIZE }, { fence: 1 }))
    await expect(empty).rejects.toMatchObject({ code: 'not_here', cause: full })
    const copy = rowOf(made, dataFrom({ source_volume_id: 'v1' }), { fence: 2 })
    await expect(run(driver, 'create', copy, given(volumeRow))).rejects.toMatchObject({ code: 'no_space' })
  })
})

test('a volume that is in its place when the disk is told to be full is not made elsewhere', async () => {
  const folder = await emptyFolder()
  await started(folder)
  const full = Object.assign(new Error('ENOSPC: no space left on device'), {
    code: 'ENOSPC',
    syscall: 'fsync',
  })
  const disk = watchedDisk((name, path) => {
    if (name === 'handle.sync' && path.endsWith('/volumes')) throw full
  })
  const creating = run(
    fileDriver(folder, { ...PIECES, disk }),
    'create',
    rowOf(volume, volumeData, { fence: 1 }),
  )
  await expect(creating).rejects.toMatchObject({ code: 'no_space', cause: full })
  expect((await scan(folder)).volume).toEqual(['v1'])
})

describe('a revert', () => {
  test('makes the content that of the snapshot, which stays as it is', async () => {
    const folder = await emptyFolder()
    await withChange(folder)
    const before = await checksum(folder, 'snapshot', 's1')
    expect(await checksum(folder, 'volume', 'v1')).not.toBe(before)
    await run(await started(folder), 'revert', rowOf(volume, volumeData, { fence: 2 }), reverting)
    expect(await checksum(folder, 'volume', 'v1')).toBe(before)
    await scatter(folder, 'v1', [100])
    expect(await checksum(folder, 'snapshot', 's1')).toBe(before)
  })

  test('to a snapshot of another size, of another volume or that was not given changes nothing', async () => {
    const folder = await emptyFolder()
    await withChange(folder)
    const driver = await started(folder)
    const before = await look(folder)
    const row = rowOf(volume, volumeData, { fence: 2 })
    const larger = rowOf(volume, { ...volumeData, size: 2 * SIZE }, { fence: 2 })
    await expect(run(driver, 'revert', larger, reverting)).rejects.toMatchObject({ code: 'size_differs' })
    const other = rowOf(snapshot, { ...snapshotData, volume_id: 'v9' }, { fence: 1 })
    const foreign = { ...reverting, ...given(other) }
    await expect(run(driver, 'revert', row, foreign)).rejects.toMatchObject({ code: 'missing' })
    await expect(run(driver, 'revert', row, { ...reverting, ...given() })).rejects.toMatchObject({
      code: 'missing',
    })
    expect(await look(folder)).toEqual(before)
  })

  test('makes no volume where there is none', async () => {
    const folder = await emptyFolder()
    await withChange(folder)
    await fs.rm(imageOf(folder))
    const driver = await started(folder)
    const missing = run(driver, 'revert', rowOf(volume, volumeData, { fence: 2 }), reverting)
    await expect(missing).rejects.toMatchObject({ code: 'missing' })
    expect((await scan(folder)).volume).toEqual([])
  })
})

describe('a delete in cascade', () => {
  test('removes the snapshots that it was given, and none of another volume', async () => {
    const folder = await emptyFolder()
    await withSnapshots(folder)
    const driver = await started(folder)
    const before = await look(folder)
    const row = rowOf(volume, volumeData, { fence: 2 })
    const foreign = rowOf(second, { ...snapshotData, volume_id: 'v9' }, { fence: 1 })
    const deleting = run(driver, 'delete', row, { ...cascading, ...given(snapshotRow, foreign) })
    await expect(deleting).rejects.toMatchObject({ code: 'missing', message: expect.stringContaining('s2') })
    expect(await look(folder)).toEqual(before)
    await run(driver, 'force_delete', row, cascading)
    expect((await look(folder)).present).toEqual({})
  })

  test('is refused by a newer fence of any of its snapshots, before anything is removed', async () => {
    const folder = await emptyFolder()
    await withSnapshots(folder)
    const driver = await started(folder)
    await driver.fence!(secondRow, 2)
    const before = await look(folder)
    const deleting = run(driver, 'delete', rowOf(volume, volumeData, { fence: 2 }), cascading)
    await expect(deleting).rejects.toMatchObject({ code: 'fenced' })
    expect(await look(folder)).toEqual(before)
  })

  test('that stalls removes no snapshot any more whose own mark somebody raised, nor the volume', async () => {
    const base = await emptyFolder()
    await withSnapshots(base)
    let refused = 0
    await upToTheEnd(async (n) => {
      const folder = await copied(base)
      const { disk, stalled, release } = stallingDisk(n)
      const row = rowOf(volume, volumeData, { fence: 2 })
      const settled = endOf(run(fileDriver(folder, { ...PIECES, disk }), 'delete', row, cascading))
      if ((await Promise.race([stalled, settled])) !== 'stalled') return 'past the end'
      await fileDriver(folder).fence!(secondRow, 2)
      const fenced = await look(folder)
      release()
      if ((await settled) === 'fenced') refused++
      const woken = await look(folder)
      if ('snapshot s2' in fenced.present) expect(woken.present).toHaveProperty(['snapshot s2'])
      if ('snapshot s2' in fenced.present) expect(woken.present).toHaveProperty(['volume v1'])
    })
    expect(refused).toBeGreaterThan(5)
  })

  test('without cascade removes the volume alone', async () => {
    const folder = await emptyFolder()
    await withSnapshots(folder)
    const row = rowOf(volume, volumeData, { fence: 2 })
    await run(await started(folder), 'delete', row, { ...cascading, input: {} })
    expect(await scan(folder)).toEqual({ volume: [], snapshot: ['s1', 's2'], backup: [] })
  })
})

describe('a volume that is being read', () => {
  /** Reads one of the volume's pieces and stays there. */
  async function halfRead(folder: string, signal = new AbortController().signal) {
    const driver = await started(folder)
    const { pieces } = await driver.export!(volumeRow, signal)
    const reading = pieces(signal)[Symbol.asyncIterator]()
    await reading.next()
    return reading
  }

  test('is busy for a delete, alone or in cascade, until the reader is done; a forced delete does not ask', async () => {
    const folder = await emptyFolder()
    await withSnapshots(folder)
    const driver = await started(folder)
    const before = await look(folder)
    const reading = await halfRead(folder)
    const row = (fence: number) => rowOf(volume, volumeData, { fence })
    await expect(run(driver, 'delete', row(2))).rejects.toMatchObject({ code: 'busy' })
    await expect(run(driver, 'delete', row(3), cascading)).rejects.toMatchObject({ code: 'busy' })
    expect(await look(folder)).toEqual(before)
    await reading.return!()
    await run(driver, 'delete', row(4))
    expect((await scan(folder)).volume).toEqual([])
    await withVolumeAgain(folder)
    const again = await halfRead(folder)
    await run(driver, 'force_delete', row(6))
    expect((await scan(folder)).volume).toEqual([])
    await again.return!()
  })

  async function withVolumeAgain(folder: string): Promise<void> {
    await run(await started(folder), 'create', rowOf(volume, volumeData, { fence: 5 }))
    await scatter(folder, 'v1', [0])
  }

  test('by a call that was aborted and never settles is not busy', async () => {
    const folder = await emptyFolder()
    await withSnapshot(folder)
    const control = new AbortController()
    const reading = await halfRead(folder, control.signal)
    control.abort(new Error('timed out'))
    await run(await started(folder), 'delete', rowOf(volume, volumeData, { fence: 2 }))
    expect((await scan(folder)).volume).toEqual([])
    await reading.return!()
  })

  test('is read by a snapshot, a backup, a copy and a revert: each makes its source busy', async () => {
    const readers: [string, ResourceRow, Partial<Parameters<typeof contextOf>[2]>, Ref, JsonObject][] = [
      ['create', rowOf(second, snapshotData, { fence: 1 }), given(volumeRow), volume, volumeData],
      ['create', backupRow, given(volumeRow), volume, volumeData],
      [
        'create',
        rowOf(made, dataFrom({ source_volume_id: 'v1' }), { fence: 1 }),
        given(volumeRow),
        volume,
        volumeData,
      ],
      ['revert', rowOf(volume, volumeData, { fence: 2 }), reverting, snapshot, snapshotData],
    ]
    for (const [operation, row, context, source, data] of readers) {
      const folder = await emptyFolder()
      await withChange(folder)
      const driver = await started(folder)
      let deleting: Promise<string> | undefined
      const progress = (fraction: number) => {
        if (fraction > 0) deleting ??= endOf(run(driver, 'delete', rowOf(source, data, { fence: 3 })))
      }
      const slow = watchedDisk(async (name, path) => {
        if (name === 'handle.read' && path.endsWith('.img')) await deleting
      })
      await run(fileDriver(folder, { ...PIECES, disk: slow }), operation, row, { ...context, progress })
      expect(await deleting).toBe('busy')
    }
  })
})

test('an extend on a full disk is told as no_space, and the image is as it was', async () => {
  const folder = await emptyFolder()
  await withSnapshot(folder)
  const before = await look(folder)
  const full = Object.assign(new Error('ENOSPC: no space left on device'), {
    code: 'ENOSPC',
    syscall: 'write',
  })
  const disk = watchedDisk((name, path) => {
    if (name === 'handle.write' && path === imageOf(folder)) throw full
  })
  const row = rowOf(volume, volumeData, { fence: 2 })
  const extending = run(fileDriver(folder, { ...PIECES, disk }), 'extend', row, { input: { size: 2 * SIZE } })
  await expect(extending).rejects.toMatchObject({ code: 'no_space', cause: full })
  expect(await look(folder)).toEqual(before)
})
