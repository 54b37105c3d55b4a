// What operations are asked with in generated tests: inputs by kind and operation, checked up front as the
// runtime would check them. Ids of parents and of rows to hold are not written here: they are filled in from
// rows that are there. It asks nothing itself.

import { isCreate, type ResourceType } from '../../machines/definition.ts'
import type { JsonObject } from '../../machines/row.ts'
import { asList, type OperationShape } from '../../machines/table.ts'
import { checkInput } from '../../runtime/accept.ts'
import { RekindleError } from '../../runtime/error.ts'

/**
 * Inputs by kind and operation. Leave out the ids of the parent (`table.parent.id`) and of held rows
 * (`holds[kind].id`): they are filled in. An operation that is not listed is asked with `{}`, an instant one
 * whose input chooses its status once with each status. Give two inputs where a guard looks at the input,
 * one that it lets through and one that it refuses.
 *
 * @example
 * const inputs: Inputs = { dns_record: { create: [{ name: 'www.example.org', value: '192.0.2.1' }] } }
 */
export interface Inputs {
  readonly [kind: string]: { readonly [operation: string]: readonly JsonObject[] }
}

/** A field of an input that names another row, or a list of rows. */
export interface IdField {
  readonly field: string
  readonly kind: string
  readonly isList: boolean
}

/** One input: as it is asked, and as its schema completes it, both without the ids that are filled in. */
export interface CheckedInput {
  readonly given: JsonObject
  readonly completed: JsonObject
  readonly ids: readonly IdField[]
}

/** For every operation of every kind one input at least. */
export type CheckedInputs = ReadonlyMap<string, ReadonlyMap<string, readonly CheckedInput[]>>

/** For the built-in types: every guard of theirs says yes to one of these and no to another. */
export const builtInInputs: Inputs = {
  volume: {
    create: [{ name: 'data', size: 1 }],
    extend: [{ size: 2 }, { size: 1 }],
    migrate: [{ cluster: 'hdd@file' }, { cluster: 'ssd@file' }],
    attach: [{ host: 'guest1', device: '/dev/vdb' }],
    detach: [{}, { host: 'guest2' }],
    set_readonly: [{ readonly: true }, { readonly: false }],
    reset_status: [{ status: 'available' }, { status: 'in-use' }, { status: 'error' }],
  },
  snapshot: {
    create: [{ name: 'before' }],
    reset_status: [{ status: 'available' }, { status: 'error' }],
  },
  backup: {
    create: [{ name: 'nightly' }, { name: 'large', size: 8 }],
    reset_status: [{ status: 'available' }, { status: 'error' }],
  },
}

/** Stands for an id while an input is checked. */
const SOME_ID = 'id000001'

/**
 * Checks every input against its schema. Rejects with a RekindleError (`bad_input`) that names kind,
 * operation and field, `unknown_kind` or `unknown_operation` where the inputs name what no type has.
 */
export async function checkInputs(
  types: readonly ResourceType[],
  inputs: Inputs = {},
): Promise<CheckedInputs> {
  for (const [kind, operations] of Object.entries(inputs)) {
    const type = types.find((one) => one.kind === kind)
    if (type === undefined)
      throw new RekindleError('unknown_kind', `inputs.${kind}: no such kind is among the types given`)
    for (const name of Object.keys(operations))
      if (!Object.hasOwn(type.table.operations, name))
        throw new RekindleError('unknown_operation', `inputs.${kind}.${name}: ${kind} has no such operation`)
  }
  const checked = new Map<string, ReadonlyMap<string, readonly CheckedInput[]>>()
  for (const type of types) {
    const operations = new Map<string, readonly CheckedInput[]>()
    for (const [name, operation] of Object.entries(type.table.operations)) {
      const listed = inputs[type.kind]?.[name] ?? usual(operation)
      const ready = await Promise.all(listed.map((given) => checkOne(type, name, given)))
      operations.set(name, ready.flat())
    }
    checked.set(type.kind, operations)
  }
  return checked
}

function usual(operation: OperationShape): readonly JsonObject[] {
  const ends = asList(operation.to)
  return ends.length > 1 && operation.choose === undefined ? ends.map((status) => ({ status })) : [{}]
}

/** The input with every choice of ids that its schema takes: with the fewest first. */
async function checkOne(type: ResourceType, name: string, given: JsonObject): Promise<CheckedInput[]> {
  const operation = type.table.operations[name]!
  const fields = idFields(type, name)
  const plain = Object.fromEntries(Object.entries(given).filter(([field]) => !fields.has(field)))
  const ready: CheckedInput[] = []
  let refused: unknown
  for (const ids of choicesOf([...fields])) {
    const input = { given: plain, completed: plain, ids }
    try {
      const completed = await checkInput(
        type,
        name,
        operation,
        withIds(input, 'given', () => SOME_ID),
      )
      ready.push({ ...input, completed: without(completed, fields) })
    } catch (error) {
      if (!(error instanceof RekindleError)) throw error
      // What is told is what remains when all ids are there.
      if (!ids.some(({ isList }) => isList)) refused = error
    }
  }
  if (ready.length > 0) return ready
  const { code, message, issues } = refused as RekindleError
  const hint = `give inputs.${type.kind}.${name}; asked was ${JSON.stringify(given)}`
  throw new RekindleError(code, `${message} (${hint})`, { issues, cause: refused })
}

/** Every subset of the fields, each field with one id or with a list of one. */
function choicesOf(fields: readonly (readonly [string, string])[]): IdField[][] {
  const [first, ...others] = fields
  if (first === undefined) return [[]]
  const [field, kind] = first
  const rest = choicesOf(others)
  return [
    ...rest,
    ...rest.map((ids) => [{ field, kind, isList: true }, ...ids]),
    ...rest.map((ids) => [{ field, kind, isList: false }, ...ids]),
  ]
}

/** The fields of an operation's input that name other rows, with the kind of those. */
function idFields(type: ResourceType, name: string): ReadonlyMap<string, string> {
  const operation = type.table.operations[name]!
  const fields = new Map<string, string>()
  const { parent } = type.table
  if (parent !== undefined && isCreate(operation)) fields.set(parent.id, parent.kind)
  for (const taken of [operation.holds, operation.uses])
    for (const [kind, { id }] of Object.entries(taken ?? {})) fields.set(id, kind)
  return fields
}

/** The input with the ids of the rows that take part; `idOf` knows a row of each kind asked for. */
export function withIds(
  input: CheckedInput,
  form: 'given' | 'completed',
  idOf: (kind: string) => string,
): JsonObject {
  const ids = input.ids.map(({ field, kind, isList }) => [field, isList ? [idOf(kind)] : idOf(kind)])
  return { ...input[form], ...Object.fromEntries(ids) }
}

function without(input: JsonObject, fields: ReadonlyMap<string, string>): JsonObject {
  return Object.fromEntries(Object.entries(input).filter(([field]) => !fields.has(field)))
}
