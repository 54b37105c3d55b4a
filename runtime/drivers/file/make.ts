// Makes a resource in its place once: what every create of a file driver does. And the rows that take part
// in an operation, found by what the operation names.

import { dirname } from 'node:path'
import type { JsonObject, ResourceRow } from '../../../machines/row.ts'
import type { DriverContext } from '../../driver.ts'
import { type Backend, exists, placeOf, syncFolder } from './backend.ts'
import { type Claim, underClaim } from './claim.ts'
import { fail } from './error.ts'

interface Making {
  /** Makes it, synced, at `path`. */
  build(path: string, claim: Claim): Promise<void>
  /** What the row is told of it, once it is in its place. */
  facts(place: string): Promise<JsonObject | undefined>
}

/** Makes the row's resource in its place; one that is there already is whole, and kept. */
export async function make(backend: Backend, context: DriverContext, { build, facts }: Making) {
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

/** The row of `kind` that takes part and is called `id`. */
export function takenRow(context: DriverContext, kind: string, id: unknown): ResourceRow {
  const { row, operation, relatedRows } = context
  const found = relatedRows.find((other) => other.kind === kind && other.id === id)
  if (found === undefined)
    throw fail('missing', `${operation} of ${row.kind} ${row.id} was not given ${kind} ${String(id)}`)
  return found
}
