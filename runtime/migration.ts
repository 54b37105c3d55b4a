// Brings a store's rows to the versions of the definitions given, before anything runs on it. First everything is
// looked at and nothing written: one row that can't be migrated refuses the whole. Then each row is written by
// compare-and-swap, in batches, each row with its new version; a crash anywhere goes on at the next open. At the
// end what is counted across rows (children, uses, holds, quotas) is counted anew by the new tables.

import { decide, holdRefs, parentRef, type Types, useRefs } from '../machines/decision.ts'
import { checkTypes, type ResourceType } from '../machines/definition.ts'
import { definitionVersionOf, MIGRATED, type MigrationFault, migrated } from '../machines/migration.ts'
import type { QuotaRow } from '../machines/quota.ts'
import {
  type BeatRow,
  type DefinitionRow,
  isGone,
  type RequestRow,
  type ResourceRow,
  type ServiceRow,
} from '../machines/row.ts'
import { USED } from '../machines/table.ts'
import { tableVersion } from '../machines/version.ts'
import {
  type Change,
  type Expectation,
  type Key,
  keyOf,
  type Store,
  type StoredRow,
  type StoreSource,
} from '../store/store.ts'
import { quotaKey, requestKey } from './commit.ts'
import { type Environment, realEnvironment } from './environment.ts'
import { RekindleError } from './error.ts'
import { type Log, Logger } from './log.ts'
import { listAll } from './registration.ts'
import { defaultSettings } from './settings.ts'

/** What a migration changes, or would change, of one kind. */
export interface KindMigration {
  readonly kind: string
  readonly to: number
  /** How many rows are of each older version. */
  readonly from: { readonly [version: string]: number }
  readonly rows: number
  /** `active → available`: how many rows; those whose status stays are not listed. */
  readonly statuses: { readonly [change: string]: number }
  /** Fields of the data that appear, go, or change, and in how many rows. */
  readonly fields: {
    readonly added: { readonly [field: string]: number }
    readonly removed: { readonly [field: string]: number }
    readonly changed: { readonly [field: string]: number }
  }
  /** Operations under way: those that go on under the new table, and those that end with the migration. */
  readonly going_on: number
  readonly ended: number
  /** Ids of a few rows that change in more than their version. */
  readonly examples: readonly string[]
  readonly faults: number
}

export interface MigrationReport {
  /** The kinds whose rows are of an older version; empty where nothing is to do. */
  readonly kinds: readonly KindMigration[]
  /** The first faults, each with the key of its row. */
  readonly faults: readonly (MigrationFault & { readonly key: Key })[]
}

export interface MigrationProgress {
  readonly kind: string
  readonly done: number
  readonly of: number
}

export interface MigrateOptions {
  /** Looks, tells, and writes nothing. */
  readonly dry_run?: boolean
  readonly environment?: Environment
  readonly log?: Log
  readonly onProgress?: (progress: MigrationProgress) => void
}

const BATCH = 200
const MOST_EXAMPLES = 5
const MOST_FAULTS = 20

/**
 * Opens the store, migrates what is older than the definitions given, and closes it. Idempotent; resumable after
 * a crash at any point. `createRuntime` does the same at each open; this is for looking first, or apart from a start.
 * Throws `migration_refused` where a row can't be migrated (nothing was written), or a node of another process
 * runs on the store; `unknown_rows` where rows are of a newer version than the definition given.
 *
 * @example
 * const report = await migrateStore(jsonStore('./data'), [dnsRecord], { dry_run: true })
 */
export async function migrateStore(
  source: StoreSource,
  resources: readonly ResourceType[],
  { dry_run = false, environment = realEnvironment(), log, onProgress }: MigrateOptions = {},
): Promise<MigrationReport> {
  const types = checkTypes(resources)
  const store = await source.open()
  try {
    const migration = new StoreMigration(store, types, environment, new Logger(log))
    const due = await migration.due()
    const report = await migration.look(due)
    if (!dry_run && due.length > 0) await migration.run(due, report, onProgress)
    return report
  } finally {
    await store.close()
  }
}

/** Migrates an open store where something is to do; asks for a few rows where not. */
export async function migrateOpened(
  store: Store,
  types: Types,
  environment: Environment,
  log: Logger,
): Promise<void> {
  const migration = new StoreMigration(store, types, environment, log)
  const due = await migration.due()
  if (due.length > 0) await migration.run(due, await migration.look(due))
}

/** A kind whose rows are of an older version. */
interface Due {
  readonly type: ResourceType
  readonly found: DefinitionRow | undefined
}

class StoreMigration {
  readonly #store: Store
  readonly #types: Types
  readonly #environment: Environment
  readonly #log: Logger

  constructor(store: Store, types: Types, environment: Environment, log: Logger) {
    this.#store = store
    this.#types = types
    this.#environment = environment
    this.#log = log
  }

  /** The kinds with something to do. Reads one row a kind that ever had a second version, and no more. */
  async due(): Promise<Due[]> {
    const rows = await listAll<DefinitionRow>(this.#store, 'definition')
    const due: Due[] = []
    for (const type of this.#types.values()) {
      const found = rows.find(({ id }) => id === type.kind)
      const stored = found?.definition_version ?? 1
      const given = tableVersion(type.table)
      const newest = Math.max(stored, found?.migrating_to ?? 0)
      if (newest > given)
        throw new RekindleError(
          'unknown_rows',
          `the rows of ${type.kind} are of version ${newest} of its definition, and version ${given} is given: open them with the newer one`,
        )
      if (stored < given || (found !== undefined && found.migrating_to !== null)) due.push({ type, found })
    }
    return due
  }

  // ---- the look ----

  /** What every older row becomes. Writes nothing. */
  async look(due: readonly Due[]): Promise<MigrationReport> {
    const faults: (MigrationFault & { key: Key })[] = []
    const kinds: KindMigration[] = []
    for (const { type } of due) {
      const seen = new Seen(type)
      await this.#each(type.kind, (row) => {
        if (definitionVersionOf(row) >= tableVersion(type.table)) return
        const result = migrated(type.table, row, this.#environment.now())
        if ('fault' in result) {
          seen.faults++
          if (faults.length < MOST_FAULTS) faults.push({ key: keyOf(row), ...result.fault })
        } else seen.count(row, result.row)
      })
      kinds.push(seen.told())
    }
    return { kinds, faults }
  }

  // ---- the writing ----

  async run(
    due: readonly Due[],
    report: MigrationReport,
    onProgress: MigrateOptions['onProgress'] = () => {},
  ): Promise<void> {
    const sum = report.kinds.reduce((all, { faults }) => all + faults, 0)
    if (sum > 0)
      throw new RekindleError(
        'migration_refused',
        `${sum} rows can't be migrated, and nothing was written: ${report.faults
          .map(({ key, field, message }) => `${key}${field === '' ? '' : `, ${field}`}: ${message}`)
          .join('; ')}${sum > report.faults.length ? '; and more' : ''}`,
        {
          issues: report.faults.map(({ key, field, message }) => ({
            path: `${key}${field && `.${field}`}`,
            message,
          })),
        },
      )
    await this.#assertAlone()
    const isEmpty =
      report.kinds.every(({ rows }) => rows === 0) && due.every(({ found }) => found === undefined)
    // A crash after this: the next open finds the mark and goes on.
    if (!isEmpty) for (const one of due) await this.#mark(one, true)
    for (const { type } of due) {
      const { rows } = report.kinds.find(({ kind }) => kind === type.kind)!
      await this.#writeKind(type, (done) => onProgress({ kind: type.kind, done, of: rows }))
    }
    if (!isEmpty) await this.#countAnew()
    for (const one of due) await this.#mark(one, false)
    for (const { kind, to, rows, ended } of report.kinds)
      if (rows > 0)
        this.#log.info(
          `${rows} rows of ${kind} are migrated to version ${to} of its definition${ended > 0 ? `; ${ended} operations ended with it` : ''}`,
          { kind },
        )
  }

  /** In a store that others may open: no node may work on rows that change under it. */
  async #assertAlone(): Promise<void> {
    if (this.#store.exclusive) return
    const running = (await listAll<ServiceRow>(this.#store, 'service')).filter(
      ({ state }) => state !== 'down',
    )
    if (running.length === 0) return
    const beats = async () =>
      new Map((await listAll<BeatRow>(this.#store, 'beat')).map(({ id, counter }) => [id, counter]))
    const before = await beats()
    await new Promise<void>((resolve) => void this.#environment.timer(defaultSettings.down_after_ms, resolve))
    const after = await beats()
    const alive = running.filter(({ id }) => before.get(id) !== after.get(id))
    if (alive.length > 0)
      throw new RekindleError(
        'migration_refused',
        `nodes run on this store with the older definitions: ${alive.map(({ id }) => id).join(', ')}; stop them first`,
      )
  }

  async #mark({ type, found: known }: Due, hasBegun: boolean): Promise<void> {
    const key = `definition/${type.kind}`
    const found = (await this.#store.get(key)) as DefinitionRow | undefined
    const version = tableVersion(type.table)
    const row: DefinitionRow = {
      kind: 'definition',
      id: type.kind,
      version: (found?.version ?? 0) + 1,
      definition_version: hasBegun ? (known?.definition_version ?? 1) : version,
      migrating_to: hasBegun ? version : null,
    }
    await this.#write([{ key, version: found?.version ?? 0 }], [{ put: row as unknown as StoredRow }])
  }

  async #writeKind(type: ResourceType, onProgress: (done: number) => void): Promise<void> {
    let done = 0
    let expect: Expectation[] = []
    let changes: Change[] = []
    const flush = async () => {
      if (changes.length > 0) await this.#write(expect, changes)
      expect = []
      changes = []
      onProgress(done)
    }
    await this.#each(type.kind, async (row) => {
      if (definitionVersionOf(row) >= tableVersion(type.table)) return
      const result = migrated(type.table, row, this.#environment.now())
      if ('fault' in result)
        throw new RekindleError('migration_refused', `${keyOf(row)}: ${result.fault.message}`)
      expect.push({ key: keyOf(row), version: row.version })
      changes.push({ put: result.row as unknown as StoredRow })
      const request = await this.#endedRequest(row, result.row)
      if (request !== null) {
        expect.push({ key: keyOf(request), version: request.version - 1 })
        changes.push({ put: request as unknown as StoredRow })
      }
      done++
      if (changes.length >= BATCH) await flush()
    })
    await flush()
  }

  /** Whoever asks again under the request id of an operation that ended with the migration is told so. */
  async #endedRequest(row: ResourceRow, next: ResourceRow): Promise<RequestRow | null> {
    if (row.operation === null || next.operation !== null || row.operation.request_id === null) return null
    const request = (await this.#store.get(requestKey(row.operation.request_id))) as RequestRow | undefined
    if (request === undefined || request.settled !== null) return null
    return { ...request, version: request.version + 1, settled: { at: next.updated_at, error: next.error } }
  }

  // ---- what is counted across rows ----

  /** Idempotent: it writes where the count is another one. */
  async #countAnew(): Promise<void> {
    const children = new Map<Key, { [kind: string]: number }>()
    const used = new Map<string, { [resource: string]: number }>()
    const add = (counts: Map<string, { [name: string]: number }>, key: string, name: string, by: number) => {
      const all = counts.get(key) ?? {}
      counts.set(key, all)
      all[name] = Math.round(((all[name] ?? 0) + by) * 1e6) / 1e6
    }
    const holders = new Map<Key, ReadonlySet<Key>>()
    for (const { kind, table } of this.#types.values())
      await this.#each(kind, (row) => {
        if (isGone(row)) return
        const parent = parentRef(this.#types, kind, row.data)
        if (parent !== null) add(children, keyOf(parent), kind, 1)
        if (row.operation !== null) {
          const { name, input } = row.operation
          for (const ref of useRefs(this.#types, kind, name, input)) add(children, keyOf(ref), USED, 1)
          holders.set(keyOf(row), new Set(holdRefs(this.#types, kind, name, input).map(keyOf)))
        }
        const project = table.quota?.project(row) ?? null
        if (project !== null)
          for (const [resource, amount] of Object.entries(table.quota!.usage(row)))
            add(used, project, resource, amount)
      })
    for (const { kind } of this.#types.values())
      await this.#each(kind, async (row) => {
        const released = this.#released(row, holders)
        const counted = children.get(keyOf(row)) ?? {}
        if (released === row && same(counted, row.children)) return
        const next = { ...released, children: counted, version: row.version + 1 }
        await this.#write(
          [{ key: keyOf(row), version: row.version }],
          [{ put: next as unknown as StoredRow }],
        )
      })
    for (const quota of await listAll<QuotaRow>(this.#store, 'quota')) {
      const now = used.get(quota.id) ?? {}
      used.delete(quota.id)
      const zeros = Object.fromEntries(Object.keys(quota.used).map((resource) => [resource, 0]))
      if (!same(now, quota.used)) await this.#countQuota({ ...quota, used: { ...zeros, ...now } })
    }
    for (const [project, now] of used)
      await this.#countQuota({ kind: 'quota', id: project, version: 0, limits: {}, used: now })
  }

  async #countQuota(quota: QuotaRow): Promise<void> {
    const next = { ...quota, version: quota.version + 1 }
    await this.#write(
      [{ key: quotaKey(quota.id), version: quota.version }],
      [{ put: next as unknown as StoredRow }],
    )
  }

  /** A row whose holder ended with the migration is let go, as by a holder that failed. */
  #released(row: ResourceRow, holders: ReadonlyMap<Key, ReadonlySet<Key>>): ResourceRow {
    if (row.held_by === null || holders.get(keyOf(row.held_by))?.has(keyOf(row)) === true) return row
    const at = this.#environment.now()
    const holder = { kind: row.held_by.kind, id: row.held_by.id }
    const error = {
      code: MIGRATED,
      message: `the operation of ${keyOf(holder)} that held it ended with a new version`,
      at,
    }
    const decision = decide(this.#types, row, new Map(), {
      type: 'release.failed',
      holder,
      error,
      at,
    } as never)
    return decision.accepted ? decision.row : row
  }

  // ---- the store ----

  async #each(kind: string, see: (row: ResourceRow) => void | Promise<void>): Promise<void> {
    let after: Key | null = null
    do {
      const page: { rows: readonly StoredRow[]; next: Key | null } = await this.#store.list(
        { kind },
        { after, limit: 1_000 },
      )
      for (const row of page.rows) await see(row as unknown as ResourceRow)
      after = page.next
    } while (after !== null)
  }

  async #write(expect: readonly Expectation[], changes: readonly Change[]): Promise<void> {
    const result = await this.#store.transact(expect, changes)
    if (!result.ok)
      throw new RekindleError(
        'migration_refused',
        `${result.conflicts[0]!.key} was changed while it was migrated: another process works on this store; stop it and open it again`,
      )
  }
}

/** Gathers what changes of one kind. */
class Seen {
  readonly #type: ResourceType
  readonly #from: { [version: string]: number } = {}
  readonly #statuses: { [change: string]: number } = {}
  readonly #fields = { added: {}, removed: {}, changed: {} } as {
    [sort in 'added' | 'removed' | 'changed']: { [field: string]: number }
  }
  readonly #examples: string[] = []
  #rows = 0
  #goingOn = 0
  #ended = 0
  faults = 0

  constructor(type: ResourceType) {
    this.#type = type
  }

  count(row: ResourceRow, next: ResourceRow): void {
    this.#rows++
    const version = String(definitionVersionOf(row))
    this.#from[version] = (this.#from[version] ?? 0) + 1
    if (row.operation !== null) next.operation === null ? this.#ended++ : this.#goingOn++
    const isMoved = next.status !== row.status
    if (isMoved) increase(this.#statuses, `${row.status} → ${next.status}`)
    const names = new Set([...Object.keys(row.data), ...Object.keys(next.data)])
    let isOther = isMoved
    for (const name of names) {
      const sort = !Object.hasOwn(row.data, name)
        ? 'added'
        : !Object.hasOwn(next.data, name)
          ? 'removed'
          : 'changed'
      if (sort === 'changed' && same(row.data[name], next.data[name])) continue
      increase(this.#fields[sort], name)
      isOther = true
    }
    if (isOther && this.#examples.length < MOST_EXAMPLES) this.#examples.push(row.id)
  }

  told(): KindMigration {
    return {
      ...{ kind: this.#type.kind, to: tableVersion(this.#type.table), from: this.#from, rows: this.#rows },
      ...{ statuses: this.#statuses, fields: this.#fields, going_on: this.#goingOn, ended: this.#ended },
      ...{ examples: this.#examples, faults: this.faults },
    }
  }
}

function increase(counts: { [name: string]: number }, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}

/** As JSON; the order of fields says nothing. */
function same(a: unknown, b: unknown): boolean {
  return sorted(a) === sorted(b)
}

function sorted(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)))
        : inner,
    ) ?? 'undefined'
  )
}
