// The version of a table and what leads to it from the versions before. Types, and the check of what a table says
// of it; the rows are migrated by migration.ts.

import type { JsonObject } from './row.ts'

/** What a migration may change of a row. */
export interface Migratable {
  readonly status: string
  /** The last rest status before the running operation; null while a create runs. */
  readonly previous_status: string | null
  readonly data: JsonObject
  /** The operation that was queued or running when the old version stopped; null at rest. */
  readonly operation: { readonly name: string; readonly input: JsonObject } | null
}

/**
 * A row as the next version of its definition has it. Pure and total. A status that is no more is another one
 * afterwards; an operation that is no more is null, with the row at rest. What stays queued goes on under the
 * new table, and a claim of a life that is over is put right by the new table's policy.
 *
 * @example
 * ({ status, ...row }) => ({ ...row, status: status === 'active' ? 'available' : status })
 */
export type Migration = (row: Migratable) => Migratable

/** The version of a table, and how rows of older ones become its own. */
export interface Versioned {
  /** 1 where absent; one more whenever rows of the version before need a migration. */
  readonly version?: number
  /** By the version that it starts from: how a row of that version becomes one of the next. */
  readonly migrations?: { readonly [from: number]: Migration }
}

export function tableVersion({ version = 1 }: Versioned): number {
  return version
}

/** Faults of the declaration itself, for the check of the table. */
export function migrationsFault({ version = 1, migrations = {} }: Versioned): string | null {
  if (!Number.isInteger(version) || version < 1)
    return `version is ${String(version)}; a whole number from 1 is needed`
  const steps = Object.keys(migrations).map(Number)
  const odd = steps.find((step) => !Number.isInteger(step) || step < 1 || step >= version)
  if (odd !== undefined)
    return `migrations: ${odd} leads to no version up to ${version}; its key is the version that it starts from`
  for (let step = Math.min(version - 1, ...steps); step < version; step++)
    if (step >= 1 && typeof migrations[step] !== 'function')
      return `migrations: none leads from version ${step} to ${step + 1}`
  return null
}
