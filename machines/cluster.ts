// What becomes of the row of a cluster@backend: made, disabled, frozen. Each change is one swap that expects
// the row it was made from; null says that the row is so already. Nothing is read or written here.

import type { ClusterRow } from './row.ts'

/** Two nodes may make it at once: one row, both go on (behaviour 57). */
export function newCluster(topic: string): ClusterRow {
  return { kind: 'cluster', id: topic, version: 1, disabled: false, disabled_reason: null, frozen: false }
}

/** Nothing new is placed here; what is there is worked on as before (behaviour 55). */
export function disabled(row: ClusterRow, reason: string | null): ClusterRow | null {
  if (row.disabled && (reason === null || reason === row.disabled_reason)) return null
  return { ...row, version: row.version + 1, disabled: true, disabled_reason: reason }
}

export function enabled(row: ClusterRow): ClusterRow | null {
  if (!row.disabled) return null
  return { ...row, version: row.version + 1, disabled: false, disabled_reason: null }
}

/** Nothing new is placed here, and nothing is accepted that the tables forbid in a freeze (behaviour 56). */
export function frozen(row: ClusterRow, reason: string | null): ClusterRow | null {
  if (row.frozen && (reason === null || reason === (row.frozen_reason ?? null))) return null
  return { ...row, version: row.version + 1, frozen: true, frozen_reason: reason }
}

export function thawed(row: ClusterRow): ClusterRow | null {
  if (!row.frozen) return null
  return { ...row, version: row.version + 1, frozen: false, frozen_reason: null }
}

/** A reason as it stands behind what it explains. */
export function reasonOf(reason: string | null | undefined): string {
  return reason == null || reason === '' ? '' : ` (${reason})`
}
