// Events from senders that may not: an older fence, another worker or life, a node that is down or of another
// topic, a cleaner of an earlier life, a stranger instead of the holder. A live runtime keeps most of them
// from being sent at all, so they are told to the charts at the level of `decide`. All are to be refused, but for
// what administrators and drivers with several clusters do, which no path walks through.

import { isCreate, type ResourceType } from '../../machines/definition.ts'
import { type ResourceEvent, statePathOf } from '../../machines/resource.ts'
import type { ResourceRow } from '../../machines/row.ts'
import { startsOf } from '../../machines/table.ts'
import { BACKEND, claimantOf, HOSTS, LIMITS, serviceOf } from './path_steps.ts'

/**
 * A driver says of a create that this is not the place, and the next one is another topic, or the same again. It
 * takes two clusters; one that a path is walked in has no next.
 */
export function elsewhereEvents(type: ResourceType, row: ResourceRow): [ResourceRow, ResourceEvent][] {
  const { operation, incarnation } = row
  if (operation === null || incarnation === null || operation.cleanup !== null) return []
  if (!isCreate(type.table.operations[operation.name]!)) return []
  const placed = { ...row, operation: { ...operation, placed: true as const } }
  const owned = { claimant: claimantOf(row.host!, incarnation), fence: row.fence, at: row.updated_at + 1 }
  const error = { code: 'not_here', message: 'no room' }
  return ['hdd@file', row.cluster].map((topic) => [
    placed,
    { type: `${operation.name}.elsewhere`, topic, error, ...owned } as unknown as ResourceEvent,
  ])
}

/** An administrator does not wait for the next try of a cleanup that failed. */
export function retryEvents(row: ResourceRow): [ResourceRow, ResourceEvent][] {
  if (!statePathOf(row).endsWith('.cleanup_queued')) return []
  const not_before = row.updated_at + 100
  const operation = { ...row.operation!, cleanup: { ...row.operation!.cleanup!, not_before } }
  const at = row.updated_at + 1
  return [
    [
      { ...row, operation },
      { type: 'cleanup.retry', at },
    ],
  ]
}

/** Every event that somebody without the right to it might send to a row in this state. */
export function wrongEvents(type: ResourceType, row: ResourceRow): ResourceEvent[] {
  const path = statePathOf(row)
  const at = row.updated_at + 1
  const events: unknown[] = []
  const [host] = HOSTS
  if (path.endsWith('queued')) {
    const sound = claimantOf(host, 1)
    const service = serviceOf(host, 1)
    for (const wrong of [
      null,
      { ...service, state: 'down' },
      serviceOf(host, 2),
      { ...service, cluster: 'hdd' },
      { ...service, disabled: true },
    ])
      events.push({ type: 'claim', claimant: { ...sound, service: wrong }, at })
    const not_before = row.operation?.cleanup?.not_before ?? 0
    if (not_before > 0) events.push({ type: 'claim', claimant: sound, at: not_before - 1 })
  }
  if (row.incarnation !== null) {
    const { incarnation, fence } = row
    const owner = claimantOf(row.host!, incarnation)
    const name = path.endsWith('cleaning') ? 'cleanup' : row.operation!.name
    const error = { code: 'driver_failed', message: 'it failed' }
    const senders = [
      { claimant: owner, fence: fence - 1 },
      { claimant: { ...owner, worker: `h9@${BACKEND}` }, fence },
      { claimant: claimantOf(row.host!, incarnation + 1), fence },
      { claimant: { ...owner, service: { ...owner.service!, state: 'down' } }, fence },
    ]
    for (const sender of senders)
      events.push(
        { type: 'progress', fraction: 0.5, note: '', at, ...sender },
        { type: `${name}.done`, changes: {}, at, ...sender },
        { type: `${name}.failed`, error, not_before: at, limits: LIMITS, at, ...sender },
      )
    const cleanup = { type: 'cleanup', at_backend: false, reason: '', limits: LIMITS, at }
    events.push(
      { ...cleanup, worker: row.worker, incarnation: incarnation - 1 },
      { ...cleanup, worker: `h9@${BACKEND}`, incarnation },
    )
  }
  if (path.endsWith('.cleanup_queued')) {
    const not_before = row.operation!.cleanup!.not_before
    events.push({ type: 'cleanup.retry', at: Math.max(at, not_before) })
  }
  const cluster = { kind: 'cluster', id: row.cluster, version: 1, disabled: false, disabled_reason: null }
  for (const [name, operation] of Object.entries(type.table.operations))
    if (operation.unless_frozen && startsOf(type.table, operation).includes(row.status))
      events.push({
        ...{ type: name, input: {}, request_id: null, at, related: {} },
        cluster: { ...cluster, frozen: true },
      })
  const stranger = { kind: 'stranger', id: 'b9', fence: 1 }
  if (row.held_by !== null) {
    for (const ending of ['done', 'failed', 'cleanup', 'cancelled'])
      events.push({ type: `release.${ending}`, holder: stranger, error: null, at })
    events.push({ type: 'renew', holder: stranger, at })
  }
  if (row.operation === null && type.statuses.held.length > 0)
    events.push({ type: 'hold', as: 'nothing-of-the-sort', holder: stranger, at })
  return events as ResourceEvent[]
}
