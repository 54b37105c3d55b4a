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

/** One input: as it is asked, and as its schema completes it. Both without the ids that are filled in. */
export interface CheckedInput {
  readonly given: JsonObject
  readonly completed: JsonObject
}

/** For every operation of every kind one input at least. */
export type CheckedInputs = ReadonlyMap<string, ReadonlyMap<string, readonly CheckedInput[]>>

/** For the built-in types: every guard of theirs says yes to one of these and no to another. */
export const builtInInputs: Inputs = {
  volume: {
    create: [{ name: 'data', size: 1 }],
    extend: [{ size: 2 }, { size: 1 }],
    attach: [{ host: 'guest1', device: '/dev/vdb' }],
    reset_status: [{ status: 'available' }, { status: 'in-use' }, { status: 'error' }],
  },
  snapshot: { create: [{ name: 'before' }] },
  backup: { create: [{ name: 'nightly' }, { name: 'large', size: 8 }] },
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
      operations.set(name, await Promise.all(listed.map((given) => checkOne(type, name, given))))
    }
    checked.set(type.kind, operations)
  }
  return checked
}

function usual(operation: OperationShape): readonly JsonObject[] {
  const ends = asList(operation.to)
  return ends.length > 1 ? ends.map((status) => ({ status })) : [{}]
}

async function checkOne(type: ResourceType, name: string, given: JsonObject): Promise<CheckedInput> {
  const operation = type.table.operations[name]!
  const ids = idFields(type, name)
  const filled = { ...Object.fromEntries([...ids.values()].map((field) => [field, SOME_ID])), ...given }
  try {
    const completed = await checkInput(type, name, operation, filled)
    return { given: without(given, ids), completed: without(completed, ids) }
  } catch (error) {
    if (!(error instanceof RekindleError)) throw error
    const hint = `inputs.${type.kind}.${name} of the generated tests: ${JSON.stringify(given)}`
    throw new RekindleError(error.code, `${error.message} (${hint})`, { issues: error.issues, cause: error })
  }
}

/** The fields of an operation's input that name other rows: by the kind of row. */
export function idFields(type: ResourceType, name: string): ReadonlyMap<string, string> {
  const operation = type.table.operations[name]!
  const fields = new Map<string, string>()
  const { parent } = type.table
  if (parent !== undefined && isCreate(operation)) fields.set(parent.kind, parent.id)
  for (const [kind, { id }] of Object.entries(operation.holds ?? {})) fields.set(kind, id)
  return fields
}

/** The input with the ids of the rows that take part; `idOf` knows a row of each kind asked for. */
export function withIds(
  type: ResourceType,
  name: string,
  input: JsonObject,
  idOf: (kind: string) => string,
): JsonObject {
  const ids = [...idFields(type, name)].map(([kind, field]) => [field, idOf(kind)])
  return { ...input, ...Object.fromEntries(ids) }
}

function without(input: JsonObject, ids: ReadonlyMap<string, string>): JsonObject {
  const fields = new Set(ids.values())
  return Object.fromEntries(Object.entries(input).filter(([field]) => !fields.has(field)))
}
