// One durable change as the page tells it: who did it, and what it was. Worked out from the row that was
// written and from what was running before. Pure; it decides nothing and may be wrong about nothing but words.

import { type ResourceRow, statePathOf } from '../../machines/index.ts'
import type { ClusterRow, ServiceRow } from '../index.ts'

/** A resource as the page's tables and charts need it: a row of 100,000 must stay small. */
export interface Brief {
  readonly kind: string
  readonly id: string
  readonly name: string
  readonly status: string
  /** The chart's state: `creating.working`. */
  readonly path: string
  readonly cluster: string
  readonly worker: string | null
  readonly incarnation: number | null
  readonly fence: number
  readonly version: number
  readonly updated_at: number
  readonly operation: string | null
  readonly error: string | null
}

/** Their order on the wire: rows travel as lists. */
export const BRIEF_FIELDS = [
  ...(['kind', 'id', 'name', 'status', 'path', 'cluster', 'worker', 'incarnation'] as const),
  ...(['fence', 'version', 'updated_at', 'operation', 'error'] as const),
] as const satisfies readonly (keyof Brief)[]

export function briefOf(row: ResourceRow): Brief {
  const { kind, id, status, cluster, worker, incarnation, fence, version, updated_at, operation, error } = row
  const name = typeof row.data.name === 'string' ? row.data.name : ''
  return {
    ...{ kind, id, name, status, path: statePathOf(row), cluster, worker, incarnation, fence, version },
    ...{ updated_at, operation: operation?.name ?? null, error: error?.code ?? null },
  }
}

/** Who did it: a caller, a scheduler, or a node by its `host@backend`. */
export type Lane = string
export const API: Lane = 'api'
export const SCHEDULER: Lane = 'scheduler'

export interface Step {
  readonly offset: number
  /** By the clock of the process that serves the page. */
  readonly at: number
  readonly key: string
  readonly lane: Lane
  /** The topic or lane that it was sent to, if to any. */
  readonly to: string | null
  readonly what: string
  /** Why, where there is a reason. */
  readonly reason: string | null
  /** Null where the row was removed. */
  readonly row: Brief | ServiceBrief | ClusterBrief | null
}

export interface ServiceBrief {
  readonly kind: 'service'
  readonly id: string
  readonly version: number
  readonly address: string
  readonly cluster: string
  readonly state: string
  readonly incarnation: number
  readonly cleanup_done: boolean
  readonly disabled: boolean
}

export interface ClusterBrief {
  readonly kind: 'cluster'
  readonly id: string
  readonly version: number
  readonly disabled: boolean
  readonly frozen: boolean
}

/** What the row of a running operation said last: an end does not say who ended it. */
export interface Running {
  readonly name: string
  readonly worker: string | null
  readonly incarnation: number | null
  readonly fence: number
  readonly isCleanup: boolean
}

type Told = Pick<Step, 'lane' | 'to' | 'what' | 'reason'>

const told = (lane: Lane, what: string, reason: string | null = null, to: string | null = null): Told => ({
  ...{ lane, to, what, reason },
})

export function runningOf({ operation, worker, incarnation, fence }: ResourceRow): Running | null {
  if (operation === null) return null
  return { name: operation.name, worker, incarnation, fence, isCleanup: operation.cleanup !== null }
}

export function toldOf(row: ResourceRow, before: Running | undefined): Told {
  return row.operation === null ? atRest(row, before) : onItsWay(row, row.operation, before)
}

function onItsWay(
  row: ResourceRow,
  operation: NonNullable<ResourceRow['operation']>,
  before: Running | undefined,
): Told {
  const { name, cleanup, history } = operation
  const topic = operation.topic ?? row.cluster
  if (operation.accepted_version === row.version) return told(API, `${name} accepted`, null, topic)
  if (operation.cancel_requested_at === row.updated_at)
    return told(API, `cancel of ${name} asked`, null, row.worker)
  if (row.incarnation !== null) {
    if (before?.fence === row.fence)
      return told(row.worker!, `${name} goes on`, operation.progress?.note ?? null)
    return told(
      row.worker!,
      cleanup === null ? `${name} claimed` : `cleanup of ${name} claimed`,
      fenceOf(row),
    )
  }
  const last = history.at(-1)
  const by = before?.worker ?? last?.worker ?? SCHEDULER
  if (last?.not_here !== undefined) return told(by, `${name} goes on elsewhere`, last.not_here.message, topic)
  if (before !== undefined && before.name !== name)
    return told(by, `${before.name} done, ${name} follows`, null, topic)
  if (cleanup !== null && before?.isCleanup === true && before.fence === row.fence)
    return told(by, `cleanup of ${name} put off`, cleanup.reason, topic)
  if (cleanup !== null) return told(SCHEDULER, `cleanup of ${name} queued`, cleanup.reason, topic)
  return told(SCHEDULER, `${name} queued again`, `the life that had it is over; ${fenceOf(row)}`, topic)
}

function atRest(row: ResourceRow, before: Running | undefined): Told {
  const why = row.error?.message ?? null
  if (row.held_by !== null) return told(API, `held by ${row.held_by.kind} ${row.held_by.id}`)
  if (before === undefined) return told(API, `is ${row.status}`, why)
  const { name } = before
  if (before.incarnation === null || before.worker === null)
    return told(row.error?.code === 'interrupted' ? SCHEDULER : API, `${name} ended: ${row.status}`, why)
  if (before.isCleanup) return told(before.worker, `cleanup of ${name} done: ${row.status}`, why)
  // A finish leaves the fence as the claim made it; who puts right raises it.
  if (row.fence === before.fence)
    return told(
      before.worker,
      row.error === null ? `${name} done: ${row.status}` : `${name} failed: ${row.status}`,
      why,
    )
  return told(row.error?.code === 'forced' ? API : SCHEDULER, `${name} put right: ${row.status}`, why)
}

const fenceOf = ({ fence }: ResourceRow) => `fence ${fence}`

export function serviceBrief(row: ServiceRow): ServiceBrief {
  const { id, version, host, backend, cluster, state, incarnation, cleaned_incarnation, disabled } = row
  return {
    ...{
      kind: 'service' as const,
      id,
      version,
      address: `${host}@${backend}`,
      cluster: `${cluster}@${backend}`,
    },
    ...{ state, incarnation, cleanup_done: cleaned_incarnation === incarnation, disabled },
  }
}

export function serviceTold(row: ServiceRow, before: ServiceBrief | undefined): Told {
  const { address, state, cleanup_done, disabled, incarnation } = serviceBrief(row)
  if (before?.disabled !== undefined && before.disabled !== disabled)
    return told(API, `${address} ${disabled ? 'disabled' : 'enabled'}`, row.disabled_reason, address)
  if (state === 'down')
    return cleanup_done
      ? told(SCHEDULER, `cleanup of ${address} done`, `life ${incarnation}`)
      : told(SCHEDULER, `${address} is down`, `life ${incarnation}`, address)
  return told(address, `${address} ${state === 'up' ? 'is up' : 'starts'}`, `life ${incarnation}`)
}

export function clusterBrief({ id, version, disabled, frozen }: ClusterRow): ClusterBrief {
  return { kind: 'cluster', id, version, disabled, frozen }
}

export function clusterTold({ id, disabled, frozen, disabled_reason }: ClusterRow): Told {
  const said = [...(disabled ? ['disabled'] : []), ...(frozen ? ['frozen'] : [])]
  return told(API, `cluster ${id} is ${said.join(' and ') || 'in service'}`, disabled_reason)
}
