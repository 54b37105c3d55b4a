// The heart: decide, swap, flush, run. The only caller of the store's transact on resources. Nothing is
// sent, rung, driven or answered before the change it follows from is on disk. The points at which a crash
// can happen are numbered; tests use the numbers.

import { boundCluster, decide, type Refused, relatedRefs, type Types } from '../machines/decision.ts'
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
  /** Made anew at each try, over the row found. */
  readonly event: (row: ResourceRow, rows: ReadonlyMap<Key, StoredRow>) => ResourceEvent
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
  let pass = () => {}
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const outcome = await tryOnce(types, store, ask, runner).finally(pass)
    if (!(outcome instanceof Lost)) return outcome
    pass = await runner.turns.take(outcome.key)
  }
  pass()
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
  const rows = new Map<Key, StoredRow>()
  const loaded = new Map<Key, ResourceRow | undefined>()
  const row = await loadRow(store, ask, rows)
  if (row === null) return { ok: false, refused: absent(ask.ref) }
  const asked = ask.event(row, rows)
  const topic = boundCluster(types, row, asked)
  const cluster = topic === null ? null : await loadCluster(store, topic)
  const event = topic === null ? asked : ({ ...asked, cluster } as ResourceEvent)
  await loadRelated(types, store, row, event, loaded)

  const decision = decideOrThrow(types, row, loaded, event)
  if (!decision.accepted) {
    runner.measures.refused(row, event.type, decision)
    return { ok: false, refused: decision }
  }
  const expect: Expectation[] = decision.changes.map((change) => ({
    key: keyOf(change),
    version: change.version - 1,
  }))
  for (const read of decision.read) expect.push({ key: keyOf(read), version: read.version })
  if (ask.binds !== undefined) expect.push({ key: ask.binds, version: rows.get(ask.binds)?.version ?? 0 })
  // A freeze that comes between is a conflict: nothing it forbids is let through after it was answered.
  if (topic !== null) expect.push({ key: clusterKey(topic), version: cluster?.version ?? 0 })
  const changes: Change[] = decision.changes.map((change) => ({ put: change as unknown as StoredRow }))
  if (ask.request !== undefined) {
    expect.push({ key: requestKey(ask.request.id), version: 0 })
    changes.push({ put: requestRow(ask.request, decision.row) })
  }
  for (const request of await settledRequests(store, row, loaded, decision.changes)) {
    expect.push({ key: keyOf(request), version: request.version - 1 })
    changes.push({ put: request })
  }
  const befores = new Map(loaded).set(keyOf(row), row)
  const steps = decision.changes.map((after) => ({ before: befores.get(keyOf(after))!, after }))
  for (const [project, amounts] of quotaChanges(types, steps)) {
    const found = (await store.get(quotaKey(project))) as QuotaRow | undefined
    // Only who asks for something is refused: what has happened at a backend is counted, whatever the limit.
    const isAsked = types.get(row.kind)!.table.operations[event.type] !== undefined
    const counted = countQuota(found, project, amounts, isAsked)
    if ('refused' in counted) {
      runner.measures.refused(row, event.type, counted.refused)
      return { ok: false, refused: counted.refused }
    }
    expect.push({ key: quotaKey(project), version: found?.version ?? 0 })
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
  measures.committed(event.type, steps, since)
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

/** The request rows of operations that end with these changes: they keep how it ended for a repeated call. */
async function settledRequests(
  store: Store,
  row: ResourceRow,
  loaded: ReadonlyMap<Key, ResourceRow | undefined>,
  changes: readonly ResourceRow[],
): Promise<StoredRow[]> {
  const settled: StoredRow[] = []
  for (const change of changes) {
    const before = keyOf(change) === keyOf(row) ? row : loaded.get(keyOf(change))
    const operation = before?.operation
    if (operation?.request_id == null) continue
    if (change.operation?.accepted_version === operation.accepted_version) continue
    const request = (await store.get(requestKey(operation.request_id))) as RequestRow | undefined
    if (request === undefined || request.settled !== null) continue
    const error =
      change.operation === null ? change.error : { code: 'forced', message: FORCED, at: change.updated_at }
    settled.push({
      ...request,
      version: request.version + 1,
      settled: { at: change.updated_at, error },
    } as unknown as StoredRow)
  }
  return settled
}

async function loadRow(store: Store, ask: Ask, rows: Map<Key, StoredRow>): Promise<ResourceRow | null> {
  const key = keyOf(ask.ref)
  const [row, bound] = await Promise.all([
    store.get(key),
    ask.binds === undefined ? undefined : store.get(ask.binds),
  ])
  if (bound !== undefined) rows.set(keyOf(bound), bound)
  if (row !== undefined) return row as unknown as ResourceRow
  return ask.create_in === undefined ? null : emptyRow(ask.ref.kind, ask.ref.id, ask.create_in)
}

async function loadCluster(store: Store, topic: string): Promise<ClusterRow | null> {
  return ((await store.get(clusterKey(topic))) as ClusterRow | undefined) ?? null
}

async function loadRelated(
  types: Types,
  store: Store,
  row: ResourceRow,
  event: ResourceEvent,
  loaded: Map<Key, ResourceRow | undefined>,
): Promise<void> {
  for (;;) {
    const missing = relatedRefs(types, row, event, loaded)
      .map(keyOf)
      .filter((key) => !loaded.has(key))
    if (missing.length === 0) return
    const found = await Promise.all(missing.map((key) => store.get(key)))
    for (const [i, key] of missing.entries()) loaded.set(key, found[i] as ResourceRow | undefined)
  }
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
