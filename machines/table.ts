// The table a resource type is declared by: its statuses, its operations, what another resource's
// operation may do to it. Checked here, once, so that a mistake is an error at definition time that
// names the operation. No chart is built here; see resource.ts.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { DefinitionError, nearest } from './error.ts'
import type { JsonObject, ResourceRow } from './row.ts'
import { migrationsFault, type Versioned } from './version.ts'

/** What a guard sees: the row, the input, and the rows that take part, by kind. */
export interface GuardArguments {
  readonly row: ResourceRow
  readonly input: JsonObject
  readonly related: { readonly [kind: string]: ResourceRow }
}

/** Pure and total: reads only its arguments, never throws. */
export type Guard = (args: GuardArguments) => boolean

export interface OperationShape {
  /** `'new'` makes the resource; `'any'` (with `force`) is every status but gone. */
  readonly from: string | readonly string[]
  /** The transitional status. Absent: an instant operation, done by `change` in the accept itself. */
  readonly via?: string
  /**
   * A rest status, `'previous'`, `'gone'`; a list (instant operations only) lets `choose`, or without it
   * `input.status`, say which.
   */
  readonly to: string | readonly string[]
  /** Which of the statuses in `to` it ends in. Pure. */
  readonly choose?: (row: ResourceRow, input: never) => string
  /** Where it ends when the driver fails: a rest status or `'previous'`. */
  readonly failed?: string
  /** Where it ends instead when the driver fails with this code, for example `{ busy: 'previous' }`. */
  readonly ends?: { readonly [code: string]: string }
  /**
   * Where it ends when its worker goes down: `'restore'` (back to previous_status), a rest status, `'gone'`
   * (a create whose half-made object is removed), or `'requeue'` (the whole operation again, by any node:
   * says that the driver's method is idempotent even half-way).
   */
  readonly cleanup?: string
  readonly input?: StandardSchemaV1
  readonly guards?: readonly string[]
  /** Refused while the resource's cluster is frozen: what can't be undone. */
  readonly unless_frozen?: true
  /** May interrupt a running operation: raises the fence and aborts the driver (rule R13). */
  readonly force?: true
  /**
   * Other rows that take part, by kind: the status they are held in and the input field with their id, or with
   * a list of ids. An input without the field holds none.
   */
  readonly holds?: { readonly [kind: string]: HoldShape }
  /**
   * Other rows that are read, by kind: the input field with their id and the statuses they may be in. Any
   * number of operations may use a row at once; while one does, nothing with `via` begins there.
   */
  readonly uses?: { readonly [kind: string]: { readonly id: string; readonly from: readonly string[] } }
  /** The data after it: of an instant operation, or at the end of another, before the driver's changes. Pure. */
  readonly change?: (row: ResourceRow, input: never) => JsonObject
  /** The topic `cluster@backend` whose nodes drive it, where that is not the resource's own. Pure. */
  readonly at?: (row: ResourceRow, input: never) => string
  /** Its success moves the resource to the topic where it was driven. */
  readonly moves?: true
  /** Begun by the success of that operation, in the same swap; `from` may be empty. It can't be cancelled. */
  readonly follows?: string
  /** How long the driver may take before its signal is aborted; the runtime's setting where absent. */
  readonly timeout_ms?: number
  /** One sentence for the picture. */
  readonly description?: string
}

export interface HoldShape {
  readonly as: string
  readonly id: string
  /** Where this field of the input is true, the ids are filled in: those of all its children of that kind. */
  readonly all_if?: string
}

/** A status in which another resource's operation holds this one. */
export interface HeldShape {
  readonly from: string | readonly string[]
  readonly to: string
  readonly failed: string
  /** `'restore'` or a rest status. */
  readonly cleanup: string
}

export interface TableShape extends Versioned {
  readonly kind: string
  /** Checks and completes the data of a create. */
  readonly data: StandardSchemaV1
  /** The rest statuses. The transitional ones follow from the operations. */
  readonly statuses: readonly string[]
  readonly operations: { readonly [name: string]: OperationShape }
  /** Statuses in which another resource's operation holds this one, for example `backing-up`. */
  readonly held?: { readonly [status: string]: HeldShape }
  readonly guards?: { readonly [name: string]: Guard }
  /** Fields of data and inputs that name a topic `cluster@backend`: a renaming of that cluster changes them too. */
  readonly topics?: readonly string[]
  /** The resource this one belongs to: routed to its cluster, counted among its children. */
  readonly parent?: { readonly kind: string; readonly id: string }
  /**
   * What a resource takes of its project's quotas, and which project it is (null: none). Pure functions of the
   * row, running operation included, so what is counted can't drift from what is there.
   */
  readonly quota?: {
    readonly project: (row: ResourceRow) => string | null
    readonly usage: (row: ResourceRow) => { readonly [resource: string]: number }
  }
}

/** The key in `children` under which a row counts the operations that use it. No kind is called so. */
export const USED = '(used)'

const NAME = /^[a-z][a-z0-9_-]{0,62}$/
const OPERATION_NAME = /^[a-z][a-z0-9_]{0,62}$/
/** Names that are events of every chart, or members of a kind's door. */
const RESERVED_OPERATIONS = [
  ...['claim', 'cancel', 'cleanup', 'progress', 'hold', 'release', 'renew', 'drop', 'child'],
  ...['get', 'list', 'watch', 'then', 'constructor', 'name', 'length', 'apply', 'call', 'bind'],
]
/** Rows that are no resources: the runtime's own. */
export const OWN_KINDS = ['service', 'beat', 'cluster', 'retired', 'request', 'quota', 'definition'] as const
const RESERVED_KINDS = [...OWN_KINDS, 'then', 'constructor']
const RESERVED_STATUSES = ['new', 'gone', 'previous', 'any', 'restore', 'requeue', 'attempts_used_up']

export function asList(value: string | readonly string[]): readonly string[] {
  return typeof value === 'string' ? [value] : value
}

/** The statuses a table derives: transitional ones by their operations, held ones, and all together. */
export interface Statuses {
  readonly rest: readonly string[]
  readonly transitional: readonly string[]
  readonly held: readonly string[]
  readonly all: readonly string[]
}

export function statusesOf(table: TableShape): Statuses {
  const transitional = [
    ...new Set(Object.values(table.operations).flatMap((o) => (o.via === undefined ? [] : [o.via]))),
  ]
  const held = Object.keys(table.held ?? {})
  return {
    rest: table.statuses,
    transitional,
    held,
    all: ['new', ...transitional, ...held, ...table.statuses, 'gone'],
  }
}

/** The statuses an operation starts from, `'any'` written out. */
export function startsOf(table: TableShape, operation: OperationShape): readonly string[] {
  if (operation.from !== 'any') return asList(operation.from)
  const { rest, transitional, held } = statusesOf(table)
  // Work at another topic can't be interrupted from here: it would leave something behind there.
  const away = Object.values(table.operations).flatMap((o) => (o.at === undefined ? [] : [o.via]))
  return [...rest, ...transitional.filter((status) => !away.includes(status)), ...held]
}

/** Throws a DefinitionError that names the operation and the offending value. */
export function checkTable(table: TableShape): void {
  const { kind } = table
  const fault = (message: string): never => {
    throw new DefinitionError(`resource '${kind}': ${message}`)
  }
  if (typeof kind !== 'string' || !NAME.test(kind))
    fault(`the kind must match ${NAME} (lower-case letters, digits, '_' and '-')`)
  if ((RESERVED_KINDS as readonly string[]).includes(kind))
    fault(`the kind '${kind}' is reserved; choose another name`)
  const { rest, transitional, held, all } = statusesOf(table)
  for (const status of all.slice(1, -1)) {
    if (!NAME.test(status)) fault(`status '${status}' must match ${NAME}`)
    if (RESERVED_STATUSES.includes(status) || status in Object.prototype)
      fault(`status '${status}' is reserved; choose another name`)
  }
  for (const status of [...transitional, ...held])
    if (rest.includes(status)) fault(`status '${status}' is both a rest status and a transitional one`)
  for (const status of held)
    if (transitional.includes(status))
      fault(`status '${status}' is both 'held' and the 'via' of an operation`)
  if (new Set(rest).size !== rest.length) fault('a rest status is listed twice')

  const known = (where: string, status: string, among: readonly string[]) => {
    if (!among.includes(status)) fault(`${where}: unknown status '${status}'${nearest(status, among)}`)
  }
  const names = Object.keys(table.operations)
  if (!names.some((name) => table.operations[name]!.from === 'new'))
    fault("no operation starts from 'new', so nothing could ever be made")
  for (const name of names) checkOperation(table, name, fault, known)
  for (const [status, hold] of Object.entries(table.held ?? {})) {
    const where = `held status '${status}'`
    for (const from of asList(hold.from)) known(where, from, rest)
    known(where, hold.to, [...rest, 'previous', 'gone'])
    known(where, hold.failed, [...rest, 'previous'])
    known(where, hold.cleanup, [...rest, 'restore'])
  }
  checkReachable(table, fault)
  const wrong = migrationsFault(table)
  if (wrong !== null) fault(wrong)
}

type Fault = (message: string) => never
type Known = (where: string, status: string, among: readonly string[]) => void

function checkOperation(table: TableShape, name: string, fault: Fault, known: Known): void {
  const operation = table.operations[name]!
  const { rest, transitional, held } = statusesOf(table)
  const where = `operation '${name}'`
  if (!OPERATION_NAME.test(name)) fault(`${where}: the name must match ${OPERATION_NAME}`)
  if (RESERVED_OPERATIONS.includes(name)) fault(`${where}: the name is reserved; choose another`)
  const isNew = operation.from === 'new'
  if (operation.from === 'any' && !operation.force) fault(`${where}: from 'any' needs force: true`)
  for (const from of startsOf(table, operation)) {
    if (from === 'new' && !isNew) fault(`${where}: 'new' can't stand beside other statuses in 'from'`)
    known(`${where}, from`, from, ['new', ...rest, ...transitional, ...held])
    if (!operation.force && (transitional.includes(from) || held.includes(from)))
      fault(`${where}: it starts from '${from}', which is not at rest; that needs force: true`)
  }
  if (startsOf(table, operation).length === 0 && operation.follows === undefined)
    fault(`${where}: 'from' is empty, so nothing could ever begin it`)
  if (operation.choose !== undefined && (operation.via !== undefined || typeof operation.to === 'string'))
    fault(`${where}: 'choose' is for an instant operation with a list in 'to'`)
  if (operation.to === undefined) fault(`${where}: it can't end: 'to' is missing`)
  const ends = asList(operation.to)
  if (ends.length === 0) fault(`${where}: it can't end: 'to' is an empty list`)
  for (const end of ends) known(`${where}, to`, end, [...rest, 'previous', 'gone'])
  if (isNew && ends.includes('previous')) fault(`${where}: a new resource has no previous status to end in`)

  if (operation.via === undefined) {
    if (isNew) fault(`${where}: an operation from 'new' needs 'via': a driver makes the resource`)
    if (operation.failed !== undefined || operation.cleanup !== undefined)
      fault(`${where}: without 'via' it is instant, so 'failed' and 'cleanup' have no meaning`)
    for (const word of ['holds', 'uses', 'ends', 'at', 'moves', 'follows'] as const)
      if (operation[word] !== undefined) fault(`${where}: an instant operation can't have '${word}'`)
  } else {
    if (ends.length > 1) fault(`${where}: only an instant operation may have a list in 'to'`)
    for (const [code, end] of Object.entries(operation.ends ?? {}))
      known(`${where}, ends of '${code}'`, end, isNew ? rest : [...rest, 'previous'])
    if (operation.moves && operation.at === undefined)
      fault(`${where}: 'moves' needs 'at': say where it moves to`)
    if (isNew && operation.at !== undefined) fault(`${where}: an operation from 'new' can't have 'at'`)
    const follows = operation.follows
    if (follows !== undefined) {
      if (table.operations[follows]?.via === undefined)
        fault(`${where}: it follows '${follows}', which is no operation with 'via'`)
      if (operation.holds !== undefined || operation.uses !== undefined)
        fault(`${where}: an operation that follows another can't hold or use other resources`)
    }
    if (operation.failed === undefined)
      fault(`${where}: 'failed' is missing: say where it ends when the driver fails`)
    if (operation.cleanup === undefined)
      fault(`${where}: 'cleanup' is missing: say what becomes of it when its node goes down`)
    known(`${where}, failed`, operation.failed!, isNew ? rest : [...rest, 'previous'])
    known(`${where}, cleanup`, operation.cleanup!, [...rest, 'restore', 'requeue', 'gone'])
    if (
      operation.force &&
      [...ends, operation.failed, operation.cleanup].some((e) => e === 'previous' || e === 'restore')
    )
      fault(`${where}: a force operation may interrupt a create, so it can't end in the previous status`)
    if (isNew && operation.cleanup === 'restore')
      fault(`${where}: cleanup 'restore' needs a previous status, and a new resource has none; use 'gone'`)
    if (!isNew && operation.cleanup === 'gone' && !ends.includes('gone'))
      fault(`${where}: cleanup 'gone' is for an operation from 'new'`)
  }
  for (const guard of operation.guards ?? [])
    if (!Object.hasOwn(table.guards ?? {}, guard))
      fault(`${where}: unknown guard '${guard}'${nearest(guard, Object.keys(table.guards ?? {}))}`)
}

function endsOf(operation: OperationShape): readonly (string | undefined)[] {
  return [
    ...asList(operation.to),
    operation.failed,
    operation.cleanup,
    ...Object.values(operation.ends ?? {}),
  ]
}

/** No rest status may be a place that nothing leads to, or that nothing leads out of. */
function checkReachable(table: TableShape, fault: Fault): void {
  const { rest } = statusesOf(table)
  const reached = new Set<string>()
  const left = new Set<string>()
  for (const operation of Object.values(table.operations)) {
    const ends = endsOf(operation)
    for (const end of ends) if (end !== undefined) reached.add(end)
    for (const start of startsOf(table, operation)) left.add(start)
  }
  for (const hold of Object.values(table.held ?? {}))
    for (const end of [hold.to, hold.failed, hold.cleanup]) reached.add(end)
  for (const status of rest) {
    if (!reached.has(status)) fault(`status '${status}' is unreachable: no operation ends in it`)
    if (!left.has(status)) {
      const guilty = Object.entries(table.operations).find(([, o]) => endsOf(o).includes(status))
      fault(
        `${guilty ? `operation '${guilty[0]}'` : 'a hold'} may end in '${status}', which no operation leaves`,
      )
    }
  }
}
