// What a file driver does for backups: of a volume or of a snapshot, whole or against a parent, and back
// into a volume. How one lies in its folder is in chunks.ts and manifest.ts.

import type { ResourceRow } from '../../../machines/row.ts'
import type { DriverContext } from '../../driver.ts'
import { type Backend, presentPlace } from './backend.ts'
import { type BackedUp, factsOf, restoreBackup, writeBackup } from './chunks.ts'
import { type Claim, underClaim } from './claim.ts'
import { fail } from './error.ts'
import { bytesOf } from './image.ts'
import { make, takenRow } from './make.ts'
import { readManifest } from './manifest.ts'
import { reading } from './use.ts'

export async function createBackup(backend: Backend, context: DriverContext) {
  const { data } = context.row
  const source = isId(data.snapshot_id)
    ? takenRow(context, 'snapshot', data.snapshot_id)
    : takenRow(context, 'volume', data.volume_id)
  return make(backend, context, {
    async build(path, claim) {
      const image = await presentPlace(backend, source)
      const volume_id = source.kind === 'snapshot' ? String(source.data.volume_id) : source.id
      const parent = await parentOf(backend, context, volume_id)
      await reading(image, context.signal, () =>
        writeBackup(backend, { image, volume_id, parent }, path, claim),
      )
    },
    facts: (place) => factsOf(backend, place, source.data.size),
  })
}

/** The manifest that an incremental backup is compared with; null for a whole one. */
async function parentOf(
  backend: Backend,
  context: DriverContext,
  volume_id: string,
): Promise<BackedUp['parent']> {
  const { parent_id } = context.row.data
  if (!isId(parent_id)) return null
  const parent = takenRow(context, 'backup', parent_id)
  const read = await readManifest(backend, await presentPlace(backend, parent), parent.data.sha256)
  // Its chunks would seldom fit, and who restores this one should know whose data it is.
  if (read.manifest.volume_id !== volume_id)
    throw fail(
      'bad_parent',
      `backup ${parent.id} is of volume ${read.manifest.volume_id}, not of ${volume_id}`,
    )
  return { ...read, id: parent.id }
}

/** Replaces the held volume's image as a whole; until then it is what it was. */
export async function restore(backend: Backend, context: DriverContext): Promise<void> {
  // The backup's own volume is not always its target: what is overwritten must be what was asked for.
  const volume = takenRow(context, 'volume', context.input.volume_id)
  const bytes = bytesOf(volume.data.size)
  await underClaim(backend, context, [volume], async (claim) => {
    const image = claim.work(volume)
    await presentPlace(backend, volume)
    await readBackup(backend, context, context.row, image, bytes, claim)
    await claim.publish(volume)
  })
}

/** Writes `backup` into a new image of `bytes`, verified. */
export async function readBackup(
  backend: Backend,
  { signal }: DriverContext,
  backup: ResourceRow,
  image: string,
  bytes: number,
  claim: Claim,
): Promise<void> {
  const place = await presentPlace(backend, backup)
  await reading(place, signal, () => restoreBackup(backend, place, backup.data.sha256, image, bytes, claim))
}

function isId(value: unknown): value is string {
  return typeof value === 'string'
}
