// A backend that is a folder: volumes and snapshots are sparse raw images, backups are folders of chunks.
// Real files and real syncs: what a method resolved for is on disk. Several nodes, in one process or
// several, may work on one folder; which of them may, the marks in the folder decide (file/claim.ts).

import * as fs from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { JsonObject, ResourceRow } from '../../machines/row.ts'
import type { Driver, DriverContext, DriverMethod, DriverSetup } from '../driver.ts'
import {
  type Backend,
  type Disk,
  exists,
  homeOf,
  KINDS,
  marksOf,
  placeOf,
  syncFolder,
  trashOf,
  workOf,
} from './file/backend.ts'
import { factsOf, restoreBackup, writeBackup } from './file/backup.ts'
import { type Claim, clearLeftovers, shutOut, underClaim } from './file/claim.ts'
import { fail, worded } from './file/error.ts'
import { bytesOf, copyImage, GIB, growImage, sizeOf, writing } from './file/image.ts'
import { forgetMarks } from './file/mark.ts'

export type { FileDriverErrorCode } from './file/error.ts'
export { checksum, scan } from './file/inspect.ts'

export interface FileDriverOptions {
  /** How much is copied between two looks at the signal and the mark; the size of a chunk. Default 4 MiB. */
  readonly piece_bytes?: number
  /** How long the mark of a deleted resource is kept, at least: longer than any process stalls. Default 7 days. */
  readonly keep_marks_ms?: number
  /** The file system, for tests that crash it. Default `node:fs/promises`. */
  readonly disk?: Disk
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * A driver for `volume`, `snapshot` and `backup` over `folder`, which it makes if needed.
 *
 * What a method resolved for is durable. Each method is atomic at the backend (an image, snapshot or backup
 * is there whole or not at all; a failed restore leaves its volume as it was) and may be run again after a
 * crash at any point. Once `fence` has resolved, no older claim makes, replaces or removes anything.
 * Rejects with a DriverError of a `FileDriverErrorCode`, or with the signal's reason.
 *
 * Not promised: a snapshot of an image that is being written to is a point in time only where the file
 * system can share blocks (Btrfs, XFS, APFS); an extend that was fenced may still grow the image, which
 * loses nothing; NFS, whose appends are not atomic; Windows, which cannot sync a folder.
 */
export function fileDriver(folder: string, options: FileDriverOptions = {}): Driver {
  const { piece_bytes = 4 << 20, keep_marks_ms = 7 * DAY_MS, disk = fs } = options
  const backend: Backend = { folder: resolve(folder), disk, piece_bytes }
  const remove: DriverMethod = (context) =>
    underClaim(backend, context, [], (claim) => claim.remove(context.row))
  return {
    setup: (setup) => prepare(backend, keep_marks_ms, setup),
    async capabilities() {
      const { bsize, blocks, bavail } = await disk.statfs(backend.folder)
      return { total_gib: (blocks * bsize) / GIB, free_gib: (bavail * bsize) / GIB }
    },
    async fence(row, fence) {
      try {
        await shutOut(backend, row, fence)
      } catch (error) {
        throw worded(error, `fence ${row.kind} ${row.id}`)
      }
    },
    undo: (context) => undo(backend, context),
    operations: {
      volume: {
        create: (context) => createVolume(backend, context),
        extend: (context) => extendVolume(backend, context),
        delete: remove,
        force_delete: remove,
      },
      snapshot: {
        create: (context) => createSnapshot(backend, context),
        delete: remove,
        force_delete: remove,
      },
      backup: {
        create: (context) => createBackup(backend, context),
        restore: (context) => restore(backend, context),
        delete: remove,
        force_delete: remove,
      },
    },
  }
}

async function createVolume(backend: Backend, context: DriverContext) {
  const bytes = bytesOf(context.row.data.size)
  return make(backend, context, {
    build: (path) => writing(backend.disk, path, 'wx', (handle) => handle.truncate(bytes)),
    facts: async () => undefined,
  })
}

async function extendVolume(backend: Backend, context: DriverContext) {
  const { size } = context.input
  const bytes = bytesOf(size)
  return underClaim(backend, context, [], async (claim) => {
    const path = await presentPlace(backend, context.row)
    return { size: sizeOf(await growImage(backend.disk, path, bytes, claim), size) }
  })
}

async function createSnapshot(backend: Backend, context: DriverContext) {
  const volume = relatedVolume(context)
  return make(backend, context, {
    build: async (path, claim) => copyImage(backend, await presentPlace(backend, volume), path, claim),
    facts: async (place) => ({ size: sizeOf((await backend.disk.stat(place)).size, volume.data.size) }),
  })
}

async function createBackup(backend: Backend, context: DriverContext) {
  const volume = relatedVolume(context)
  return make(backend, context, {
    build: async (path, claim) =>
      writeBackup(backend, await presentPlace(backend, volume), volume.id, path, claim),
    facts: (place) => factsOf(backend, place, volume.data.size),
  })
}

/** Replaces the held volume's image as a whole; until then it is what it was. */
async function restore(backend: Backend, context: DriverContext) {
  const volume = relatedVolume(context)
  const { volume_id } = context.input
  // The backup's own volume is not always its target: what is overwritten must be what was asked for.
  if (volume.id !== volume_id)
    throw fail('missing', `restore into ${volume_id} was given volume ${volume.id}`)
  const bytes = bytesOf(volume.data.size)
  await underClaim(backend, context, [volume], async (claim) => {
    const path = await presentPlace(backend, context.row)
    await restoreBackup(backend, path, context.row.data.sha256, claim.work(volume), bytes, claim)
    await claim.publish(volume)
  })
}

/**
 * Takes back a create; tells the truth about an extend, since what was grown is not cut off again. Else
 * there is nothing to undo: a removal is one step, and a half restore was never in its volume's place.
 */
async function undo(backend: Backend, context: DriverContext) {
  const { row, operation, input } = context
  return underClaim(backend, context, [], async (claim) => {
    if (operation === 'create') await claim.remove(row)
    if (operation !== 'extend') return
    const path = placeOf(backend.folder, row)
    if (!(await exists(backend.disk, path))) return
    const { size } = await backend.disk.stat(path)
    if (size >= bytesOf(input.size)) return { size: sizeOf(size, input.size) }
  })
}

interface Making {
  /** Makes it, synced, at `path`. */
  build(path: string, claim: Claim): Promise<void>
  /** What the row is told of it, once it is in its place. */
  facts(place: string): Promise<JsonObject | undefined>
}

/** Makes the row's resource in its place; one that is there already is whole, and kept. */
async function make(backend: Backend, context: DriverContext, { build, facts }: Making) {
  const { disk, folder } = backend
  const place = placeOf(folder, context.row)
  return underClaim(backend, context, [], async (claim) => {
    await claim.step(0)
    if (await exists(disk, place)) {
      // An earlier run may have died between its rename and its sync.
      await syncFolder(disk, dirname(place))
    } else {
      await build(claim.work(context.row), claim)
      await claim.publish(context.row)
    }
    return facts(place)
  })
}

async function presentPlace({ disk, folder }: Backend, row: ResourceRow): Promise<string> {
  const place = placeOf(folder, row)
  if (!(await exists(disk, place))) throw fail('missing', `${row.kind} ${row.id} is not at the backend`)
  return place
}

function relatedVolume({ row, operation, related }: DriverContext): ResourceRow {
  if (related.volume === undefined)
    throw fail('missing', `${operation} of ${row.kind} ${row.id} was given no volume`)
  return related.volume
}

/** Makes the folders, proves that they can be written and synced, and clears what crashes left. */
async function prepare(backend: Backend, keep_marks_ms: number, { signal }: DriverSetup): Promise<void> {
  const { folder, disk } = backend
  try {
    await makeFolder(disk, folder)
    for (const kind of KINDS) {
      await disk.mkdir(homeOf(folder, kind), { recursive: true })
      await disk.mkdir(marksOf(folder, kind), { recursive: true })
    }
    await disk.mkdir(workOf(folder), { recursive: true })
    await disk.mkdir(trashOf(folder), { recursive: true })
    await syncFolder(disk, join(folder, 'fences'))
    await syncFolder(disk, folder)
    const now_ms = await touch(disk, join(folder, 'last_setup'))
    signal.throwIfAborted()
    await clearLeftovers(backend)
    await forgetMarks(backend, now_ms, keep_marks_ms)
  } catch (error) {
    signal.throwIfAborted()
    throw fail('backend_unusable', `the folder ${folder} can't be used: ${String(error)}`, error)
  }
}

/** Makes the folder and those above it that are missing, durably. */
async function makeFolder(disk: Disk, folder: string): Promise<void> {
  const first = await disk.mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = dirname(made))
    await syncFolder(disk, dirname(made))
}

/** Writes and syncs the file, and tells the time by the clock of the file system, as marks have it. */
async function touch(disk: Disk, path: string): Promise<number> {
  const handle = await disk.open(path, 'w')
  try {
    await handle.writeFile('Written at each set-up, to see that this folder can be written.\n')
    await handle.sync()
    return (await handle.stat()).mtimeMs
  } finally {
    await handle.close()
  }
}
