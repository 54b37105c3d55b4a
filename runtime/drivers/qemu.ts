// A backend of qcow2 images in a folder, made and changed with qemu-img: volumes are thin, and a snapshot costs
// nothing. The folder, marks, claims and backups are those of the file driver; what is different is how images
// hang together (qemu/chain.ts), and that one claim at a time changes that (qemu/turn.ts).

import * as fs from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Capabilities } from '../../machines/row.ts'
import type { Driver, DriverContext, DriverMethod, DriverSetup } from '../driver.ts'
import { homeOf, idsAt, placeOf } from './file/backend.ts'
import { createBackup } from './file/backup.ts'
import { shutOut, underClaim } from './file/claim.ts'
import { worded } from './file/error.ts'
import { GIB, imageBytes } from './file/image.ts'
import { exportImage, releaseSource, undoMigration } from './file/migration.ts'
import { remove } from './file/remove.ts'
import { prepare } from './file/setup.ts'
import { type QemuBackend, type QemuDisk, readHeader } from './qemu/chain.ts'
import { contentDisk } from './qemu/content.ts'
import { failed } from './qemu/error.ts'
import type { Bench } from './qemu/image.ts'
import { migrateVolume } from './qemu/migration.ts'
import { checkVersion, qemuImg } from './qemu/qemu_img.ts'
import { createSnapshot, removeSnapshot, takeBackHalf } from './qemu/snapshot.ts'
import { turnsOf } from './qemu/turn.ts'
import { createVolume, extendVolume, grownTo, removeVolume, restore, revertVolume } from './qemu/volume.ts'

export type { QemuDriverErrorCode } from './qemu/error.ts'
export { contentChecksum } from './qemu/inspect.ts'

export interface QemuDriverOptions {
  /** The program. Default `qemu-img`, looked for as the shell does. */
  readonly command?: string
  /** How much of a backup or a copy is done between two looks at the signal; the size of a chunk. Default 4 MiB. */
  readonly piece_bytes?: number
  /** How long the mark of a deleted resource is kept, at least: longer than any process stalls. Default 7 days. */
  readonly keep_marks_ms?: number
  /** What placement is told besides the room: reserve, over-subscription, specs. Images here are thin. */
  readonly capabilities?: Omit<Capabilities, 'total_gib' | 'free_gib' | 'provisioned_gib' | 'thin'>
  /** The file system, for tests that crash it. Default `node:fs/promises`. */
  readonly disk?: QemuDisk
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * A driver for `volume`, `snapshot` and `backup` over `folder`, which it makes if needed. It needs qemu-img 5.1
 * or newer; without it `setup` rejects as `no_qemu_img`, and the message says how to install it.
 *
 * What a method resolved for is durable. Each method is atomic at the backend and may be run again after a
 * crash at any point. Once `fence` has resolved, no older claim makes, replaces or removes anything. When the
 * signal is aborted qemu-img is killed, and the method rejects with the reason after its end.
 * Rejects with a DriverError of a `QemuDriverErrorCode`, or with the signal's reason.
 *
 * Deleting a snapshot copies what lies over it, with the snapshot's data. An image that another process has
 * open for writing (a running virtual machine) is refused as `busy`: its program would go on writing to the
 * replaced one. Backups and migrations need room for a raw copy at their target.
 *
 * Not promised: that a program which opens an image in the middle of an operation is seen; an extend that was
 * fenced may still grow the image, which loses nothing; NFS; Windows.
 */
export function qemuDriver(folder: string, options: QemuDriverOptions = {}): Driver {
  const { command = 'qemu-img', piece_bytes = 4 << 20, keep_marks_ms = 7 * DAY_MS, disk = fs } = options
  const backend: QemuBackend = { folder: resolve(folder), disk, piece_bytes }
  const tool = qemuImg(command)
  const topics = new Set<string>()
  const benchOf = (context: DriverContext): Bench => ({ backend, tool, context })
  const method =
    <T>(act: (bench: Bench) => Promise<T>) =>
    (context: DriverContext) =>
      act(benchOf(context))
  /** The backend as it looks to what reads raw images. */
  const contents = (signal?: AbortSignal) => ({ ...backend, disk: contentDisk(backend, tool, signal) })
  const removeBackup: DriverMethod = (context) => remove(backend, context)
  return {
    async setup(setup) {
      await checkVersion(tool, command, setup.signal)
      topics.add(`${setup.cluster}@${setup.backend}`)
      await prepare(backend, keep_marks_ms, setup)
      await refuseOthers(backend, setup)
    },
    async capabilities() {
      const { bsize, blocks, bavail } = await disk.statfs(backend.folder)
      return {
        ...options.capabilities,
        total_gib: (blocks * bsize) / GIB,
        free_gib: (bavail * bsize) / GIB,
        thin: true,
        provisioned_gib: (await imageBytes(contents())) / GIB,
      }
    },
    async fence(row, fence) {
      try {
        await shutOut(backend, row, fence)
        await takeBackHalf(benchOf(cleanupOf(row, fence)))
      } catch (error) {
        throw worded(error, `fence ${row.kind} ${row.id}`)
      }
    },
    undo: method(undo),
    export: (row, signal) => exportImage(contents(signal), row, signal),
    operations: {
      volume: {
        create: method(createVolume),
        extend: method(extendVolume),
        revert: method(revertVolume),
        migrate: method(migrateVolume),
        release_source: method((bench) => release(bench, topics)),
        delete: method(removeVolume),
        force_delete: method(removeVolume),
      },
      snapshot: {
        create: method(createSnapshot),
        delete: method(removeSnapshot),
        force_delete: method(removeSnapshot),
      },
      backup: {
        create: (context) => createBackup(contents(context.signal), context),
        restore: method(restore),
        delete: removeBackup,
        force_delete: removeBackup,
      },
    },
  }
}

/**
 * Takes back a create and the copy of a migration; tells the truth about an extend. Else there is nothing to
 * undo: a half restore, revert or merge was never in its place.
 */
async function undo(bench: Bench) {
  const { backend, context } = bench
  const { row, operation } = context
  if (operation === 'create' && row.kind === 'snapshot') return removeSnapshot(bench)
  return underClaim(backend, context, [], async (claim) => {
    if (operation === 'create') return claim.remove(row)
    if (operation === 'migrate') return undoMigration(backend, row, claim)
    if (operation === 'extend') return grownTo(bench)
  })
}

/** Nothing is left to take turns at when the volume's copy is removed. */
async function release({ backend, context }: Bench, topics: ReadonlySet<string>): Promise<void> {
  await releaseSource(backend, context, topics)
  await backend.disk.rm(turnsOf(backend.folder, context.row.id), { recursive: true, force: true })
}

/** The claim of a cleanup that only fences. */
function cleanupOf(row: DriverContext['row'], fence: number): DriverContext {
  return {
    ...{ row, operation: 'fence', input: {}, related: {}, relatedRows: [], source: null, fence, attempt: 1 },
    signal: new AbortController().signal,
    progress: () => undefined,
    log: () => undefined,
  }
}

/** A folder of raw images is the file driver's: nothing here may be made of it. */
async function refuseOthers(backend: QemuBackend, { signal }: DriverSetup): Promise<void> {
  const [id] = await idsAt(backend, 'volume')
  if (id === undefined) return
  signal.throwIfAborted()
  try {
    await readHeader(backend.disk, placeOf(backend.folder, { kind: 'volume', id }))
  } catch (error) {
    throw failed(
      'backend_unusable',
      `${homeOf(backend.folder, 'volume')} holds images of another driver: ${(error as Error).message}`,
      error,
    )
  }
}
