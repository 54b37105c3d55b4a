// The invariants of the protocol, checked at every commit and at every effect on the backend. They read what
// is durable and what the backend was told, never the runtime's memory.

import type { ResourceType } from '../../../machines/definition.ts'
import type { ResourceRow, ServiceRow } from '../../../machines/row.ts'
import type { Commit } from '../../../store/store.ts'

export interface Violation {
  readonly invariant: string
  readonly message: string
}

export class Invariants {
  readonly violations: Violation[] = []
  /** The durable rows, by key. */
  readonly rows = new Map<string, ResourceRow>()
  readonly services = new Map<string, ServiceRow>()
  readonly #types: ReadonlyMap<string, ResourceType>

  constructor(types: readonly ResourceType[]) {
    this.#types = new Map(types.map((type) => [type.kind, type]))
  }

  violated(invariant: string, message: string): void {
    this.violations.push({ invariant, message })
  }

  see(commit: Commit): void {
    // The service rows of the same transaction come first: a claim is judged by what is true with it.
    for (const { row } of commit.changes)
      if (row?.kind === 'service') this.services.set(row.id, row as unknown as ServiceRow)
    for (const { key, row } of commit.changes) {
      if (row === null) this.rows.delete(key)
      else if (this.#types.has(row.kind)) this.#seeResource(key, row as unknown as ResourceRow)
    }
  }

  #seeResource(key: string, row: ResourceRow): void {
    const before = this.rows.get(key)
    this.rows.set(key, row)
    const said = `${key} at version ${row.version} (${row.status}, worker ${row.worker}, incarnation ${row.incarnation}, fence ${row.fence})`
    if (row.version !== (before?.version ?? 0) + 1) this.violated('version_grows', said)
    if (before !== undefined && row.fence < before.fence) this.violated('fence_grows', said)
    this.#checkRest(row, said)
    if (before === undefined) return
    const accepted = row.operation?.accepted_version === row.version
    const { operations } = this.#types.get(row.kind)!.table
    if (accepted && before.operation !== null && operations[row.operation!.name]?.force !== true)
      this.violated('accept_at_rest', said)
    if (before.incarnation === null || accepted) return
    const same = row.incarnation === before.incarnation && row.worker === before.worker
    if (same && row.fence === before.fence) return
    this.#checkEndOfClaim(before, row, said)
  }

  #checkRest(row: ResourceRow, said: string): void {
    const { rest } = this.#types.get(row.kind)!.statuses
    const isRest = rest.includes(row.status) || row.status === 'gone'
    const isFree =
      row.operation === null && row.worker === null && row.incarnation === null && row.held_by === null
    if (isRest !== isFree) this.violated('rest_has_no_worker', said)
  }

  /** A claim ended: by its owner, who is up, or because its life is over; a force operation may do as it likes. */
  #checkEndOfClaim(before: ResourceRow, row: ResourceRow, said: string): void {
    const life = [...this.services.values()].filter(
      ({ host, backend }) => `${host}@${backend}` === before.worker,
    )
    const isUp = life.some(({ state, incarnation }) => state === 'up' && incarnation === before.incarnation)
    const isCleanup =
      row.operation !== null
        ? row.operation.accepted_version === before.operation?.accepted_version && row.fence > before.fence
        : row.fence > before.fence && row.error !== null && row.error.code !== 'forced'
    const isForced = row.error?.code === 'forced' || (row.error === null && row.fence > before.fence)
    if (isForced) return
    if (isCleanup && isUp)
      this.violated('cleaned_only_if_gone', `${said}, but ${before.worker} life ${before.incarnation} is up`)
    if (!isCleanup && !isUp)
      this.violated('finish_by_owner', `${said}, but ${before.worker} life ${before.incarnation} is not up`)
  }

  /** When faults have stopped and everything had its time. */
  checkSettled(): void {
    for (const [key, row] of this.rows)
      if (row.operation !== null || row.held_by !== null)
        this.violated(
          'all_at_rest',
          `${key} is ${row.status}, worker ${row.worker}, incarnation ${row.incarnation}`,
        )
    for (const { id, state, incarnation, cleaned_incarnation } of this.services.values())
      if (state === 'down' && cleaned_incarnation !== incarnation)
        this.violated('all_at_rest', `${id} life ${incarnation} is down and not cleaned`)
  }
}
