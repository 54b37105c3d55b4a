// A backend that is a folder: volumes and snapshots are sparse raw images, backups are folders of chunks.
// Real files and real syncs: what a method resolved for is on disk. Several nodes, in one process or
// several, may work on one folder; which of them may, the marks in the folder decide (file/claim.ts).

import * as fs from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Capabilities } from '../../machines/row.ts'
import type { Driver, DriverContext, DriverMethod } from '../driver.ts'
import type { Backend, Disk } from './file/backend.ts'
import { createBackup, restore } from './file/backup.ts'
import { shutOut, underClaim } from './file/claim.ts'
import { worded } from './file/error.ts'
import { GIB, imageBytes } from './file/image.ts'
import { exportImage, migrateVolume, releaseSource, undoMigration } from './file/migration.ts'
import { remove } from './file/remove.ts'
import { prepare } from './file/setup.ts'
import { createSnapshot } from './file/snapshot.ts'
import { createVolume, extendVolume, grownTo, revertVolume } from './file/volume.ts'

export type { FileDriverErrorCode } from './file/error.ts'
export { checksum, scan } from './file/inspect.ts'
export { type Strays, strayFiles } from './file/strays.ts'

export interface FileDriverOptions {
  /** How much is copied between two looks at the signal and the mark; the size of a chunk. Default 4 MiB. */
  readonly piece_bytes?: number
  /** How long the mark of a deleted resource is kept, at least: longer than any process stalls. Default 7 days. */
  readonly keep_marks_ms?: number
  /**
   * What placement is told besides the room: reserve, over-subscription, specs. With `thin`, what the images
   * may grow to is counted at each heartbeat.
   */
  readonly capabilities?: Omit<Capabilities, 'total_gib' | 'free_gib' | 'provisioned_gib'>
  /** The file system, for tests that crash it. Default `node:fs/promises`. */
  readonly disk?: Disk
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * A driver for `volume`, `snapshot` and `backup` over `folder`, which it makes if needed.
 *
 * What a method resolved for is durable. Each method is atomic at the backend (an image, snapshot or backup
 * is there whole or not at all; a failed restore or revert leaves its volume as it was; a delete in cascade
 * is one such step for each resource, the volume last) and may be run again after a crash at any point. A
 * migration is verified before its copy counts, a restore before it replaces anything. Once `fence` has
 * resolved, no older claim makes, replaces or removes anything. Rejects with a DriverError of a
 * `FileDriverErrorCode`, or with the signal's reason.
 *
 * Not promised: a snapshot of an image that is being written to is a point in time only where the file
 * system can share blocks (Btrfs, XFS, APFS); an extend that was fenced may still grow the image, which
 * loses nothing; NFS, whose appends are not atomic; Windows, which cannot sync a folder.
 */
export function fileDriver(folder: string, options: FileDriverOptions = {}): Driver {
  const { piece_bytes = 4 << 20, keep_marks_ms = 7 * DAY_MS, disk = fs, capabilities: told = {} } = options
  const backend: Backend = { folder: resolve(folder), disk, piece_bytes }
  const topics = new Set<string>()
  const removed: DriverMethod = (context) => remove(backend, context)
  return {
    async setup(setup) {
      topics.add(`${setup.cluster}@${setup.backend}`)
      await prepare(backend, keep_marks_ms, setup)
    },
    async capabilities() {
      const { bsize, blocks, bavail } = await disk.statfs(backend.folder)
      const room = { total_gib: (blocks * bsize) / GIB, free_gib: (bavail * bsize) / GIB }
      if (told.thin !== true) return { ...told, ...room }
      return { ...told, ...room, provisioned_gib: (await imageBytes(backend)) / GIB }
    },
    async fence(row, fence) {
      try {
        await shutOut(backend, row, fence)
      } catch (error) {
        throw worded(error, `fence ${row.kind} ${row.id}`)
      }
    },
    undo: (context) => undo(backend, context),
    export: (row, signal) => exportImage(backend, row, signal),
    operations: {
      volume: {
        create: (context) => createVolume(backend, context),
        extend: (context) => extendVolume(backend, context),
        revert: (context) => revertVolume(backend, context),
        migrate: (context) => migrateVolume(backend, context),
        release_source: (context) => releaseSource(backend, context, topics),
        delete: removed,
        force_delete: removed,
      },
      snapshot: {
        create: (context) => createSnapshot(backend, context),
        delete: removed,
        force_delete: removed,
      },
      backup: {
        create: (context) => createBackup(backend, context),
        restore: (context) => restore(backend, context),
        delete: removed,
        force_delete: removed,
      },
    },
  }
}

/**
 * Takes back a create and the copy of a migration; tells the truth about an extend. Else there is nothing to
 * undo: a removal is one step, and a half restore or revert was never in its volume's place.
 */
async function undo(backend: Backend, context: DriverContext) {
  const { row, operation } = context
  return underClaim(backend, context, [], async (claim) => {
    if (operation === 'create') return claim.remove(row)
    if (operation === 'migrate') return undoMigration(backend, row, claim)
    if (operation === 'extend') return grownTo(backend, context)
  })
}
