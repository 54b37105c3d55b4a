// What a renaming makes of rows: a cluster@backend gets another name, and everything that carries the old one
// carries the new one (rule R16). Whose row: the mark on the cluster's own row, each resource, each node. Each
// change is one swap that expects the row it was made from, so whoever races it decides again; nothing is read
// or written here.

import { newCluster, reasonOf } from './cluster.ts'
import type { Types } from './decision.ts'
import type { ClusterRow, JsonObject, ResourceRow, ServiceRow } from './row.ts'

/** Both names, each `cluster@backend`. */
export interface Names {
  readonly from: string
  readonly to: string
}

/**
 * Why a cluster can't get this name, whatever it holds; null where it can. `target` is the row that has the name
 * already.
 */
export function whyNotRenamed(from: ClusterRow, target: ClusterRow | null): string | null {
  if (from.renamed_to !== undefined) return `${from.id} was renamed to ${from.renamed_to}`
  if (target === null) return null
  if (target.renaming === 'moving') return `${target.id} is still being renamed to ${target.renamed_to}`
  if (target.renamed_to !== undefined && target.renamed_to !== from.id)
    return `${target.id} was renamed to ${target.renamed_to}; remove it to use the name anew`
  // What one forbids must not be let through by the other.
  if (target.renamed_to === undefined && target.frozen !== from.frozen) {
    const [one, other] = target.frozen ? [target, from] : [from, target]
    return `${one.id} is frozen${reasonOf(one.frozen_reason)} and ${other.id} is not; freeze or thaw both first`
  }
  return null
}

/**
 * The mark, in one swap: from here on nothing new begins under the old name, and whoever sees the mark moves what
 * still has it. `earlier` are clusters that were renamed to `from` before; they lead to the new name as well.
 */
export function marked(
  from: ClusterRow,
  to: string,
  target: ClusterRow | null,
  earlier: readonly ClusterRow[],
): readonly ClusterRow[] {
  const { disabled, disabled_reason, frozen, frozen_reason } = from
  const next = (row: ClusterRow): ClusterRow => ({ ...row, version: row.version + 1 })
  const { renamed_to: _, renaming: __, ...plain } = target ?? { ...newCluster(to), version: 0 }
  const isMade = target === null || target.renamed_to !== undefined
  return [
    { ...next(from), renamed_to: to, renaming: 'moving' },
    next(
      isMade ? { ...plain, disabled, disabled_reason, frozen, frozen_reason: frozen_reason ?? null } : plain,
    ),
    ...earlier.filter(({ id }) => id !== to).map((row) => ({ ...next(row), renamed_to: to })),
  ]
}

/** Everything has the new name; what comes late, by a call that saw the old one, still moves. */
export function moved(from: ClusterRow): ClusterRow {
  return { ...from, version: from.version + 1, renaming: 'done' }
}

/**
 * A resource under the new name; null where it does not carry the old one. Its claim, fence and operation stay
 * what they are: only where it belongs, where it is queued and where it is driven change, and fields that its
 * table lists as topics. Queued is told from taken by the incarnation: a worker of the same text stays (rule R17).
 */
export function renamedRow(types: Types, row: ResourceRow, { from, to }: Names): ResourceRow | null {
  const fields = types.get(row.kind)?.table.topics ?? []
  const data = renamedFields(row.data, fields, { from, to })
  const operation = row.operation === null ? null : renamedOperation(row.operation, fields, { from, to })
  const isQueued = row.worker === from && row.incarnation === null
  if (row.cluster !== from && !isQueued && data === row.data && operation === row.operation) return null
  return {
    ...row,
    version: row.version + 1,
    cluster: row.cluster === from ? to : row.cluster,
    worker: isQueued ? to : row.worker,
    operation,
    data,
  }
}

type Operation = NonNullable<ResourceRow['operation']>

function renamedOperation(operation: Operation, fields: readonly string[], names: Names): Operation {
  const { from, to } = names
  const input = renamedFields(operation.input, fields, names)
  const isThere = operation.topic === from
  const isTried = operation.history.some(({ not_here }) => not_here?.topic === from)
  if (input === operation.input && !isThere && !isTried) return operation
  return {
    ...operation,
    input,
    ...(isThere && { topic: to }),
    history: operation.history.map((one) =>
      one.not_here?.topic === from ? { ...one, not_here: { ...one.not_here, topic: to } } : one,
    ),
  }
}

function renamedFields(data: JsonObject, fields: readonly string[], { from, to }: Names): JsonObject {
  const named = fields.filter((field) => data[field] === from)
  return named.length === 0 ? data : { ...data, ...Object.fromEntries(named.map((field) => [field, to])) }
}

/**
 * A node's row under the new name. Where its host@backend was started under that name already, the later life's
 * row is the one that stays: an incarnation is never lost (rule R2). Null: that one stays as it is.
 */
export function renamedService(service: ServiceRow, found: ServiceRow | null, to: string): ServiceRow | null {
  if (found !== null && found.incarnation >= service.incarnation) return null
  const cluster = to.slice(0, to.indexOf('@'))
  return { ...service, id: `${to}@${service.host}`, version: (found?.version ?? 0) + 1, cluster }
}
