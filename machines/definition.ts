// defineResource: one table becomes a resource type, that is a checked table, its chart and a stepper for
// it. The types of operations and inputs are kept, so that a caller's mistake does not compile.

import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { AnyStateMachine } from 'xstate'
import { DefinitionError, nearest } from './error.ts'
import { chartOf } from './resource.ts'
import { Stepper } from './step.ts'
import { type OperationShape, type Statuses, statusesOf, type TableShape } from './table.ts'

/** A resource type: give it to `createRuntime`, draw its chart, generate tests from it. */
export interface ResourceType<T extends TableShape = TableShape> {
  readonly kind: T['kind']
  readonly table: T
  /** A genuine XState machine: createTestModel, the graph exports and any XState tool take it. */
  readonly chart: AnyStateMachine
  readonly statuses: Statuses
  /** Steps the chart purely. */
  readonly stepper: Stepper
}

/**
 * Declares a resource type. Throws a DefinitionError (code `bad_definition`) that names the operation and
 * the offending value: an unknown or unreachable status, an operation that can't end, a cleanup to a
 * status that no operation leaves.
 *
 * @example
 * const note = defineResource({
 *   kind: 'note',
 *   data: z.object({ text: z.string() }),
 *   statuses: ['ready', 'error'],
 *   operations: {
 *     create: { from: 'new', via: 'creating', to: 'ready', failed: 'error', cleanup: 'error' },
 *     delete: { from: ['ready', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
 *   },
 * })
 */
export function defineResource<const T extends TableShape>(table: T): ResourceType<T> {
  const chart = chartOf(table)
  return withChart(table, chart)
}

/** The same type with another chart: the testing kit's way to switch a rule off. */
export function withChart<T extends TableShape>(table: T, chart: AnyStateMachine): ResourceType<T> {
  return { kind: table.kind, table, chart, statuses: statusesOf(table), stepper: new Stepper(chart) }
}

/** Checks what only shows when types stand together: parents, holds, doubled kinds. */
export function checkTypes(types: readonly ResourceType[]): ReadonlyMap<string, ResourceType> {
  const byKind = new Map<string, ResourceType>()
  for (const type of types) {
    if (byKind.has(type.kind)) throw new DefinitionError(`resource '${type.kind}' is given twice`)
    byKind.set(type.kind, type)
  }
  for (const { kind, table } of types) {
    const parent = table.parent?.kind
    if (parent !== undefined && !byKind.has(parent))
      throw new DefinitionError(
        `resource '${kind}': its parent '${parent}' is not among the resources given${nearest(parent, byKind.keys())}`,
      )
    for (const [name, operation] of Object.entries(table.operations))
      checkTaken(kind, name, operation, byKind)
  }
  return byKind
}

/**
 * A kind that is not given takes no part: an input that names one of its rows finds it absent. A name that is
 * almost that of a kind given is a mistake.
 */
function checkTaken(
  kind: string,
  name: string,
  operation: OperationShape,
  byKind: ReadonlyMap<string, ResourceType>,
): void {
  const typeFor = (where: string, taken: string): ResourceType | undefined => {
    const close = byKind.has(taken) ? '' : nearest(taken, byKind.keys())
    if (close !== '') throw new DefinitionError(`${where}, which is not among the resources given${close}`)
    return byKind.get(taken)
  }
  for (const [held, { as }] of Object.entries(operation.holds ?? {})) {
    const where = `resource '${kind}': operation '${name}' holds '${held}'`
    const type = typeFor(where, held)
    if (type !== undefined && type.table.held?.[as] === undefined)
      throw new DefinitionError(
        `${where} as '${as}', which its table does not list under 'held'${nearest(as, type.statuses.held)}`,
      )
  }
  for (const [used, { from }] of Object.entries(operation.uses ?? {})) {
    const where = `resource '${kind}': operation '${name}' uses '${used}'`
    const type = typeFor(where, used)
    for (const status of type === undefined ? [] : from)
      if (!type!.statuses.rest.includes(status))
        throw new DefinitionError(
          `${where} in '${status}', which is no rest status of it${nearest(status, type!.statuses.rest)}`,
        )
  }
}

/** The operations of a type that make it, from `new`. */
export function isCreate(operation: OperationShape): boolean {
  return operation.from === 'new'
}

/** Names of the operations in the shape's own types. */
export type OperationsOf<T extends TableShape> = T['operations']

export type CreateNames<T extends TableShape> = {
  [N in keyof T['operations']]: T['operations'][N]['from'] extends 'new' ? N : never
}[keyof T['operations']]

/** What a caller gives to an operation: its input schema's input; the data for a create without one. */
export type InputOf<T extends TableShape, N extends keyof T['operations']> = T['operations'][N] extends {
  readonly input: infer I extends StandardSchemaV1
}
  ? StandardSchemaV1.InferInput<I>
  : T['operations'][N]['from'] extends 'new'
    ? StandardSchemaV1.InferInput<T['data']>
    : undefined

export type DataOf<T extends TableShape> = StandardSchemaV1.InferOutput<T['data']>
