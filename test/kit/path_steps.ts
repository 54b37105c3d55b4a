// What may happen next to a resource, step by step: every operation with every input, claims by several
// nodes, ends, cleanups, holds, children. A step names what is done; the event that it comes to is made for
// the row at hand, so that fences and incarnations are always relative to it. Pure: `decide` says what a step
// comes to, and nothing here does.

import { type Decision, decide, type Rows, relatedRefs, type Types } from '../../machines/decision.ts'
import { isCreate, type ResourceType } from '../../machines/definition.ts'
import { type Claimant, emptyRow, type ResourceEvent, statePathOf } from '../../machines/resource.ts'
import type { JsonObject, Operation, Ref, ResourceRow, RowError, ServiceRow } from '../../machines/row.ts'
import { asList, startsOf, USED } from '../../machines/table.ts'
import { type CheckedInput, type CheckedInputs, withIds } from './inputs.ts'

/** One step of a path: what is done, in words that the live runtime and the charts are both told in. */
export type PathStep =
  | {
      readonly do: 'ask'
      readonly operation: string
      readonly input: CheckedInput
      /** The statuses of the rows that take part, by kind. */
      readonly partners: { readonly [kind: string]: string }
    }
  | { readonly do: 'cancel' }
  | { readonly do: 'claim'; readonly by: string }
  /** The driver's call ends, or the cleanup that a node has claimed. */
  | { readonly do: 'end'; readonly of: string; readonly outcome: 'done' | 'failed'; readonly code: string }
  | { readonly do: 'progress' }
  /** The node that has the claim goes down. */
  | { readonly do: 'cleanup' }
  | { readonly do: 'hold'; readonly as: string; readonly kind: string; readonly operation: string }
  | {
      readonly do: 'release'
      readonly ending: 'done' | 'failed' | 'cleanup' | 'cancelled'
      readonly kind: string
    }
  | { readonly do: 'renew'; readonly kind: string }
  /** Another resource begins or ceases to count on this one: a child, or an operation that reads it. */
  | {
      readonly do: 'count'
      readonly by: 1 | -1
      readonly under: string
      readonly kind: string
      readonly operation: string
    }
  /** A force operation takes away what the running operation holds. */
  | { readonly do: 'drop'; readonly kind: string }

export interface StepContext {
  readonly types: Types
  readonly inputs: CheckedInputs
  /** The driver can fence, so a cleanup is a claimed step at the backend. */
  readonly at_backend: boolean
  /** Operations that are not asked, as `volume.migrate`: they need more than one cluster and one driver. */
  readonly left_out: ReadonlySet<string>
  /** Fields of inputs that name other rows, as `snapshot.volume_id`. */
  readonly ids: ReadonlySet<string>
}

export const CLUSTER = 'ssd'
export const BACKEND = 'file'
export const TOPIC = `${CLUSTER}@${BACKEND}`
export const HOSTS = ['h1', 'h2'] as const
export const LIMITS = { attempts: 2, cleanups: 2 } as const
/** The fence of a holder when it takes hold. */
const HOLDER_FENCE = 1

/** What a step says of itself: `extend {"size":2}`, `claim by h2`, `cleanup`. */
export function stepText(step: PathStep): string {
  switch (step.do) {
    case 'ask': {
      const given = JSON.stringify(step.input.given)
      const partners = Object.entries(step.partners).map(([kind, status]) => `${kind} ${status}`)
      return [
        step.operation,
        given === '{}' ? '' : given,
        partners.length > 0 ? `(${partners.join(', ')})` : '',
      ]
        .filter(Boolean)
        .join(' ')
    }
    case 'claim':
      return `claim by ${step.by}`
    case 'end':
      return `${step.of}.${step.outcome}${step.code === DRIVER_FAILED ? '' : ` with ${step.code}`}`
    case 'hold':
      return `hold as ${step.as} by ${step.operation} of ${step.kind}`
    case 'release':
      return `release.${step.ending} by ${step.kind}`
    case 'renew':
      return `renew by ${step.kind}`
    case 'count':
      return `child.${step.by === 1 ? 'added' : 'removed'} by ${step.operation} of ${step.kind}`
    case 'drop':
      return `drop by ${step.kind}`
    default:
      return step.do
  }
}

const DRIVER_FAILED = 'driver_failed'

/** Every step that could be tried in this row's state, whether the chart takes it or not. */
export function stepsFrom(context: StepContext, row: ResourceRow): PathStep[] {
  const type = context.types.get(row.kind)!
  const path = statePathOf(row)
  const steps: PathStep[] = asks(context, type, row)
  // Asked twice it only changes the time of asking.
  if (row.version > 0 && row.operation?.cancel_requested_at == null) steps.push({ do: 'cancel' })
  if (path.endsWith('.queued') || path.endsWith('.cleanup_queued'))
    steps.push({ do: 'claim', by: row.host === HOSTS[0] ? HOSTS[1] : HOSTS[0] })
  if (path.endsWith('.working')) {
    const of = row.operation!.name
    const { ends } = type.table.operations[of]!
    // What was cancelled before it was claimed is never driven: the claim ends it as cancelled.
    if (isCancelledBefore(row)) steps.push({ do: 'end', of, outcome: 'failed', code: 'cancelled' })
    else {
      steps.push({ do: 'end', of, outcome: 'done', code: DRIVER_FAILED })
      // An aborted call's progress is not heard.
      if (row.operation!.cancel_requested_at === null) steps.push({ do: 'progress' })
      for (const code of [DRIVER_FAILED, ...Object.keys(ends ?? {})])
        steps.push({ do: 'end', of, outcome: 'failed', code })
    }
    steps.push({ do: 'cleanup' })
  }
  if (path.endsWith('.cleaning'))
    for (const outcome of ['done', 'failed'] as const)
      steps.push({ do: 'end', of: 'cleanup', outcome, code: DRIVER_FAILED })
  if (path.endsWith('.cleaning')) steps.push({ do: 'cleanup' })
  steps.push(...holds(context, row), ...counts(context, row))
  if (row.operation !== null)
    for (const [kind, { id }] of Object.entries(type.table.operations[row.operation.name]!.holds ?? {}))
      if (row.operation.input[id] !== undefined && forceOf(context, kind) !== undefined)
        steps.push({ do: 'drop', kind })
  return steps
}

/** Its operation was cancelled before the claim that it now has. */
export function isCancelledBefore({ operation, incarnation }: ResourceRow): boolean {
  if (incarnation === null || operation?.cancel_requested_at == null) return false
  return operation.cleanup === null && operation.cancel_requested_at < operation.history.at(-1)!.at
}

/** A force operation of a kind that another resource's operation holds. */
export function forceOf({ types }: StepContext, kind: string): string | undefined {
  const { operations } = types.get(kind)!.table
  return Object.keys(operations).find((name) => operations[name]!.force)
}

/** Every operation with every input; of the statuses that partners may be in one for each answer. */
function asks(context: StepContext, type: ResourceType, row: ResourceRow): PathStep[] {
  const steps: PathStep[] = []
  for (const [operation, shape] of Object.entries(type.table.operations)) {
    if (isCreate(shape) !== (row.version === 0)) continue
    // It is begun by the one before, never asked for.
    if (shape.follows !== undefined && startsOf(type.table, shape).length === 0) continue
    if (context.left_out.has(`${type.kind}.${operation}`)) continue
    for (const input of context.inputs.get(type.kind)?.get(operation) ?? []) {
      const answers = new Set<string>()
      for (const partners of partnersOf(context, input)) {
        const step: PathStep = { do: 'ask', operation, input, partners }
        const decision = decideStep(context, row, step)
        const answer = decision.accepted ? 'yes' : `no ${decision.guard ?? decision.resource.kind}`
        if (answers.has(answer)) continue
        answers.add(answer)
        steps.push(step)
      }
    }
  }
  return steps
}

function partnersOf({ types }: StepContext, input: CheckedInput): { readonly [kind: string]: string }[] {
  let all: { readonly [kind: string]: string }[] = [{}]
  for (const { kind } of input.ids)
    all = all.flatMap((partners) =>
      types.get(kind)!.statuses.rest.map((status) => ({ ...partners, [kind]: status })),
    )
  return all
}

/** Operations of other types that may take hold of this row, and what becomes of a hold. */
function holds(context: StepContext, row: ResourceRow): PathStep[] {
  const steps: PathStep[] = []
  for (const { kind, operation, shape } of operationsOver(context, row.kind)) {
    const as = shape.holds?.[row.kind]?.as
    if (as === undefined) continue
    if (row.held_by === null) {
      if (row.operation === null && row.version > 0) steps.push({ do: 'hold', as, kind, operation })
      continue
    }
    if (row.status !== as || row.held_by.kind !== kind) continue
    const renewed = row.held_by.fence > HOLDER_FENCE
    const again = shape.cleanup === 'requeue' || context.at_backend
    if (!renewed) steps.push({ do: 'release', ending: 'cancelled', kind })
    if (!renewed || shape.cleanup === 'requeue')
      for (const ending of ['done', 'failed'] as const) steps.push({ do: 'release', ending, kind })
    if (!renewed && again) steps.push({ do: 'renew', kind })
    if (renewed ? shape.cleanup !== 'requeue' : !again) steps.push({ do: 'release', ending: 'cleanup', kind })
  }
  return steps
}

function counts(context: StepContext, row: ResourceRow): PathStep[] {
  if (row.version === 0 || row.status === 'gone') return []
  return operationsOver(context, row.kind).flatMap(({ kind, operation, shape, type, inputs }): PathStep[] => {
    const isChild = isCreate(shape) && type.table.parent?.kind === row.kind
    const uses = shape.uses?.[row.kind]
    if (!isChild && uses === undefined) return []
    // Whoever holds it does not count on it as well, and whatever is made must be made from nothing.
    if (shape.holds?.[row.kind] !== undefined || !isCreate(shape)) return []
    const under = isChild ? kind : USED
    const step = { do: 'count', under, kind, operation } as const
    if (row.children[under] !== undefined) return [{ ...step, by: -1 }]
    const takes = inputs.some((input) => {
      const made = emptyRow(kind, `${kind}1`, row.cluster)
      const ids = withIds(input, 'completed', (of) => (of === row.kind ? row.id : `${of}1`))
      const event = { type: operation, input: ids, request_id: null, at: 0, related: {} } as ResourceEvent
      const known = relatedRows(context, made, event, {}, new Map([[keyOf(row), row]]))
      return decide(context.types, made, known, event).accepted
    })
    return takes ? [{ ...step, by: 1 }] : []
  })
}

/** The operations that may be asked with the id of a row of this kind, and the first such input. */
export function operationsOver({ types, inputs, left_out }: StepContext, kind: string) {
  return [...types.values()].flatMap((type) =>
    Object.entries(type.table.operations).flatMap(([operation, shape]) => {
      const naming = (inputs.get(type.kind)?.get(operation) ?? []).filter(({ ids }) =>
        ids.some((id) => id.kind === kind),
      )
      const isAsked = naming.length > 0 && !left_out.has(`${type.kind}.${operation}`)
      return !isAsked ? [] : [{ type, kind: type.kind, operation, shape, inputs: naming }]
    }),
  )
}

// ---- events ----

export function serviceOf(host: string, incarnation: number): ServiceRow {
  return {
    kind: 'service',
    id: `${TOPIC}@${host}`,
    version: 1,
    cluster: CLUSTER,
    backend: BACKEND,
    host,
    incarnation,
    state: 'up',
    cleaned_incarnation: 0,
    cleans_at_backend: false,
    disabled: false,
    disabled_reason: null,
  }
}

export function claimantOf(host: string, incarnation: number): Claimant {
  return { worker: `${host}@${BACKEND}`, host, incarnation, service: serviceOf(host, incarnation) }
}

/** What is not the step's to say: of a live run what was found, of a search made up. */
export interface Circumstances {
  readonly at: number
  /** The life that claims. */
  readonly incarnation: number
  /** The resource whose operation takes hold. */
  readonly holder: Ref & { readonly fence: number }
  readonly idOf: (kind: string) => string
  /** What an operation that held it says of its end. */
  readonly error?: RowError | null
}

function madeUp(row: ResourceRow, step: PathStep): Circumstances {
  const id = row.held_by?.id ?? 'holder1'
  const fence = row.held_by === null ? HOLDER_FENCE : row.held_by.fence + (step.do === 'renew' ? 1 : 0)
  const { operation, updated_at } = row
  const last = [
    updated_at,
    operation?.accepted_at,
    operation?.cancel_requested_at,
    operation?.history.at(-1)?.at,
  ]
  const latest = Math.max(...last.map((at) => at ?? 0))
  return {
    at: Math.max(latest + 1, operation?.cleanup?.not_before ?? 0),
    incarnation: 1,
    holder: { kind: 'kind' in step ? step.kind : '', id, fence },
    idOf: (kind) => `${kind}1`,
  }
}

/** The event that a step comes to for this row. */
export function eventOf(
  { at_backend }: StepContext,
  row: ResourceRow,
  step: PathStep,
  circumstances: Circumstances = madeUp(row, step),
): ResourceEvent {
  const { at, incarnation, holder, idOf } = circumstances
  const owner = () => ({
    claimant: claimantOf(row.host!, row.incarnation!),
    fence: row.fence,
    at,
  })
  switch (step.do) {
    case 'ask': {
      const input = withIds(step.input, 'completed', idOf)
      return { type: step.operation, input, request_id: null, at, related: {} }
    }
    case 'cancel':
      return { type: 'cancel', at }
    case 'claim':
      return { type: 'claim', claimant: claimantOf(step.by, incarnation), at }
    case 'progress':
      return { type: 'progress', fraction: 0.5, note: 'half', ...owner() }
    case 'end': {
      if (step.outcome === 'done')
        return { type: `${step.of}.done`, changes: {}, ...owner() } as unknown as ResourceEvent
      const error = { code: step.code, message: 'it failed' }
      const failed = { type: `${step.of}.failed`, error, not_before: at + 100, limits: LIMITS, ...owner() }
      return failed as unknown as ResourceEvent
    }
    case 'cleanup': {
      const life = { worker: row.worker!, incarnation: row.incarnation! }
      return { type: 'cleanup', ...life, at_backend, reason: 'its node went down', limits: LIMITS, at }
    }
    case 'hold':
      return { type: 'hold', as: step.as, holder, at } as ResourceEvent
    case 'release':
      return {
        type: `release.${step.ending}`,
        holder,
        error: circumstances.error ?? null,
        at,
      } as ResourceEvent
    case 'renew':
      return { type: 'renew', holder, at } as ResourceEvent
    case 'count':
      return { type: step.by === 1 ? 'child.added' : 'child.removed', kind: step.under, at }
    case 'drop':
      return { type: 'drop', by: { kind: step.kind, id: idOf(step.kind) }, at }
  }
}

/** What the shipped charts make of the step, the other rows made up to fit. */
export function decideStep(context: StepContext, row: ResourceRow, step: PathStep): Decision {
  const event = eventOf(context, row, step)
  const partners = step.do === 'ask' ? step.partners : {}
  return decide(context.types, row, relatedRows(context, row, event, partners, new Map()), event)
}

// ---- the other rows ----

const keyOf = (ref: Ref) => `${ref.kind}/${ref.id}`

/** Every row that a decision needs, made up so that it fits this row: held by it, its parent, its holder. */
export function relatedRows(
  context: StepContext,
  row: ResourceRow,
  event: ResourceEvent,
  partners: { readonly [kind: string]: string },
  known: Rows,
): Rows {
  const rows = new Map(known)
  for (;;) {
    const missing = relatedRefs(context.types, row, event, rows).filter((ref) => !rows.has(keyOf(ref)))
    if (missing.length === 0) return rows
    for (const ref of missing) rows.set(keyOf(ref), madeUpRow(context, row, ref, partners))
  }
}

function madeUpRow(
  context: StepContext,
  row: ResourceRow,
  ref: Ref,
  partners: { readonly [kind: string]: string },
): ResourceRow {
  const type = context.types.get(ref.kind)!
  const data = dataOf(context, type)
  const blank = { ...emptyRow(ref.kind, ref.id, row.cluster), version: 5, fence: 1, data }
  if (row.held_by?.kind === ref.kind && row.held_by.id === ref.id) return holderRow(context, blank, row)
  const own = context.types.get(row.kind)!.table
  const running = row.operation === null ? undefined : own.operations[row.operation.name]
  const held = running?.holds?.[ref.kind]
  if (held !== undefined) {
    const previous_status = asList(type.table.held![held.as]!.from)[0]!
    const held_by = { kind: row.kind, id: row.id, fence: row.fence }
    return { ...blank, status: held.as, previous_status, held_by }
  }
  const isParent = row.version > 0 && own.parent?.kind === ref.kind
  const children = {
    ...(isParent ? { [row.kind]: 1 } : {}),
    ...(running?.uses?.[ref.kind] ? { [USED]: 1 } : {}),
  }
  return { ...blank, status: partners[ref.kind] ?? type.statuses.rest[0]!, children }
}

/** The resource whose operation holds `row`, with that operation queued. */
function holderRow(context: StepContext, blank: ResourceRow, row: ResourceRow): ResourceRow {
  const { kind } = blank
  const type = context.types.get(kind)!
  const [name, shape] = Object.entries(type.table.operations).find(
    ([, operation]) => operation.holds?.[row.kind]?.as === row.status,
  )!
  const asked = context.inputs.get(kind)!.get(name)!
  const naming = asked.find(({ ids }) => ids.some((id) => id.kind === row.kind)) ?? asked[0]!
  const input = withIds(naming, 'completed', (of) => (of === row.kind ? row.id : `${of}1`))
  const operation: Operation = {
    ...{ name, input, request_id: null, accepted_at: 0, accepted_version: 5 },
    ...{ progress: null, cancel_requested_at: null, history: [], cleanup: null },
  }
  const previous_status = isCreate(shape) ? null : asList(shape.from)[0]!
  return { ...blank, status: shape.via!, previous_status, worker: row.cluster, operation }
}

/** The data of a resource made with the first input of its create. */
function dataOf({ inputs }: StepContext, type: ResourceType): JsonObject {
  const create = Object.keys(type.table.operations).find((name) => isCreate(type.table.operations[name]!))!
  return withIds(inputs.get(type.kind)!.get(create)![0]!, 'completed', (kind) => `${kind}1`)
}

/** All that tells one state of a resource from another in what may happen next; counters are left out. */
export function stateKey(context: StepContext, row: ResourceRow): string {
  const { operation, held_by, children } = row
  const { parent } = context.types.get(row.kind)!.table
  return JSON.stringify([
    statePathOf(row),
    row.previous_status,
    // Which row an id names makes no difference; whether it belongs to one does.
    Object.entries(row.data).filter(([field]) => !context.ids.has(`${row.kind}.${field}`)),
    parent === undefined ? null : row.data[parent.id] !== undefined,
    Object.keys(children).sort(),
    held_by === null ? null : [held_by.kind, held_by.fence > HOLDER_FENCE],
    operation === null
      ? null
      : [
          operation.name,
          Object.entries(operation.input).map(([field, value]) =>
            context.ids.has(`${row.kind}.${field}`) ? field : [field, value],
          ),
          row.attempts,
          operation.cancel_requested_at !== null && (isCancelledBefore(row) ? 'before' : 'while'),
          operation.cleanup === null ? null : [operation.cleanup.policy, operation.cleanup.failures],
        ],
  ])
}
