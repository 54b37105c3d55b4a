// Snapshots cost nothing when they are made: the volume's image is frozen by becoming the snapshot, and the
// volume goes on with an empty image over it. Removing one costs the copy of its child: what lies over it is
// made anew without it. Images are never changed in place for this, so a crash leaves the old chain or the new.

import { basename, dirname, join } from 'node:path'
import type { JsonObject, ResourceRow } from '../../../machines/row.ts'
import { exists, homeOf, placeOf, presentPlace, syncFolder } from '../file/backend.ts'
import { type Claim, underClaim } from '../file/claim.ts'
import { sizeOf } from '../file/image.ts'
import { takenRow } from '../file/make.ts'
import { childrenOf, isSameFile, makeHomes, readHeader } from './chain.ts'
import { type Bench, makeMerged, makeOverlay, partOf, refuseOpen, syncFile } from './image.ts'
import { takeTurn } from './turn.ts'

/**
 * Two names change, the snapshot's and the volume's, one after the other. In between both are one file: the
 * snapshot is half made. A crash there is seen by that, and the next run goes on; `takeBackHalf` gives it up.
 */
export async function createSnapshot(bench: Bench): Promise<JsonObject> {
  const { backend, context } = bench
  const { disk, folder } = backend
  const { row } = context
  const volume = takenRow(context, 'volume', row.data.volume_id)
  return underClaim(backend, context, [], async (claim) => {
    await claim.step(0, 'freezing')
    await takeTurn(backend, context, volume.id)
    const place = placeOf(folder, row)
    const isThere = await exists(disk, place)
    if (!isThere || (await isHalfMade(bench, row, volume.id))) {
      const image = await presentPlace(backend, volume)
      await refuseOpen(bench, image)
      const { bytes } = await readHeader(disk, image)
      const top = join(dirname(claim.work(row)), 'top')
      await makeOverlay(bench, top, row.id, bytes)
      await claim.step(0.5, 'freezing')
      if (!isThere) {
        await syncFile(backend, image)
        await disk.link(image, claim.work(row))
        await claim.publish(row)
      }
      try {
        await disk.rename(top, image)
      } catch (error) {
        // Nobody undoes a snapshot that failed: give it up, if it is still this claim's to give up.
        if (await isHalfMade(bench, row, volume.id)) await claim.retract(row).catch(() => undefined)
        throw error
      }
    }
    // Also where it was there: an earlier run may have died between its rename and its sync.
    await syncFolder(disk, dirname(place))
    await syncFolder(disk, homeOf(folder, 'volume'))
    return { size: sizeOf((await readHeader(disk, place)).bytes, volume.data.size) }
  })
}

async function isHalfMade({ backend }: Bench, row: ResourceRow, volume_id: unknown): Promise<boolean> {
  const { disk, folder } = backend
  if (typeof volume_id !== 'string') return false
  return isSameFile(disk, placeOf(folder, row), placeOf(folder, { kind: 'volume', id: volume_id }))
}

/**
 * Gives a half-made snapshot up, for a claim that is cleaned up: else what is written to the volume would be
 * written to the snapshot. Needs no turn: only the snapshot's own claims could lay the volume over it.
 */
export async function takeBackHalf(bench: Bench): Promise<void> {
  const { backend, context } = bench
  const { row } = context
  if (row.kind !== 'snapshot' || !(await isHalfMade(bench, row, row.data.volume_id))) return
  await underClaim(backend, context, [], async (claim) => {
    // Now that older claims are shut out, is it still so?
    if (await isHalfMade(bench, row, row.data.volume_id)) await claim.remove(row)
  })
}

/** Removes a snapshot; the images over it read as they did. Rejects as `busy` where one is open elsewhere. */
export async function removeSnapshot(bench: Bench): Promise<void> {
  const { backend, context } = bench
  const { row } = context
  const volume_id = String(row.data.volume_id)
  await underClaim(backend, context, [], async (claim) => {
    await claim.step(0, 'merging')
    await takeTurn(backend, context, volume_id)
    const place = placeOf(backend.folder, row)
    if (await exists(backend.disk, place)) {
      const children = await childrenOf(backend, volume_id, row.id)
      for (const [index, child] of children.entries())
        await mergeInto(bench, child, place, partOf(claim, index / children.length, 1 / children.length))
    }
    await claim.remove(row)
  })
}

/** Makes `child` anew without the snapshot at `place`, in the child's own place by one rename. */
async function mergeInto(bench: Bench, child: string, place: string, claim: Claim): Promise<void> {
  const { backend, context } = bench
  const { disk } = backend
  await refuseOpen(bench, child)
  const home = join(dirname(claim.work(context.row)), 'merged')
  await makeHomes(disk, home)
  const merged = join(home, basename(dirname(child)), basename(child))
  await makeMerged(bench, child, merged, place, claim)
  await refuseOpen(bench, child)
  await claim.step(1, 'merged')
  await disk.rename(merged, child)
  await syncFolder(disk, dirname(child))
}
