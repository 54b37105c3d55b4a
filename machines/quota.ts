// Quotas: what the resources of a project take, counted in one row a project. What is taken is a pure
// function of each resource's row, so the count changes in the very swap that changes the row: it can't be
// overrun by a race nor leaked by a crash, and an operation that fails gives back what it asked for.

import type { Refused, Types } from './decision.ts'
import type { ResourceRow } from './row.ts'

/** One row a project. */
export interface QuotaRow {
  readonly kind: 'quota'
  /** The project. */
  readonly id: string
  readonly version: number
  /** The most it may take of each resource; without a limit it is only counted. */
  readonly limits: { readonly [resource: string]: number }
  readonly used: { readonly [resource: string]: number }
}

/** By project and resource: how much more, or less, is taken. */
export type QuotaChanges = ReadonlyMap<string, ReadonlyMap<string, number>>

/** What the changes of one decision take more or less; `before` of a new resource has version 0. */
export function quotaChanges(
  types: Types,
  changes: readonly { readonly before: ResourceRow; readonly after: ResourceRow }[],
): QuotaChanges {
  const all = new Map<string, Map<string, number>>()
  const add = (row: ResourceRow, sign: 1 | -1) => {
    const quota = types.get(row.kind)!.table.quota
    if (quota === undefined || row.version === 0 || row.status === 'gone') return
    const project = quota.project(row)
    if (project === null) return
    const ofProject = all.get(project) ?? new Map<string, number>()
    all.set(project, ofProject)
    for (const [resource, amount] of Object.entries(quota.usage(row)))
      ofProject.set(resource, rounded((ofProject.get(resource) ?? 0) + sign * amount))
  }
  for (const { before, after } of changes) {
    add(after, 1)
    add(before, -1)
  }
  for (const [project, amounts] of all) {
    for (const [resource, amount] of amounts) if (amount === 0) amounts.delete(resource)
    if (amounts.size === 0) all.delete(project)
  }
  return all
}

/** The project's row with the change counted, or, if that may be, the refusal where it goes past a limit. */
export function countQuota(
  found: QuotaRow | undefined,
  project: string,
  amounts: ReadonlyMap<string, number>,
  may_refuse: boolean,
): { readonly row: QuotaRow } | { readonly refused: Refused } {
  const row = found ?? { kind: 'quota', id: project, version: 0, limits: {}, used: {} }
  const used: { [resource: string]: number } = { ...row.used }
  for (const [resource, amount] of amounts) {
    const next = rounded((used[resource] ?? 0) + amount)
    const limit = row.limits[resource]
    // Giving back is never refused, also where a limit was lowered under what is taken.
    if (may_refuse && amount > 0 && limit !== undefined && next > limit)
      return {
        refused: {
          accepted: false,
          resource: { kind: 'quota', id: project },
          expected: [`at most ${limit} ${resource}`],
          found: `${used[resource] ?? 0} ${resource}, and ${amount} asked for`,
          guard: null,
        },
      }
    used[resource] = next
  }
  return { row: { ...row, version: row.version + 1, used } }
}

/** Fractions of a GiB must add up: a millionth is the smallest that counts. */
const rounded = (amount: number): number => Math.round(amount * 1e6) / 1e6
