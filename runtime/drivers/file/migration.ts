// Moves a volume from one backend to another: the source is read through what its driver exports, the copy is
// verified before it takes its place, and the source is removed by an operation of its own, after the row
// has moved. Until then both may be there, and it is the row that says which one counts.

import { hostname } from 'node:os'
import type { ResourceRow } from '../../../machines/row.ts'
import type { DriverContext, Exported } from '../../driver.ts'
import { type Backend, exists, placeOf, presentPlace } from './backend.ts'
import { type Claim, underClaim } from './claim.ts'
import { fail, isErrno, worded } from './error.ts'
import { hashImage, isZero, piecesOf, sizeOf, writeSparse, writing } from './image.ts'
import { removeWhole } from './remove.ts'
import { beginReading } from './use.ts'

/** Opens the image of a volume for a driver that copies it elsewhere. */
export async function exportImage(
  backend: Backend,
  row: ResourceRow,
  signal: AbortSignal,
): Promise<Exported> {
  signal.throwIfAborted()
  if (row.kind === 'backup') throw fail('missing', `backup ${row.id} has no image to export`)
  try {
    const image = await presentPlace(backend, row)
    const { size } = await backend.disk.stat(image)
    return {
      bytes: size,
      place: await nameOf(backend),
      pieces: (signal) => exportedPieces(backend, image, signal),
      async checksum(signal) {
        const end = beginReading(image, signal)
        try {
          return await hashImage(backend, image, async () => signal.throwIfAborted())
        } catch (error) {
          throw worded(error, `export ${row.kind} ${row.id}`)
        } finally {
          end()
        }
      },
    }
  } catch (error) {
    throw worded(error, `export ${row.kind} ${row.id}`)
  }
}

async function* exportedPieces(backend: Backend, image: string, signal: AbortSignal) {
  const end = beginReading(image, signal)
  try {
    for await (const { data, position } of piecesOf(backend, image)) {
      signal.throwIfAborted()
      if (!isZero(data)) yield { offset: position, data }
    }
  } catch (error) {
    throw worded(error, `export ${image}`)
  } finally {
    end()
  }
}

/** The folder, by whatever path. */
export async function nameOf({ disk, folder }: Backend): Promise<string> {
  const { dev, ino } = await disk.stat(folder, { bigint: true })
  return `file:${hostname()}:${dev}:${ino}`
}

/**
 * Copies the volume here. What is in its place already is replaced: it may be what an earlier migration away
 * from here left, and nothing but its source says what the volume holds. Running it again copies again.
 */
export async function migrateVolume(backend: Backend, context: DriverContext) {
  const { row, source, signal } = context
  if (source === null) throw fail('missing', `migrate of volume ${row.id} was given no source`)
  return underClaim(backend, context, [], async (claim) => {
    if (source.place === (await nameOf(backend)))
      throw fail('same_place', `volume ${row.id} would be moved from ${backend.folder} into the same folder`)
    const copy = claim.work(row)
    await claim.step(0, 'copying')
    await copyExported(backend, source, copy, claim, signal)
    const there = await source.checksum(signal)
    const here = await hashImage(backend, copy, (fraction) => claim.step((1 + fraction) / 2, 'verifying'))
    if (here !== there)
      throw fail('checksum_mismatch', `the copy of volume ${row.id} has SHA-256 ${here}, its source ${there}`)
    await arrive(backend, row, claim)
    return { size: sizeOf(source.bytes, row.data.size) }
  })
}

/** Publishes the copy in `work`, with its note; nothing of it stays where that fails. */
export async function arrive(backend: Backend, row: ResourceRow, claim: Claim): Promise<void> {
  const note = claim.work(row, 'arrivals')
  await writing(backend.disk, note, 'wx', (handle) => handle.writeFile(row.cluster))
  try {
    // First the note, or a crash in between would leave a copy that an undo takes for the volume itself.
    await claim.publish(row, 'arrivals')
    await claim.publish(row)
  } catch (error) {
    // No undo follows a failure or a cancel: the row stays where it was, and nothing leads here any longer.
    await takeBack(backend, row, claim).catch(() => undefined)
    throw error
  }
}

async function takeBack(backend: Backend, row: ResourceRow, claim: Claim): Promise<void> {
  const isPublished = !(await exists(backend.disk, claim.work(row)))
  if (isPublished) await claim.retract(row)
  await claim.retract(row, 'arrivals')
}

export async function copyExported(
  { disk }: Backend,
  source: Exported,
  path: string,
  claim: Claim,
  signal: AbortSignal,
): Promise<void> {
  const { bytes } = source
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw fail('bad_size', `a source of ${bytes} bytes`)
  await writing(disk, path, 'wx', async (handle) => {
    await handle.truncate(bytes)
    for await (const { offset, data } of source.pieces(signal)) {
      if (!(offset >= 0 && offset + data.length <= bytes))
        throw fail('checksum_mismatch', `the source has ${bytes} bytes and gave ${data.length} at ${offset}`)
      await claim.step(offset / bytes / 2, 'copying')
      await writeSparse(handle, Buffer.from(data.buffer, data.byteOffset, data.length), offset)
    }
  })
}

/**
 * Removes the copy that this migration made. The note beside it says from which topic it came, and the row
 * still lives there. Without such a note what is here is not a copy: where source and target are one folder
 * by mistake, it is the volume.
 */
export async function undoMigration(backend: Backend, row: ResourceRow, claim: Claim): Promise<void> {
  if ((await arrivedFrom(backend, row)) === row.cluster) await removeWhole(claim, row)
}

async function arrivedFrom({ disk, folder }: Backend, row: ResourceRow): Promise<string | null> {
  try {
    return (await disk.readFile(placeOf(folder, row, 'arrivals'))).toString()
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw error
  }
}

/** Removes the copy of a volume that lives elsewhere now; `topics` are those that this driver serves. */
export async function releaseSource(
  backend: Backend,
  context: DriverContext,
  topics: ReadonlySet<string>,
): Promise<void> {
  const { row } = context
  if (topics.has(row.cluster)) throw fail('same_place', `volume ${row.id} lives here, at ${row.cluster}`)
  await underClaim(backend, context, [], (claim) => removeWhole(claim, row))
}
