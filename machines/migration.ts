// From one version of a definition to the next: what becomes of a row that an older version wrote. Pure; the
// runtime reads and writes. Nothing runs while rows are migrated, so no claim or finish has to be minded.

import type { JsonObject, ResourceRow } from './row.ts'
import { statusesOf, type TableShape } from './table.ts'
import { type Migratable, tableVersion } from './version.ts'

/** Why a row can't be migrated: the field, and what is wrong with it. */
export interface MigrationFault {
  readonly field: string
  readonly message: string
}

/** The code of the error of an operation that the new version of its definition no longer has. */
export const MIGRATED = 'migrated'

/** The version of its definition that wrote the row. */
export function definitionVersionOf(row: ResourceRow): number {
  return row.definition_version ?? 1
}

/** The row as the table's own version has it, with its own version one up; or why that can't be. */
export function migrated(
  table: TableShape,
  row: ResourceRow,
  at: number,
): { readonly row: ResourceRow } | { readonly fault: MigrationFault } {
  const last = tableVersion(table)
  const next = { ...row, version: row.version + 1, definition_version: last }
  // It is only kept to say so.
  if (row.status === 'gone') return { row: next }
  let found: Migratable = {
    status: row.status,
    previous_status: row.previous_status,
    data: row.data,
    operation: row.operation === null ? null : { name: row.operation.name, input: row.operation.input },
  }
  for (let version = definitionVersionOf(row); version < last; version++) {
    const migration = table.migrations?.[version]
    if (migration === undefined)
      return fault('definition_version', `no migration leads from version ${version} to ${version + 1}`)
    try {
      found = migration(found)
    } catch (error) {
      return fault(
        '',
        `the migration from version ${version} threw: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
    if (typeof found !== 'object' || found === null)
      return fault('', `the migration from version ${version} gave no row`)
  }
  const wrong = faultIn(table, row, found)
  return wrong === null ? { row: applied(next, row, found, at) } : { fault: wrong }
}

function fault(field: string, message: string): { readonly fault: MigrationFault } {
  return { fault: { field, message } }
}

function faultIn(table: TableShape, row: ResourceRow, found: Migratable): MigrationFault | null {
  const { status, previous_status, data, operation } = found
  const { rest, held } = statusesOf(table)
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    return { field: 'data', message: 'it is no object' }
  if (operation !== null) {
    const shape = Object.hasOwn(table.operations, operation.name)
      ? table.operations[operation.name]
      : undefined
    if (shape === undefined)
      return {
        field: 'operation',
        message: `there is no operation '${operation.name}' any more: map it to another one, or to null with a rest status`,
      }
    if (row.operation === null) return { field: 'operation', message: 'a row at rest can be given none' }
    if (shape.via !== status)
      return { field: 'status', message: `it is '${status}', and ${operation.name} runs in '${shape.via}'` }
  } else if (held.includes(status)) {
    if (row.held_by === null) return { field: 'status', message: `it is '${status}', and nothing holds it` }
  } else if (!rest.includes(status))
    return { field: 'status', message: `it is '${status}', which is no rest status, and no operation runs` }
  if (previous_status !== null && !rest.includes(previous_status))
    return { field: 'previous_status', message: `it is '${previous_status}', which is no rest status` }
  return null
}

function applied(next: ResourceRow, row: ResourceRow, found: Migratable, at: number): ResourceRow {
  const { status, previous_status, operation } = found
  const data = JSON.parse(JSON.stringify(found.data)) as JsonObject
  const common = { ...next, status, previous_status, data }
  if (row.operation === null)
    return row.held_by !== null && status !== row.status
      ? { ...common, held_by: null, fence: row.fence + 1 }
      : common
  if (operation !== null)
    return { ...common, operation: { ...row.operation, name: operation.name, input: operation.input } }
  return {
    ...common,
    ...{ operation: null, worker: null, incarnation: null, attempts: 0, fence: row.fence + 1 },
    error: {
      code: MIGRATED,
      message: `${row.operation.name} ended: version ${next.definition_version} of its definition has it no more`,
      at,
    },
  }
}
