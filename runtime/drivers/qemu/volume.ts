// What the driver does for volumes. Where a volume is made from something, it is a full copy: an overlay would
// be made at once, but then a source could not be deleted without its copies, nor they without it; here the
// images of one volume and its snapshots are a family of their own.

import { dirname, join } from 'node:path'
import type { JsonObject, ResourceRow } from '../../../machines/row.ts'
import { DriverError } from '../../driver.ts'
import { exists, placeOf, presentPlace } from '../file/backend.ts'
import { readBackup } from '../file/backup.ts'
import { type Claim, underClaim } from '../file/claim.ts'
import { bytesOf, sizeOf } from '../file/image.ts'
import { make, takenRow } from '../file/make.ts'
import { cascading, removeWhole } from '../file/remove.ts'
import { sourceOf } from '../file/volume.ts'
import { chainOf, readHeader } from './chain.ts'
import { failed } from './error.ts'
import { type Bench, grow, makeCopy, makeEmpty, makeOfRaw, makeOverlay, partOf, refuseOpen } from './image.ts'
import { takeTurn, turnsOf } from './turn.ts'

/** Rejects as `not_here` where another backend may do better: it has the source, or room for an empty volume. */
export async function createVolume(bench: Bench): Promise<JsonObject | undefined> {
  const { backend, context } = bench
  const source = sourceOf(context)
  const bytes = bytesOf(context.row.data.size)
  const build = (path: string, claim: Claim) =>
    source === null ? makeEmpty(bench, path, bytes) : copySource(bench, source, path, bytes, claim)
  try {
    return await make(backend, context, { build, facts: async () => undefined })
  } catch (error) {
    if (source !== null || !(error instanceof DriverError) || error.code !== 'no_space') throw error
    throw failed('not_here', `no room here: ${error.message}`, error)
  }
}

async function copySource(
  bench: Bench,
  source: ResourceRow,
  path: string,
  bytes: number,
  claim: Claim,
): Promise<void> {
  const { disk, folder } = bench.backend
  const place = placeOf(folder, source)
  if (!(await exists(disk, place)))
    throw failed('not_here', `${source.kind} ${source.id} is not at this backend`)
  if (source.kind === 'backup') return readBackupInto(bench, source, path, bytes, claim)
  const header = await readHeader(disk, place)
  if (header.bytes > bytes)
    throw failed('size_differs', `${source.kind} ${source.id} has ${header.bytes} bytes, the volume ${bytes}`)
  await makeCopy(bench, place, path, bytes, claim)
}

/** Chunks are verified as they are written to a raw file, which needs room for as much as the backup holds. */
async function readBackupInto(
  bench: Bench,
  backup: ResourceRow,
  path: string,
  bytes: number,
  claim: Claim,
): Promise<void> {
  const { backend, context } = bench
  const raw = join(dirname(path), 'raw')
  await readBackup(backend, context, backup, raw, bytes, partOf(claim, 0, 0.8))
  await makeOfRaw(bench, raw, path, partOf(claim, 0.8, 0.2))
}

/** Growing is in place: a fenced claim that stalled right before may still do it, which loses nothing. */
export async function extendVolume(bench: Bench): Promise<JsonObject> {
  const { backend, context } = bench
  const { row, input } = context
  const bytes = bytesOf(input.size)
  return underClaim(backend, context, [], async (claim) => {
    await claim.step(0, 'growing')
    await takeTurn(backend, context, row.id)
    const image = await presentPlace(backend, row)
    await claim.step(0.5, 'growing')
    return { size: sizeOf(await grow(bench, image, bytes), input.size) }
  })
}

/** What was grown is not cut off again, so the row is told the truth. */
export async function grownTo({ backend, context }: Bench): Promise<JsonObject | undefined> {
  const { row, input } = context
  const image = placeOf(backend.folder, row)
  if (!(await exists(backend.disk, image))) return
  const { bytes } = await readHeader(backend.disk, image)
  if (bytes >= bytesOf(input.size)) return { size: sizeOf(bytes, input.size) }
}

/** The volume goes on with an empty image over the snapshot; what was written since is gone with the old one. */
export async function revertVolume(bench: Bench): Promise<void> {
  const { backend, context } = bench
  const { row, input } = context
  const snapshot = takenRow(context, 'snapshot', input.snapshot_id)
  if (snapshot.data.volume_id !== row.id)
    throw failed('missing', `snapshot ${snapshot.id} is not one of volume ${row.id}`)
  const bytes = bytesOf(row.data.size)
  await underClaim(backend, context, [], async (claim) => {
    await claim.step(0, 'reverting')
    await takeTurn(backend, context, row.id)
    const image = await presentPlace(backend, row)
    const header = await readHeader(backend.disk, await presentPlace(backend, snapshot))
    if (header.bytes !== bytes)
      throw failed('size_differs', `snapshot ${snapshot.id} has ${header.bytes} bytes, the volume ${bytes}`)
    await refuseOpen(bench, image)
    await makeOverlay(bench, claim.work(row), snapshot.id, bytes)
    await claim.publish(row)
  })
}

/** Replaces the held volume's image as a whole; until then it is what it was. Its snapshots stay. */
export async function restore(bench: Bench): Promise<void> {
  const { backend, context } = bench
  // The backup's own volume is not always its target: what is overwritten must be what was asked for.
  const volume = takenRow(context, 'volume', context.input.volume_id)
  const bytes = bytesOf(volume.data.size)
  await underClaim(backend, context, [volume], async (claim) => {
    const image = await presentPlace(backend, volume)
    await refuseOpen(bench, image)
    await readBackupInto(bench, context.row, claim.work(volume), bytes, claim)
    await takeTurn(backend, context, volume.id)
    await refuseOpen(bench, image)
    await claim.publish(volume)
  })
}

/**
 * Removes the volume, and with `cascade` its snapshots. The volume first, and of the snapshots none before
 * those that lie over it: no image is ever there without what it needs. A forced one does not ask who has
 * the image open.
 */
export async function removeVolume(bench: Bench): Promise<void> {
  const { backend, context } = bench
  const { row, operation } = context
  const snapshots = cascading(context)
  await underClaim(backend, context, snapshots, async (claim) => {
    await claim.step(0, 'removing')
    await takeTurn(backend, context, row.id)
    const image = placeOf(backend.folder, row)
    if (operation !== 'force_delete' && (await exists(backend.disk, image))) await refuseOpen(bench, image)
    const depths = new Map<string, number>()
    for (const { kind, id } of snapshots)
      depths.set(id, await depthOf(bench, placeOf(backend.folder, { kind, id })))
    await removeWhole(claim, row)
    for (const snapshot of [...snapshots].sort((a, b) => depths.get(b.id)! - depths.get(a.id)!))
      await claim.remove(snapshot)
    await backend.disk.rm(turnsOf(backend.folder, row.id), { recursive: true, force: true })
  })
}

/** How many images lie under it; 0 where it is gone already. */
async function depthOf({ backend }: Bench, place: string): Promise<number> {
  return (await exists(backend.disk, place)) ? (await chainOf(backend, place)).length : 0
}
