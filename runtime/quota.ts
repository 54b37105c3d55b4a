// The limits of projects, for administrators. What is taken is counted by commit.ts in the swaps that take
// it; here limits are only set and read, so setting one needs no look at any resource.

import type { Types } from '../machines/decision.ts'
import { nearest } from '../machines/error.ts'
import type { QuotaRow } from '../machines/quota.ts'
import { emptyRow } from '../machines/resource.ts'
import type { Store, StoredRow } from '../store/store.ts'
import { quotaKey } from './commit.ts'
import { type Issue, RekindleError } from './error.ts'

/** By resource, for example `{ volumes: 10, gigabytes: 500 }`; null takes a limit away. */
export type QuotaLimits = { readonly [resource: string]: number | null }

/** Atomic. A limit under what is taken changes nothing that is there; it refuses what would take more. */
export async function setLimits(
  types: Types,
  store: Store,
  project: string,
  limits: QuotaLimits,
): Promise<QuotaRow> {
  checkProject(project)
  checkLimits(types, limits)
  for (;;) {
    const found = (await store.get(quotaKey(project))) as QuotaRow | undefined
    const all = Object.entries({ ...found?.limits, ...limits })
    const row: QuotaRow = {
      kind: 'quota',
      id: project,
      version: (found?.version ?? 0) + 1,
      limits: Object.fromEntries(all.filter((entry): entry is [string, number] => entry[1] !== null)),
      used: found?.used ?? {},
    }
    const result = await store.transact(
      [{ key: quotaKey(project), version: row.version - 1 }],
      [{ put: row as unknown as StoredRow }],
    )
    if (result.ok) return row
  }
}

function checkProject(project: string): void {
  if (!/^[A-Za-z0-9_.:-]{1,128}$/.test(project))
    throw badLimits([
      {
        path: 'project',
        message: `'${project}' is no project: letters, digits and _ . : - only, at most 128`,
      },
    ])
}

function checkLimits(types: Types, limits: QuotaLimits): void {
  const known = new Set(
    [...types.values()].flatMap(({ kind, table }) =>
      Object.keys(table.quota?.usage(emptyRow(kind, '', '')) ?? {}),
    ),
  )
  const issues: Issue[] = []
  for (const [resource, limit] of Object.entries(limits))
    if (!known.has(resource))
      issues.push({
        path: resource,
        message: `is counted by no resource type${nearest(resource, known)}; counted are ${[...known].join(', ') || 'none'}`,
      })
    else if (limit !== null && !(typeof limit === 'number' && limit >= 0 && Number.isFinite(limit)))
      issues.push({ path: resource, message: `${limit} is no limit: a number from 0, or null for none` })
  if (issues.length > 0) throw badLimits(issues)
}

function badLimits(issues: readonly Issue[]): RekindleError {
  const said = issues.map(({ path, message }) => `${path}: ${message}`)
  return new RekindleError('bad_input', `bad limits: ${said.join('; ')}`, { issues })
}
