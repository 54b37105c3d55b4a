// What a file driver does for volumes: makes them, empty or from a source, makes them larger, and puts a
// snapshot's content back. Removing is in remove.ts, moving from folder to folder in migration.ts.

import type { ResourceRow } from '../../../machines/row.ts'
import { type DriverContext, DriverError } from '../../driver.ts'
import { type Backend, exists, placeOf, presentPlace } from './backend.ts'
import { readBackup } from './backup.ts'
import { type Claim, underClaim } from './claim.ts'
import { fail } from './error.ts'
import { bytesOf, copyImage, growImage, sizeOf, writing } from './image.ts'
import { make, takenRow } from './make.ts'
import { reading } from './use.ts'

/** The fields of a volume's data that name what it is made from. */
const SOURCES = [
  ['snapshot_id', 'snapshot'],
  ['source_volume_id', 'volume'],
  ['backup_id', 'backup'],
] as const

/** Rejects as `not_here` where another backend may do better: it has the source, or room for an empty volume. */
export async function createVolume(backend: Backend, context: DriverContext) {
  const source = sourceOf(context)
  const bytes = bytesOf(context.row.data.size)
  const build = (path: string, claim: Claim) =>
    source === null
      ? writing(backend.disk, path, 'wx', (handle) => handle.truncate(bytes))
      : copySource(backend, context, source, path, bytes, claim)
  try {
    return await make(backend, context, { build, facts: async () => undefined })
  } catch (error) {
    if (source !== null || !(error instanceof DriverError) || error.code !== 'no_space') throw error
    // Who goes elsewhere leaves nothing: a disk that was full at the very last sync has the volume already.
    if (await exists(backend.disk, placeOf(backend.folder, context.row))) throw error
    throw fail('not_here', `no room here: ${error.message}`, error.cause)
  }
}

export function sourceOf(context: DriverContext): ResourceRow | null {
  const { row } = context
  const named = SOURCES.filter(([field]) => typeof row.data[field] === 'string')
  if (named.length > 1)
    throw fail('missing', `volume ${row.id} has several sources: ${named.map(([field]) => field).join(', ')}`)
  const [field, kind] = named[0] ?? []
  return field === undefined ? null : takenRow(context, kind!, row.data[field])
}

async function copySource(
  backend: Backend,
  context: DriverContext,
  source: ResourceRow,
  path: string,
  bytes: number,
  claim: Claim,
): Promise<void> {
  const { disk, folder } = backend
  const from = placeOf(folder, source)
  if (!(await exists(disk, from)))
    throw fail('not_here', `${source.kind} ${source.id} is not at this backend`)
  if (source.kind === 'backup') return readBackup(backend, context, source, path, bytes, claim)
  const { size } = await disk.stat(from)
  if (size > bytes)
    throw fail('size_differs', `${source.kind} ${source.id} has ${size} bytes, the volume ${bytes}`)
  await reading(from, context.signal, () => copyImage(backend, from, path, claim, bytes))
}

export async function extendVolume(backend: Backend, context: DriverContext) {
  const { size } = context.input
  const bytes = bytesOf(size)
  return underClaim(backend, context, [], async (claim) => {
    const path = await presentPlace(backend, context.row)
    return { size: sizeOf(await growImage(backend.disk, path, bytes, claim), size) }
  })
}

/** Replaces the volume's image by a copy of the snapshot as a whole; until then it is what it was. */
export async function revertVolume(backend: Backend, context: DriverContext): Promise<void> {
  const { row, input } = context
  const snapshot = takenRow(context, 'snapshot', input.snapshot_id)
  if (snapshot.data.volume_id !== row.id)
    throw fail('missing', `snapshot ${snapshot.id} is not one of volume ${row.id}`)
  const bytes = bytesOf(row.data.size)
  await underClaim(backend, context, [], async (claim) => {
    await presentPlace(backend, row)
    const from = await presentPlace(backend, snapshot)
    const { size } = await backend.disk.stat(from)
    if (size !== bytes)
      throw fail('size_differs', `snapshot ${snapshot.id} has ${size} bytes, the volume ${bytes}`)
    await reading(from, context.signal, () => copyImage(backend, from, claim.work(row), claim))
    await claim.publish(row)
  })
}

/** What was grown is not cut off again, so the row is told the truth. */
export async function grownTo({ disk, folder }: Backend, { row, input }: DriverContext) {
  const path = placeOf(folder, row)
  if (!(await exists(disk, path))) return
  const { size } = await disk.stat(path)
  if (size >= bytesOf(input.size)) return { size: sizeOf(size, input.size) }
}
