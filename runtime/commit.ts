// The heart: decide, swap, flush, run. The only caller of the store's transact on resources. Nothing is
// sent, rung, driven or answered before the change it follows from is on disk. The points at which a crash
// can happen are numbered; tests use the numbers.

import {
  boundCluster,
  decide,
  type Refused,
  type RowStep,
  relatedRefs,
  type Types,
} from '../machines/decision.ts'
import { BrokenInvariant } from '../machines/error.ts'
import { countQuota, type QuotaRow, quotaChanges } from '../machines/quota.ts'
import { emptyRow, FORCED, type ResourceEvent } from '../machines/resource.ts'
import { type ClusterRow, type Ref, type RequestRow, type ResourceRow, refOf } from '../machines/row.ts'
import { type Change, type Expectation, type Key, keyOf, type Store, type StoredRow } from '../store/store.ts'
import { RekindleError } from './error.ts'
import type { Measures } from './measures.ts'
import type { Turns } from './turns.ts'

/** Runs what a chart asked for, once it is durable. */
export interface Runner {
  /** Where commits that lost a race wait for the next one. */
  readonly turns: Turns
  readonly measures: Measures
  /** Doorbell for a queued row. */
  ring(row: ResourceRow): void
  /** Abort the calls on this row that an older claim made. */
  abort(row: ResourceRow): void
  /** The claim just taken: run its driver, or its cleanup. Only a node's own commits come here. */
  drive?(row: ResourceRow): void
  clean?(row: ResourceRow): void
}

export interface Ask {
  readonly ref: Ref
  /** Where a new resource is made: its topic. */
  readonly create_in?: string
  /** Made anew at each try, over the row found and the row that binds. */
  readonly event: (row: ResourceRow, bound: StoredRow | undefined) => ResourceEvent
  /** Another row that the event looks at and that binds: the service row of a claim or finish (rule R5). */
  readonly binds?: Key
  /** An accept under a request id: written in the same transaction, expected to be absent. */
  readonly request?: { readonly id: string; readonly hash: string }
}

export type Outcome =
  | { readonly ok: true; readonly row: ResourceRow; readonly before: ResourceRow }
  /** `request_taken`: the request id was given before; its row tells what came of it. */
  | { readonly ok: false; readonly refused: Refused | 'request_taken' }

/** Conflicts in a row before a commit gives up: each one means that another process got on. */
const MOST_TRIES = 1_000

/**
 * Sends one event to one resource. Atomic: all rows that take part change in one swap or none does. After a
 * conflict it reads again and decides again; only the decision refuses, never the race. Rejects when the
 * store refuses or is lost.
 */
export async function commit(types: Types, store: Store, ask: Ask, runner: Runner): Promise<Outcome> {
  let outcome = await tryOnce(types, store, ask, runner)
  for (let tries = 1; outcome instanceof Lost && tries < MOST_TRIES; tries++) {
    const pass = await runner.turns.take(outcome.key)
    outcome = await tryOnce(types, store, ask, runner).finally(pass)
  }
  if (!(outcome instanceof Lost)) return outcome
  throw new Error(`${keyOf(ask.ref)}: ${MOST_TRIES} conflicts in a row`)
}

/** Somebody else changed this row between the decision and its swap. */
class Lost {
  readonly key: Key
  constructor(key: Key) {
    this.key = key
  }
}

async function tryOnce(types: Types, store: Store, ask: Ask, runner: Runner): Promise<Outcome | Lost> {
  const key = keyOf(ask.ref)
  const found = (await store.get(key)) as ResourceRow | undefined
  const bound = ask.binds === undefined ? undefined : await store.get(ask.binds)
  const row =
    found ?? (ask.create_in === undefined ? null : emptyRow(ask.ref.kind, ask.ref.id, ask.create_in))
  if (row === null) return { ok: false, refused: absent(ask.ref) }
  const asked = ask.event(row, bound)
  const topic = boundCluster(types, row, asked)
  const cluster = topic === null ? null : await loadCluster(store, topic)
  const event = topic === null ? asked : ({ ...asked, cluster } as ResourceEvent)
  let loaded: Map<Key, ResourceRow | undefined> = NOTHING
  for (;;) {
    const missing = missingKeys(types, row, event, loaded)
    if (missing.length === 0) break
    if (loaded === NOTHING) loaded = new Map()
    const related = await Promise.all(missing.map((one) => store.get(one)))
    for (const [i, one] of missing.entries()) loaded.set(one, related[i] as ResourceRow | undefined)
  }

  const decision = decideOrThrow(types, row, loaded, event)
  if (!decision.accepted) {
    runner.measures.refused(row, event.type, decision)
    return { ok: false, refused: decision }
  }
  const expect: Expectation[] = decision.changes.map((change) => ({
    key: change === decision.row ? key : keyOf(change),
    version: change.version - 1,
  }))
  for (const read of decision.read) expect.push({ key: keyOf(read), version: read.version })
  if (ask.binds !== undefined) expect.push({ key: ask.binds, version: bound?.version ?? 0 })
  // A freeze that comes between is a conflict: nothing it forbids is let through after it was answered.
  if (topic !== null) expect.push({ key: clusterKey(topic), version: cluster?.version ?? 0 })
  const changes: Change[] = decision.changes.map((change) => ({ put: change as unknown as StoredRow }))
  if (ask.request !== undefined) {
    expect.push({ key: requestKey(ask.request.id), version: 0 })
    changes.push({ put: requestRow(ask.request, decision.row) })
  }
  for (const step of decision.steps) {
    const id = endedRequest(step)
    const request = id === null ? undefined : ((await store.get(requestKey(id))) as RequestRow | undefined)
    if (request === undefined || request.settled !== null) continue
    expect.push({ key: keyOf(request), version: request.version })
    changes.push({ put: settledRequest(request, step.after) })
  }
  for (const [project, amounts] of quotaChanges(types, decision.steps)) {
    const quota = (await store.get(quotaKey(project))) as QuotaRow | undefined
    // Only who asks for something is refused: what has happened at a backend is counted, whatever the limit.
    const isAsked = types.get(row.kind)!.table.operations[event.type] !== undefined
    const counted = countQuota(quota, project, amounts, isAsked)
    if ('refused' in counted) {
      runner.measures.refused(row, event.type, counted.refused)
      return { ok: false, refused: counted.refused }
    }
    expect.push({ key: quotaKey(project), version: quota?.version ?? 0 })
    changes.push({ put: counted.row as unknown as StoredRow })
  }

  const { measures } = runner
  const since = measures.now()
  // Crash point 1: nothing is written. Nobody was told anything; the caller asks again.
  const result = await store.transact(expect, changes)
  // Crash point 2: durable, and nothing is run. A queued row is rung by the next sweep (rule R3), a taken
  // one is put right by a cleaner.
  if (!result.ok) {
    if (ask.request !== undefined && result.conflicts.some((c) => c.key === requestKey(ask.request!.id)))
      return { ok: false, refused: 'request_taken' }
    measures.conflict(row.kind, event.type, since)
    return new Lost(result.conflicts[0]!.key)
  }
  measures.committed(event.type, decision.steps, since)
  for (const command of decision.commands) {
    // Crash point 3: some commands ran, others did not. Each can be lost without harm, as at point 2.
    if (command.type === 'ring') runner.ring(command.row)
    else if (command.type === 'abort') runner.abort(command.row)
    else if (command.type === 'drive') runner.drive?.(command.row)
    else if (command.type === 'clean') runner.clean?.(command.row)
    else throw new BrokenInvariant(`nobody runs the command '${command.type}'`)
  }
  return { ok: true, row: decision.row, before: row }
}

export const quotaKey = (project: string): Key => `quota/${project}`

export const clusterKey = (topic: string): Key => `cluster/${topic}`

export const requestKey = (id: string): Key => `request/${id}`

function requestRow(request: { id: string; hash: string }, row: ResourceRow): StoredRow {
  const made: RequestRow = {
    kind: 'request',
    id: request.id,
    version: 1,
    hash: request.hash,
    resource: refOf(row),
    accepted_version: row.operation?.accepted_version ?? row.version,
    // An instant operation is done with its accept; an error in its row is that of an operation it interrupted.
    settled: row.operation === null ? { at: row.updated_at, error: null } : null,
  }
  return made as unknown as StoredRow
}

/** The request id of an operation that ends with this change; null where it does not end, or had none. */
function endedRequest({ before: { operation }, after }: RowStep): string | null {
  if (operation?.request_id == null) return null
  return after.operation?.accepted_version === operation.accepted_version ? null : operation.request_id
}

/** It keeps how its operation ended, for a repeated call. */
function settledRequest(request: RequestRow, after: ResourceRow): StoredRow {
  const error =
    after.operation === null ? after.error : { code: 'forced', message: FORCED, at: after.updated_at }
  const settled = { at: after.updated_at, error }
  return { ...request, version: request.version + 1, settled } as unknown as StoredRow
}

/** Most decisions need no row but their own. Nothing is ever put here. */
const NOTHING = new Map<Key, ResourceRow | undefined>()

async function loadCluster(store: Store, topic: string): Promise<ClusterRow | null> {
  return ((await store.get(clusterKey(topic))) as ClusterRow | undefined) ?? null
}

const NO_KEYS: readonly Key[] = []

/** The rows that the decision needs and that are not loaded. */
function missingKeys(
  types: Types,
  row: ResourceRow,
  event: ResourceEvent,
  loaded: ReadonlyMap<Key, ResourceRow | undefined>,
): readonly Key[] {
  const refs = relatedRefs(types, row, event, loaded)
  return refs.length === 0 ? NO_KEYS : refs.map(keyOf).filter((key) => !loaded.has(key))
}

function decideOrThrow(...[types, row, loaded, event]: Parameters<typeof decide>) {
  try {
    return decide(types, row, loaded, event)
  } catch (error) {
    if (error instanceof BrokenInvariant) throw error
    // Otherwise only a definition's own guard or change can throw here; nothing was changed by it.
    throw new RekindleError(
      'definition_threw',
      `${event.type} of ${row.kind} ${row.id}: a guard or change of its definition threw: ${String(error)}`,
      { cause: error },
    )
  }
}

function absent(ref: Ref): Refused {
  return { accepted: false, resource: ref, expected: [], found: 'absent', guard: null }
}
