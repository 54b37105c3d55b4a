// The invariants of the protocol, checked at every commit and at every effect on the backend. They read what
// is durable, who made it so and what the backend was told, never the runtime's memory.

import { isCreate, type ResourceType } from '../../../machines/definition.ts'
import type { Operation, ResourceRow, ServiceRow } from '../../../machines/row.ts'
import { asList } from '../../../machines/table.ts'
import { type Commit, type Key, keyOf, type StoredRow } from '../../../store/store.ts'

export interface Violation {
  readonly invariant: string
  readonly message: string
}

/** A property of a user's own, over the durable rows: null where it holds, else what is wrong. */
export interface OwnInvariant {
  readonly name: string
  /** `always`: after every commit. `settled` (default): when faults have stopped and all is at rest. */
  readonly when?: 'always' | 'settled'
  check(rows: readonly ResourceRow[]): string | null
}

/** Who wrote: `api`, `scheduler 1` or a node's `host@backend`, and the life of that node. */
export interface Writer {
  readonly process: string
  readonly actor: string
  readonly incarnation: number | null
}

export class Invariants {
  readonly violations: Violation[] = []
  /** The durable resources, by key. */
  readonly rows = new Map<Key, ResourceRow>()
  /** Every durable row. */
  readonly all = new Map<Key, StoredRow>()
  readonly services = new Map<string, ServiceRow>()
  /** An administrator said what is true, so the backend may say otherwise until it is gone. */
  readonly forced = new Set<Key>()
  /** What was claimed with each fence. */
  readonly #claims = new Map<string, Operation>()
  readonly #types: ReadonlyMap<string, ResourceType>
  readonly #own: readonly OwnInvariant[]
  readonly #reached: (property: string) => void

  constructor(
    types: readonly ResourceType[],
    own: readonly OwnInvariant[],
    reached: (property: string) => void,
  ) {
    this.#types = new Map(types.map((type) => [type.kind, type]))
    this.#own = own
    this.#reached = reached
  }

  violated(invariant: string, message: string): void {
    this.violations.push({ invariant, message })
  }

  claimOf(key: Key, fence: number): Operation | undefined {
    return this.#claims.get(`${key} ${fence}`)
  }

  isUp(worker: string | null, incarnation: number | null): boolean {
    for (const { host, backend, state, incarnation: life } of this.services.values())
      if (state === 'up' && life === incarnation && `${host}@${backend}` === worker) return true
    return false
  }

  see(commit: Commit, writer: Writer | null): void {
    // The service rows of the same transaction come first: a claim is judged by what is true with it.
    for (const { row } of commit.changes)
      if (row?.kind === 'service') this.#seeService(row as unknown as ServiceRow)
    for (const { key, row } of commit.changes) {
      const before = this.all.get(key)
      if (row === null) {
        this.all.delete(key)
        this.rows.delete(key)
        continue
      }
      this.all.set(key, row)
      if (row.version !== (before?.version ?? 0) + 1)
        this.violated('version_grows', `${key}: version ${before?.version ?? 0} to ${row.version}`)
      if (this.#types.has(row.kind)) this.#seeResource(key, row as unknown as ResourceRow, writer)
    }
    for (const { name, when, check } of this.#own) {
      if (when !== 'always') continue
      const wrong = check([...this.rows.values()])
      if (wrong !== null) this.violated(name, wrong)
    }
  }

  /** Written as cleaned: a life that is over, with no claim left (rule R6). */
  #seeService(service: ServiceRow): void {
    const before = this.services.get(service.id)
    this.services.set(service.id, service)
    const { id, host, backend, state, incarnation, cleaned_incarnation: cleaned } = service
    if (cleaned === (before?.cleaned_incarnation ?? 0)) return
    const said = `${id} is written as cleaned up to life ${cleaned}`
    if (cleaned === incarnation && state !== 'down')
      this.violated('cleaned_only_if_gone', `${said}, which is ${state}`)
    for (const [key, row] of this.rows)
      if (row.worker === `${host}@${backend}` && row.incarnation !== null && row.incarnation <= cleaned)
        this.violated('cleaned_only_if_gone', `${said}, which still has ${key}`)
  }

  #seeResource(key: Key, row: ResourceRow, writer: Writer | null): void {
    const before = this.rows.get(key)
    this.rows.set(key, row)
    const who = writer === null ? '' : ` by ${writer.actor} of ${writer.process}`
    const said = `${key} at version ${row.version}${who} (${row.status}, worker ${row.worker}, incarnation ${row.incarnation}, fence ${row.fence})`
    this.#checkRest(row, said)
    const accepted = row.operation !== null && row.operation.accepted_version === row.version
    if (row.incarnation !== null && row.fence !== before?.fence) this.#seeClaim(key, before, row)
    if (before === undefined) return
    if (row.fence < before.fence) this.violated('fence_grows', `${said}, before ${before.fence}`)
    const { operations } = this.#types.get(row.kind)!.table
    const isForce = accepted && operations[row.operation!.name]?.force === true
    if (row.status === 'gone') this.forced.delete(key)
    const isForcedRest = row.operation === null && writer?.actor === 'api' && isSaid(operations, before, row)
    if (isForcedRest) this.forced.add(key)
    const follows = accepted && operations[row.operation!.name]?.follows !== undefined
    if (accepted && before.operation !== null && !isForce && !follows)
      this.violated('accept_at_rest', `${said}: accepted over ${before.operation.name}`)
    if (row.operation !== null && !accepted && !isSame(row.operation, before.operation))
      this.violated('op_matches_row', `${said}: ${row.operation.name} was never accepted in this row`)
    if (writer === null || before.incarnation === null || (accepted && !follows) || isForcedRest) return
    const same = row.incarnation === before.incarnation && row.worker === before.worker
    if (same && row.fence === before.fence) return
    this.#checkEndOfClaim(before, row, writer, said)
  }

  #seeClaim(key: Key, before: ResourceRow | undefined, row: ResourceRow): void {
    this.#claims.set(`${key} ${row.fence}`, row.operation!)
    const last = row.operation!.history.at(-2)
    if (before?.incarnation === null && last !== undefined && last.worker !== row.worker)
      this.#reached('requeued_elsewhere')
  }

  #checkRest(row: ResourceRow, said: string): void {
    const { rest } = this.#types.get(row.kind)!.statuses
    const isRest = rest.includes(row.status) || row.status === 'gone'
    const isFree =
      row.operation === null && row.worker === null && row.incarnation === null && row.held_by === null
    if (isRest !== isFree) this.violated('rest_has_no_worker', said)
  }

  /**
   * A claim ended: by the life that has it, or by a cleaner because that life is over. A cancel of a queued
   * row and a force operation are the api's and end no claim here.
   */
  #checkEndOfClaim(before: ResourceRow, row: ResourceRow, writer: Writer, said: string): void {
    const isUp = this.isUp(before.worker, before.incarnation)
    const isOwner = writer.actor === before.worker && writer.incarnation === before.incarnation
    const whose = `the claim of ${before.worker} life ${before.incarnation}`
    if (isOwner) {
      if (!isUp) this.violated('finish_by_owner', `${said}: ${whose}, which is not up`)
      return
    }
    // A cleaner: a scheduler, or the next life of that node. Only a finish keeps the fence, or takes a life's result.
    const isCleanup = row.fence > before.fence
    if (!isCleanup) this.violated('finish_by_owner', `${said}: ${whose}`)
    else if (isUp) this.violated('cleaned_only_if_gone', `${said}: ${whose}, which is up`)
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
    if (this.violations.length > 0) return
    for (const { name, check } of this.#own) {
      const wrong = check([...this.rows.values()])
      if (wrong !== null) this.violated(name, wrong)
    }
  }

  isSettled(): boolean {
    for (const row of this.rows.values()) if (row.operation !== null || row.held_by !== null) return false
    for (const service of this.services.values())
      if (service.state === 'down' && service.cleaned_incarnation !== service.incarnation) return false
    return true
  }

  /** After a reopening: what the store shows is what it showed, or later. */
  checkReopened(shown: ReadonlyMap<Key, StoredRow>): void {
    for (const [key, row] of this.all) {
      const found = shown.get(key)
      if ((found?.version ?? 0) < row.version && row.kind !== 'request' && row.status !== 'gone')
        this.violated(
          'durable_is_visible',
          `${key} was seen at version ${row.version}; after the reopening it is ${found === undefined ? 'not there' : `at ${found.version}`}`,
        )
    }
  }

  /** An operation whose success makes the row. */
  isCreate(kind: string, operation: string): boolean {
    const shape = this.#types.get(kind)?.table.operations[operation]
    return shape !== undefined && isCreate(shape)
  }
}

/** The api ended an operation by force, or said a status that no other instant operation leads to. */
function isSaid(
  operations: ResourceType['table']['operations'],
  before: ResourceRow,
  row: ResourceRow,
): boolean {
  if (before.operation !== null) return row.fence > before.fence || before.incarnation !== null
  if (before.status === row.status) return false
  return !Object.values(operations).some(
    ({ via, force, from, to }) =>
      via === undefined &&
      force !== true &&
      asList(from).includes(before.status) &&
      asList(to).includes(row.status),
  )
}

function isSame(one: Operation, other: Operation | null): boolean {
  return other !== null && one.accepted_version === other.accepted_version && one.name === other.name
}

/** The writers of what is under way, so that a commit can be told whose it is. */
export class Writers {
  readonly #asked = new Map<string, { row: StoredRow; writer: Writer }[]>()

  asks(rows: readonly StoredRow[], writer: Writer): void {
    for (const row of rows) {
      const name = `${keyOf(row)} ${row.version}`
      const others = this.#asked.get(name)
      if (others === undefined) this.#asked.set(name, [{ row, writer }])
      else others.push({ row, writer })
    }
  }

  of({ changes }: Commit): Writer | null {
    for (const { key, row } of changes) {
      if (row === null) continue
      const asked = this.#asked.get(`${key} ${row.version}`)
      if (asked === undefined) continue
      if (asked.length === 1) return asked[0]!.writer
      const text = JSON.stringify(row)
      return asked.findLast((one) => JSON.stringify(one.row) === text)?.writer ?? null
    }
    return null
  }
}
