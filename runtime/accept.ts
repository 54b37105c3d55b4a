// Accepting an operation: check the input, find the topic, swap the row, answer. What the answer says is
// durable. Bad input throws; a refusal is a value that says what was expected and what was found.

import { createHash } from 'node:crypto'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { parentRef, type Refused, type Types, takenRefs } from '../machines/decision.ts'
import { isCreate, type ResourceType } from '../machines/definition.ts'
import { nearest } from '../machines/error.ts'
import {
  isGone,
  type JsonObject,
  type Ref,
  type RequestRow,
  type ResourceRow,
  sameRef,
} from '../machines/row.ts'
import type { OperationShape } from '../machines/table.ts'
import { type Key, keyOf, type Store, type StoredRow } from '../store/store.ts'
import { commit, type Runner, requestKey } from './commit.ts'
import type { Directory } from './directory.ts'
import type { Environment } from './environment.ts'
import { type Issue, RekindleError } from './error.ts'
import type { Forget, PlacementPolicy } from './placement.ts'

/** Nothing was changed, sent or promised. */
export interface Refusal {
  readonly ok: false
  readonly reason: 'refused'
  /** The resource that refused: the one asked, or one that would have taken part. */
  readonly resource: Ref
  readonly expected: readonly string[]
  readonly found: string
  /** The guard of the definition that said no, where the status was right. */
  readonly guard: string | null
  readonly message: string
}

export interface AcceptOptions {
  /** Makes the accept idempotent: the same id with the same body gives the same answer, for a day. */
  readonly request_id?: string
  /** `cluster@backend` for a new resource: there and nowhere else, no filter is asked. Else it is placed. */
  readonly cluster?: string
}

export interface AcceptPorts {
  readonly types: Types
  readonly store: Store
  readonly directory: Directory
  readonly placement: PlacementPolicy
  readonly environment: Environment
  readonly runner: Runner
}

/** A durable accept: names the operation by its resource and the version at which it stands there. */
export interface AcceptedRow {
  readonly ok: true
  readonly row: ResourceRow
  readonly version: number
  /** The request id was given before; nothing new was accepted. */
  readonly repeated: boolean
}

/** Where a new resource is made, with the room kept for the operation until its row is on disk. */
interface Room {
  readonly topic: string | null
  /** Nothing but the placement chose the topic. */
  readonly placed: boolean
  readonly forget: Forget
}

const ID = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/
/** JSON characters of an operation's input. */
const MOST_INPUT = 64 * 1024

export async function accept(
  ports: AcceptPorts,
  kind: string,
  id: string | null,
  name: string,
  input: unknown,
  options: AcceptOptions,
): Promise<AcceptedRow | Refusal> {
  const type = typeOf(ports.types, kind)
  const operation = operationOf(type, name)
  const creates = isCreate(operation)
  if (creates && id !== null)
    throw badInput(`${name} of ${kind}`, [
      { path: 'id', message: 'is generated for a new resource; give none' },
    ])
  if (!creates && id === null) throw badInput(`${name} of ${kind}`, [{ path: 'id', message: 'is missing' }])
  if (id !== null) checkId(kind, id)
  if (options.request_id !== undefined) checkRequestId(options.request_id)
  const checked = await checkInput(type, name, operation, input)
  const request =
    options.request_id === undefined
      ? undefined
      : { id: options.request_id, hash: digest([kind, id, name, checked, options.cluster ?? null]) }
  const earlier = request === undefined ? null : await repeated(ports.store, request)
  if (earlier !== null) return earlier
  const ref = { kind, id: id ?? ports.environment.id() }
  const filled = id === null ? checked : await fillChildren(ports, type, operation, id, checked)
  const key = keyOf(ref)
  const room = creates
    ? await topicFor(ports, type, name, checked, options, key)
    : await roomFor(ports, key, name, checked)
  const outcome = await commit(
    ports.types,
    ports.store,
    {
      ref,
      ...(room.topic === null ? {} : { create_in: room.topic }),
      ...(request === undefined ? {} : { request }),
      event: (row) => ({
        type: name,
        input: topicChecked(ports, operation, row, filled),
        request_id: options.request_id ?? null,
        at: ports.environment.now(),
        related: {},
        placed: room.placed,
      }),
    },
    ports.runner,
  ).catch((error: unknown) => {
    room.forget()
    throw error
  })
  if (outcome.ok) {
    const version = outcome.row.operation?.accepted_version ?? outcome.row.version
    return { ok: true, row: outcome.row, version, repeated: false }
  }
  room.forget()
  // Another call with this id may have been first, between our look and our swap: then its answer is ours.
  const first = request === undefined ? null : await repeated(ports.store, request)
  if (first !== null) return first
  const { refused } = outcome
  // Taken, and forgotten since.
  if (refused === 'request_taken') return accept(ports, kind, id, name, input, options)
  // Its parent was renamed away between our look and our swap: then it goes along.
  const parent = creates ? parentRef(ports.types, kind, checked) : null
  if (parent !== null && sameRef(parent, refused.resource) && refused.expected[0] === `cluster ${room.topic}`)
    return accept(ports, kind, id, name, input, options)
  if (refused.found === 'absent' && keyOf(refused.resource) === keyOf(ref) && !creates)
    throw unknownId(kind, ref.id)
  return refusal(name, ref, refused)
}

/** Says no in words: what was asked, what was expected, what was found. */
export function refusal(asked: string, ref: Ref, refused: Refused): Refusal {
  const { resource, expected, found, guard } = refused
  const who = `${resource.kind} ${resource.id}`
  const why =
    refused.why ??
    (guard !== null
      ? `its guard ${guard} says no in status ${found}`
      : expected.length > 0
        ? `${who} is ${found}; ${expected.join(', ')} expected`
        : `${who} is ${found}`)
  return {
    ok: false,
    reason: 'refused',
    resource,
    expected,
    found,
    guard,
    message: `${asked} of ${ref.kind} ${ref.id} is refused: ${why}`,
  }
}

export function typeOf(types: Types, kind: string): ResourceType {
  const type = types.get(kind)
  if (type === undefined)
    throw new RekindleError('unknown_kind', `unknown kind '${shown(kind)}'${nearest(kind, types.keys())}`)
  return type
}

function operationOf(type: ResourceType, name: string): OperationShape {
  const { operations } = type.table
  if (!Object.hasOwn(operations, name))
    throw new RekindleError(
      'unknown_operation',
      `${type.kind} has no operation '${shown(name)}'${nearest(name, Object.keys(operations))}`,
    )
  return operations[name]!
}

/** An id is a name, never a path: it may come from anywhere. */
export function checkId(kind: string, id: string): void {
  if (typeof id !== 'string' || !ID.test(id))
    throw new RekindleError(
      'bad_input',
      `'${shown(id)}' can't be the id of a ${kind}: letters, digits and _ . : - only, at most 128`,
      {
        issues: [{ path: 'id', message: 'is not an id' }],
      },
    )
}

export function unknownId(kind: string, id: string): RekindleError {
  return new RekindleError(
    'unknown_id',
    `there is no ${kind} with the id '${shown(id)}'; list them to see the ids`,
  )
}

function checkRequestId(id: string): void {
  if (typeof id !== 'string' || id.length < 1 || id.length > 200 || !/^[\x21-\x7e]+$/.test(id))
    throw new RekindleError(
      'bad_input',
      `'${shown(id)}' can't be a request id: 1 to 200 visible ASCII characters`,
      {
        issues: [{ path: 'request_id', message: 'is not a request id' }],
      },
    )
}

/** A value as it may stand in a message: bounded, without control characters. */
export function shown(value: unknown): string {
  const text = String(value).replace(/[^\x20-\x7e]/g, '?')
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

/** The input as its schema completes it; throws `bad_input` with the fields at fault. */
export async function checkInput(
  type: ResourceType,
  name: string,
  operation: OperationShape,
  input: unknown,
): Promise<JsonObject> {
  const schema = operation.input ?? (isCreate(operation) ? type.table.data : null)
  const where = `${name} of ${type.kind}`
  if (schema === null) {
    const given = input === undefined || input === null ? [] : Object.keys(Object(input))
    if (given.length > 0)
      throw badInput(
        where,
        given.map((path) => ({ path, message: 'is not expected: the operation takes no input' })),
      )
    return {}
  }
  const result = await (schema as StandardSchemaV1)['~standard'].validate(input ?? {})
  if (result.issues !== undefined) throw badInput(where, result.issues.map(issueOf))
  // What the schema let through must be JSON, and no larger than a row should carry.
  const text = JSON.stringify(result.value)
  if (typeof result.value !== 'object' || result.value === null || Array.isArray(result.value))
    throw badInput(where, [{ path: '', message: 'must be an object' }])
  if (text.length > MOST_INPUT)
    throw badInput(where, [
      { path: '', message: `is ${text.length} characters of JSON; at most ${MOST_INPUT} are taken` },
    ])
  return JSON.parse(text) as JsonObject
}

function badInput(where: string, issues: readonly Issue[]): RekindleError {
  const said = issues.slice(0, 10).map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
  return new RekindleError('bad_input', `bad input for ${where}: ${said.join('; ')}`, { issues })
}

function issueOf(issue: StandardSchemaV1.Issue): Issue {
  const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  return { path, message: issue.message }
}

/** The ids of all its children where the input asks for them (`all_if`), as they are now; a guard binds the count. */
async function fillChildren(
  { types, store }: AcceptPorts,
  type: ResourceType,
  operation: OperationShape,
  id: string,
  input: JsonObject,
): Promise<JsonObject> {
  const filled: { [field: string]: JsonObject[string] } = { ...input }
  for (const [kind, { id: field, all_if }] of Object.entries(operation.holds ?? {}))
    if (all_if !== undefined && input[all_if] === true && types.has(kind))
      filled[field] = await childrenOf(store, typeOf(types, kind), { kind: type.kind, id })
  return filled
}

async function childrenOf(store: Store, type: ResourceType, parent: Ref): Promise<string[]> {
  const ids: string[] = []
  let after: Key | null = null
  do {
    const page: { rows: readonly StoredRow[]; next: Key | null } = await store.list(
      { kind: type.kind },
      { after, limit: 1_000 },
    )
    for (const row of page.rows as unknown as ResourceRow[])
      if (!isGone(row) && row.data[type.table.parent?.id ?? ''] === parent.id) ids.push(row.id)
    after = page.next
  } while (after !== null)
  return ids
}

/** An operation that is driven at another topic names one that exists. */
function topicChecked(
  { directory }: AcceptPorts,
  operation: OperationShape,
  row: ResourceRow,
  input: JsonObject,
): JsonObject {
  if (operation.at === undefined) return input
  const topic = operation.at(row, input as never)
  const topics = directory.views().map((view) => view.topic)
  if (!topics.includes(topic)) throw unknownCluster(directory, topic, topics)
  return input
}

function unknownCluster(directory: Directory, topic: string, topics: readonly string[]): RekindleError {
  const renamed_to = directory.clusters.get(topic)?.renamed_to
  const hint = renamed_to === undefined ? nearest(topic, topics) : `: it was renamed to ${renamed_to}`
  return new RekindleError(
    'unknown_cluster',
    `there is no cluster '${shown(topic)}'${hint}; known: ${topics.join(', ') || 'none'}`,
  )
}

/** Where a new resource goes: to its parent, or to what takes part; else where it is asked to; else the best place. */
async function topicFor(
  ports: AcceptPorts,
  { kind }: ResourceType,
  name: string,
  input: JsonObject,
  options: AcceptOptions,
  key: Key,
): Promise<Room> {
  const { types, store, directory, placement } = ports
  const parent = parentRef(types, kind, input)
  for (const ref of [...(parent === null ? [] : [parent]), ...takenRefs(types, kind, name, input)]) {
    checkId(ref.kind, ref.id)
    const row = (await store.get(keyOf(ref))) as ResourceRow | undefined
    if (row === undefined) throw unknownId(ref.kind, ref.id)
    const topic = row.cluster
    if (parent !== null) return { topic, placed: false, forget: () => {} }
    const forget = placement.makeRoom(directory, key, topic, placement.wanted(kind, name, input))
    return { topic, placed: false, forget }
  }
  const wanted = placement.wanted(kind, name, input)
  if (options.cluster === undefined) return { ...placement.choose(directory, key, wanted), placed: true }
  const topics = directory.views().map(({ topic }) => topic)
  if (!topics.includes(options.cluster)) throw unknownCluster(directory, options.cluster, topics)
  return { topic: options.cluster, placed: false, forget: () => {} }
}

/** Room for what an operation adds to what is there. An operation without input adds nothing. */
async function roomFor(
  { store, directory, placement }: AcceptPorts,
  key: Key,
  name: string,
  input: JsonObject,
): Promise<Room> {
  const row =
    Object.keys(input).length === 0 ? undefined : ((await store.get(key)) as ResourceRow | undefined)
  return {
    topic: null,
    placed: false,
    forget: row === undefined ? () => {} : placement.makeRoomFor(directory, row, name, input),
  }
}

async function repeated(store: Store, asked: { id: string; hash: string }): Promise<AcceptedRow | null> {
  const request = (await store.get(requestKey(asked.id))) as RequestRow | undefined
  if (request === undefined) return null
  if (request.hash !== asked.hash)
    throw new RekindleError(
      'request_reused',
      `the request id '${asked.id}' was used for another request; use a new one`,
    )
  const row = (await store.get(keyOf(request.resource))) as ResourceRow | undefined
  if (row === undefined) throw unknownId(request.resource.kind, request.resource.id)
  return { ok: true, row, version: request.accepted_version, repeated: true }
}

function digest(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex')
}

/** JSON with the keys of objects in order, so that the same body has the same text. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const fields = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical((value as JsonObject)[name])}`)
  return `{${fields.join(',')}}`
}
