// Removes resources from the folder, in one rename each.

import type { ResourceRow } from '../../../machines/row.ts'
import type { DriverContext } from '../../driver.ts'
import { ASIDES, type Backend, placeOf } from './backend.ts'
import { type Claim, underClaim } from './claim.ts'
import { fail } from './error.ts'
import { refuseIfRead } from './use.ts'

/** Rejects as `busy`, before anything is removed, while it is being read; a forced one does not ask. */
export async function remove(backend: Backend, context: DriverContext): Promise<void> {
  const snapshots = cascading(context)
  await underClaim(backend, context, snapshots, async (claim) => {
    if (context.operation !== 'force_delete')
      for (const row of [...snapshots, context.row]) refuseIfRead(placeOf(backend.folder, row))
    // The volume last: a run that dies half-way leaves one that can be deleted again with what is left.
    for (const snapshot of snapshots) await claim.remove(snapshot)
    await removeWhole(claim, context.row)
  })
}

/** The resource and what is noted of it. */
export async function removeWhole(claim: Claim, row: ResourceRow): Promise<void> {
  await claim.remove(row)
  if (row.kind === 'volume') for (const aside of ASIDES) await claim.remove(row, aside)
}

/** The snapshots that go with their volume. */
export function cascading({ row, input, relatedRows }: DriverContext): readonly ResourceRow[] {
  if (row.kind !== 'volume' || input.cascade !== true) return []
  const snapshots = relatedRows.filter(({ kind }) => kind === 'snapshot')
  for (const { id, data } of snapshots)
    if (data.volume_id !== row.id) throw fail('missing', `snapshot ${id} is not one of volume ${row.id}`)
  return snapshots
}
