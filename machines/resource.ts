// The chart of a resource, made from its table. Whose life: one resource, from `new` to `gone`. Who sends
// events: callers (an operation by its name, `cancel`), nodes (`claim`, `<operation>.done`, `.failed`,
// `cleanup.done`), cleaners (`cleanup`), and other resources' operations (`hold`, `release.*`, `child.*`).
// A rest status has no worker. A transitional status is `queued` (worker = cluster@backend) or `working`
// (worker = host@backend); once its worker went down and the backend must be touched, it is
// `cleanup_queued`, then `cleaning`. The context is the row; effects are commands, run after it is durable.

import { type AnyStateMachine, and, assign, setup } from 'xstate'
import { DefinitionError } from './error.ts'
import type { JsonObject, Operation, Ref, ResourceRow, RowError, ServiceRow } from './row.ts'
import { sameRef } from './row.ts'
import {
  asList,
  checkTable,
  type HeldShape,
  type OperationShape,
  startsOf,
  statusesOf,
  type TableShape,
} from './table.ts'

/** The life of a node that claims or finishes, and its service row as of this transaction (rule R5). */
export interface Claimant {
  /** `host@backend`. */
  readonly worker: string
  readonly host: string
  readonly incarnation: number
  readonly service: ServiceRow | null
}

/** How often an operation is claimed, and its cleanup tried, before it ends in its failed status. */
export interface Limits {
  readonly attempts: number
  readonly cleanups: number
}

/** An accept. Its type is the operation's name. */
export interface AcceptEvent {
  readonly type: string
  readonly input: JsonObject
  readonly request_id: string | null
  readonly at: number
  readonly related: { readonly [kind: string]: ResourceRow }
}

type Owned = { readonly claimant: Claimant; readonly fence: number; readonly at: number }

export type ResourceEvent =
  | AcceptEvent
  | { readonly type: 'claim'; readonly claimant: Claimant; readonly at: number }
  | ({ readonly type: 'progress'; readonly fraction: number; readonly note: string } & Owned)
  /** `<operation>.done`, `cleanup.done`: the driver's changes to the data. */
  | ({ readonly type: `${string}.done`; readonly changes: JsonObject } & Owned)
  /** `<operation>.failed`, `cleanup.failed`. */
  | ({
      readonly type: `${string}.failed`
      readonly error: Omit<RowError, 'at'>
      readonly not_before: number
      readonly limits: Limits
    } & Owned)
  | { readonly type: 'cancel'; readonly at: number }
  | {
      readonly type: 'cleanup'
      /** `host@backend` and the last of its incarnations that is over (rules R2, R17). */
      readonly worker: string
      readonly incarnation: number
      /** The driver can fence or undo, so the cleanup is a claimed step (rule R8). */
      readonly at_backend: boolean
      readonly reason: string
      readonly limits: Limits
      readonly at: number
    }
  | {
      readonly type: 'hold'
      readonly as: string
      readonly holder: Ref & { readonly fence: number }
      readonly at: number
    }
  | {
      readonly type: `release.${Ending}`
      readonly holder: Ref
      readonly error: RowError | null
      readonly at: number
    }
  | { readonly type: 'renew'; readonly holder: Ref & { readonly fence: number }; readonly at: number }
  | { readonly type: 'drop'; readonly by: Ref; readonly at: number }
  | { readonly type: 'child.added' | 'child.removed'; readonly kind: string; readonly at: number }

/** How an operation ended, as told to the rows it held. */
export type Ending = 'done' | 'failed' | 'cleanup' | 'cancelled'

type Args = { context: ResourceRow; event: never }

/** Transitional sub-states: who has the row. */
export const QUEUED = 'queued'
export const WORKING = 'working'
export const CLEANUP_QUEUED = 'cleanup_queued'
export const CLEANING = 'cleaning'

/** The policy of a cleanup, and the code of its error, once no try is left (rule R15). No status is called so. */
const USED_UP = 'attempts_used_up'

/** How an operation ended that a force operation interrupted (rule R13). */
export const FORCED = 'a force operation took its place'

/** The protocol's guards, by name. The testing kit replaces single ones to switch a rule off. */
const protocolGuards = {
  /** Rule R5: a claim or finish compares the service row. */
  isServiceUp: ({ event }: Args) => {
    const { service, incarnation } = (event as { claimant: Claimant }).claimant
    return service !== null && service.state === 'up' && service.incarnation === incarnation
  },
  /** A node consumes the topic of its cluster and no other. */
  isOfTopic: ({ context, event }: Args) => {
    const { service } = (event as { claimant: Claimant }).claimant
    return service !== null && `${service.cluster}@${service.backend}` === context.cluster
  },
  /** Rules R1, R2: worker, incarnation and fence are those of this claim. */
  isClaimHolder: ({ context, event }: Args) => {
    const { claimant, fence } = event as Owned
    return (
      context.worker === claimant.worker &&
      context.incarnation === claimant.incarnation &&
      context.fence === fence
    )
  },
  /** Rules R2, R17: a cleaner takes claims of lives that are over, never a later one. */
  isClaimOver: ({ context, event }: Args) => {
    const { worker, incarnation } = event as { worker: string; incarnation: number }
    return context.worker === worker && context.incarnation !== null && context.incarnation <= incarnation
  },
  isOperation: ({ context }: Args, params: { name: string }) => context.operation?.name === params.name,
  wasStatus: ({ context }: Args, params: { status: string }) => context.previous_status === params.status,
  /** No claim has begun anything of this operation at the backend. */
  isUntouched: ({ context }: Args) => context.attempts === 0,
  /** Rule R15, and a cancelled operation is not begun again. */
  hasNoTryLeft: ({ context, event }: Args) =>
    context.attempts >= (event as { limits: Limits }).limits.attempts ||
    context.operation?.cancel_requested_at != null,
  needsBackend: ({ event }: Args) => (event as { at_backend: boolean }).at_backend,
  hasPolicy: ({ context }: Args, params: { policy: string }) =>
    context.operation?.cleanup?.policy === params.policy,
  /** Rule R14: a cleanup that failed waits before it is tried again. */
  isDue: ({ context, event }: Args) =>
    (context.operation?.cleanup?.not_before ?? 0) <= (event as { at: number }).at,
  hasNoCleanupLeft: ({ context, event }: Args) =>
    (context.operation?.cleanup?.failures ?? 0) + 1 >= (event as { limits: Limits }).limits.cleanups,
  isHoldAs: ({ event }: Args, params: { as: string }) => (event as { as: string }).as === params.as,
  isHeldBy: ({ context, event }: Args) =>
    context.held_by !== null && sameRef(context.held_by, (event as { holder: Ref }).holder),
  choosesStatus: ({ event }: Args, params: { status: string }) =>
    (event as AcceptEvent).input.status === params.status,
}

/** At rest operation, worker, incarnation and held_by are null. */
const AT_REST = { operation: null, worker: null, incarnation: null, held_by: null, attempts: 0 } as const

const changeActions = {
  accept: assign(({ context, event }: Args, params: { operation: string; via: string; rest: boolean }) => {
    const { input, request_id, at } = event as AcceptEvent
    return {
      status: params.via,
      // The last rest status, never a transitional one (rule R13).
      previous_status: params.rest ? context.status : context.previous_status,
      worker: context.cluster,
      incarnation: null,
      held_by: null,
      attempts: 0,
      // A force operation raises the fence, so that the old worker's finish is refused (rule R13).
      fence: params.rest ? context.fence : context.fence + 1,
      error: null,
      operation: {
        name: params.operation,
        input,
        request_id,
        accepted_at: at,
        accepted_version: context.version + 1,
        progress: null,
        cancel_requested_at: null,
        history: [],
        cleanup: null,
      } satisfies Operation,
    }
  }),
  created: assign(({ event }: Args) => ({
    previous_status: null,
    data: (event as AcceptEvent).input,
    created_at: (event as AcceptEvent).at,
  })),
  takeClaim: assign(({ context, event }: Args) => {
    const { claimant, at } = event as { claimant: Claimant; at: number }
    const { worker, host, incarnation } = claimant
    const fence = context.fence + 1
    const operation = context.operation!
    return {
      worker,
      host,
      incarnation,
      fence,
      attempts: operation.cleanup === null ? context.attempts + 1 : context.attempts,
      operation: {
        ...operation,
        history: [...operation.history, { worker, incarnation, fence, at }].slice(-20),
      },
    }
  }),
  recordProgress: assign(({ context, event }: Args) => {
    const { fraction, note, at } = event as { fraction: number; note: string; at: number }
    return { operation: { ...context.operation!, progress: { fraction, note, at } } }
  }),
  requestCancel: assign(({ context, event }: Args) => ({
    operation: { ...context.operation!, cancel_requested_at: (event as { at: number }).at },
  })),
  /** The end of an operation that did what it was accepted for. */
  finish: assign(({ context, event }: Args, params: { status: string }) => ({
    ...AT_REST,
    status: params.status,
    error: null,
    data: { ...context.data, ...(event as { changes: JsonObject }).changes },
  })),
  fail: assign(({ context, event }: Args, params: { status: string }) => {
    const { error, at } = event as { error: Omit<RowError, 'at'>; at: number }
    const cancelled = context.operation?.cancel_requested_at != null
    return {
      ...AT_REST,
      status: params.status,
      error: cancelled ? { ...error, code: 'cancelled', at } : { ...error, at },
    }
  }),
  cancelQueued: assign(({ event }: Args, params: { status: string }) => ({
    ...AT_REST,
    status: params.status,
    error: {
      code: 'cancelled',
      message: 'cancelled before a node took it',
      at: (event as { at: number }).at,
    },
  })),
  /** The whole operation again, by any node (policy requeue). */
  requeue: assign(({ context }: Args) => ({
    worker: context.cluster,
    incarnation: null,
    fence: context.fence + 1,
  })),
  /** The cleanup must touch the backend: a node of the cluster claims it (rule R8). */
  queueCleanup: assign(({ context, event }: Args, params: { policy: string }) => {
    const { reason } = event as { reason: string }
    return {
      worker: context.cluster,
      incarnation: null,
      fence: context.fence + 1,
      operation: {
        ...context.operation!,
        cleanup: { policy: params.policy, reason, failures: 0, not_before: 0 },
      },
    }
  }),
  /** The end of a cleanup that needs nothing at the backend, or whose claimed step is done. */
  putRight: assign(({ context, event }: Args, params: { status: string; code: string }) => {
    const { at } = event as { at: number }
    const changes = (event as { changes?: JsonObject }).changes ?? {}
    const reason = context.operation?.cleanup?.reason ?? (event as { reason?: string }).reason ?? ''
    const raised = context.incarnation !== null && context.operation?.cleanup === null
    return {
      ...AT_REST,
      status: params.status,
      fence: raised ? context.fence + 1 : context.fence,
      data: { ...context.data, ...changes },
      error: { code: codeOf(params.code, context), message: storyOf(context, reason), at },
    }
  }),
  /** Rule R14: hand the row back to the mailbox; later tries wait. */
  putOffCleanup: assign(({ context, event }: Args) => {
    const { not_before, error } = event as { not_before: number; error: Omit<RowError, 'at'> }
    const cleanup = context.operation!.cleanup!
    return {
      worker: context.cluster,
      incarnation: null,
      operation: {
        ...context.operation!,
        cleanup: {
          ...cleanup,
          failures: cleanup.failures + 1,
          not_before,
          reason: `${cleanup.reason.split('; cleanup failed')[0]}; cleanup failed: ${error.message}`.slice(
            0,
            2000,
          ),
        },
      },
    }
  }),
  /** The node that was cleaning went down itself: count it, and let another one try. */
  requeueCleanup: assign(({ context }: Args) => {
    const cleanup = context.operation!.cleanup!
    return {
      worker: context.cluster,
      incarnation: null,
      fence: context.fence + 1,
      operation: { ...context.operation!, cleanup: { ...cleanup, failures: cleanup.failures + 1 } },
    }
  }),
  giveUpCleanup: assign(({ context, event }: Args, params: { status: string }) => {
    const { at, error } = event as { at: number; error?: Omit<RowError, 'at'> }
    const reason = context.operation?.cleanup?.reason ?? ''
    return {
      ...AT_REST,
      status: params.status,
      fence: context.fence + 1,
      error: {
        code: 'cleanup_failed',
        message: storyOf(context, error ? `${reason}; ${error.message}` : reason),
        at,
      },
    }
  }),
  changeNow: assign(({ context, event }: Args, params: { status: string; rest: boolean }) => ({
    ...AT_REST,
    status: params.status,
    previous_status: params.rest ? context.status : context.previous_status,
    fence: params.rest ? context.fence : context.fence + 1,
    // Whoever waits for the operation that it interrupts is not told of a success (rule R13).
    error:
      context.operation === null ? null : { code: 'forced', message: FORCED, at: (event as AcceptEvent).at },
  })),
  becomeHeld: assign(({ context, event }: Args, params: { status: string }) => ({
    status: params.status,
    previous_status: context.status,
    held_by: (event as { holder: Ref & { fence: number } }).holder,
    fence: context.fence + 1,
  })),
  /** The holder's operation begins again: an older claim of it may no longer write here (rule R8). */
  renewHold: assign(({ context, event }: Args) => ({
    held_by: (event as { holder: Ref & { fence: number } }).holder,
    fence: context.fence + 1,
  })),
  becomeReleased: assign(({ context, event }: Args, params: { status: string }) => ({
    status: params.status,
    held_by: null,
    fence: context.fence + 1,
    error: (event as { error: RowError | null }).error,
  })),
  failForced: assign(({ context, event }: Args, params: { status: string }) => {
    const { by, at } = event as { by: Ref; at: number }
    return {
      ...AT_REST,
      status: params.status,
      fence: context.fence + 1,
      error: { code: 'forced', message: `a force operation took ${by.kind} ${by.id} away from it`, at },
    }
  }),
  countChild: assign(({ context, event }: Args, params: { by: number }) => {
    const { kind } = event as { kind: string }
    const count = (context.children[kind] ?? 0) + params.by
    const { [kind]: _, ...others } = context.children
    return { children: count === 0 ? others : { ...others, [kind]: count } }
  }),
}

/** What the runtime is asked to do once the row is durable, and what this row asks of the others. */
const commands = {
  /** Ring the topic's mailbox. */
  ring: () => {},
  /** Run the driver for the claim just taken. */
  drive: () => {},
  /** Raise the mark, undo by policy, then say `cleanup.done`. */
  clean: () => {},
  /** Abort the driver of an older claim. */
  abort: () => {},
  /** In the same transaction: hold, renew or release the rows this operation holds. */
  holdRelated: () => {},
  renewRelated: () => {},
  releaseRelated: () => {},
  /** In the same transaction: the operation that holds this row fails. */
  dropHolder: () => {},
  /** In the same transaction: tell the parent. */
  addChild: () => {},
  removeChild: () => {},
}

function codeOf(code: string, row: ResourceRow): string {
  return row.operation?.cancel_requested_at != null ? 'cancelled' : code
}

/** What happened, for people: the reason, then every attempt (rule R15). */
function storyOf(row: ResourceRow, reason: string): string {
  const tries = (row.operation?.history ?? []).map(
    (a, i) => `${i + 1}. ${a.worker} life ${a.incarnation} fence ${a.fence}`,
  )
  return [reason, tries.length > 0 ? `attempts: ${tries.join(', ')}` : ''].filter(Boolean).join('; ')
}

interface Transition {
  readonly guard?: unknown
  readonly target?: string
  readonly actions?: unknown
  readonly description?: string
}
type On = Record<string, Transition[]>

/** Builds the chart of a checked table. The result is an ordinary XState machine. */
export function chartOf(table: TableShape): AnyStateMachine {
  checkTable(table)
  for (const name of Object.keys(table.guards ?? {}))
    if (Object.hasOwn(protocolGuards, name))
      throw new DefinitionError(
        `resource '${table.kind}': guard '${name}' is the protocol's own; choose another name`,
      )
  const { rest, transitional } = statusesOf(table)
  const builder = new ChartBuilder(table)
  const states: Record<string, unknown> = {
    new: { description: 'Not there yet.', on: builder.accepts('new') },
  }
  for (const status of transitional) states[status] = builder.transitional(status)
  for (const [status, hold] of Object.entries(table.held ?? {})) states[status] = builder.held(status, hold)
  for (const status of rest)
    states[status] = {
      description: `At rest: nobody works on it.`,
      tags: ['rest'],
      on: { ...builder.accepts(status), ...builder.holds(status) },
    }
  states.gone = {
    description: 'No longer there. Kept for an hour, so that a wait is answered.',
    tags: ['rest'],
    type: 'final',
  }

  const guards = Object.fromEntries(
    Object.entries(table.guards ?? {}).map(([name, guard]) => [
      name,
      ({ context, event }: Args) =>
        guard({ row: context, input: (event as AcceptEvent).input, related: (event as AcceptEvent).related }),
    ]),
  )
  const changes = Object.fromEntries(
    Object.entries(table.operations).flatMap(([name, operation]) =>
      operation.change === undefined
        ? []
        : [
            [
              `change_${name}`,
              assign(({ context, event }: Args) => ({
                data: operation.change!(context, (event as AcceptEvent).input as never),
              })),
            ],
          ],
    ),
  )
  return setup({
    types: {} as { context: ResourceRow; events: ResourceEvent; input: ResourceRow },
    guards: { ...protocolGuards, ...guards } as never,
    actions: { ...changeActions, ...changes, ...commands } as never,
  }).createMachine({
    id: table.kind,
    initial: 'new',
    context: ({ input }: { input: ResourceRow | undefined }) => input ?? emptyRow(table.kind, '', ''),
    on: {
      'child.added': {
        actions: { type: 'countChild', params: { by: 1 } },
        description: 'A resource that belongs to this one was accepted.',
      },
      'child.removed': {
        actions: { type: 'countChild', params: { by: -1 } },
        description: 'A resource that belongs to this one is gone.',
      },
    },
    states,
  } as never) as unknown as AnyStateMachine
}

/** The row of a resource that is not there yet. */
export function emptyRow(kind: string, id: string, cluster: string): ResourceRow {
  return {
    kind,
    id,
    version: 0,
    status: 'new',
    previous_status: null,
    worker: null,
    incarnation: null,
    operation: null,
    cluster,
    host: null,
    held_by: null,
    fence: 0,
    attempts: 0,
    children: {},
    data: {},
    error: null,
    created_at: 0,
    updated_at: 0,
  }
}

/**
 * The chart's state of a row. Here, and nowhere else, queued is told from taken: by the incarnation, since
 * `cluster@backend` and `host@backend` may be the same text (rule R17).
 */
export function statePathOf(row: ResourceRow): string {
  const { status, operation, incarnation } = row
  if (operation === null) return status
  if (operation.cleanup === null) return `${status}.${incarnation === null ? QUEUED : WORKING}`
  return `${status}.${incarnation === null ? CLEANUP_QUEUED : CLEANING}`
}

/** Writes the transitions of one table, in the vocabulary above. */
class ChartBuilder {
  readonly #table: TableShape
  constructor(table: TableShape) {
    this.#table = table
  }

  #to(status: string, sub?: string): string {
    return `#${this.#table.kind}.${status}${sub === undefined ? '' : `.${sub}`}`
  }

  #isRest(status: string): boolean {
    return this.#table.statuses.includes(status)
  }

  /** What callers may ask for in this status. */
  accepts(status: string): On {
    const on: On = {}
    for (const [name, operation] of Object.entries(this.#table.operations))
      if (startsOf(this.#table, operation).includes(status)) on[name] = this.#accept(name, operation, status)
    return on
  }

  #accept(name: string, operation: OperationShape, status: string): Transition[] {
    const isNew = status === 'new'
    const isRest = isNew || this.#isRest(status)
    const interrupt = isRest
      ? []
      : this.#table.held?.[status]
        ? ['dropHolder']
        : ['abort', { type: 'releaseRelated', params: { ending: 'failed' } }]
    const guards = operation.guards ?? []
    const description = operation.description
    if (operation.via === undefined) {
      return asList(operation.to)
        .flatMap((to) =>
          this.#ends(
            to,
            [
              ...(asList(operation.to).length > 1 ? [{ type: 'choosesStatus', params: { status: to } }] : []),
              ...guards,
            ],
            (end) => [
              ...interrupt,
              ...(operation.change ? [`change_${name}`] : []),
              { type: 'changeNow', params: { status: end, rest: isRest } },
            ],
            isRest ? status : undefined,
          ),
        )
        .map((transition) => ({ ...transition, ...(description ? { description } : {}) }))
    }
    return [
      {
        ...(guards.length > 0 ? { guard: all(guards) } : {}),
        target: this.#to(operation.via, QUEUED),
        actions: [
          ...interrupt,
          { type: 'accept', params: { operation: name, via: operation.via, rest: isRest } },
          ...(isNew ? ['created'] : []),
          ...(operation.holds ? ['holdRelated'] : []),
          ...(isNew && this.#table.parent ? ['addChild'] : []),
          'ring',
        ],
        ...(description ? { description } : {}),
      },
    ]
  }

  /** One transition for each status that `previous` may stand for; one for a plain status. */
  #ends(
    to: string,
    guards: readonly unknown[],
    actions: (status: string) => unknown[],
    only?: string,
  ): Transition[] {
    if (to !== 'previous' && to !== 'restore')
      return [
        {
          ...(guards.length > 0 ? { guard: all(guards) } : {}),
          target: this.#to(to),
          actions: this.#leaving(to, actions(to)),
        },
      ]
    const previous = only === undefined ? this.#table.statuses : [only]
    const restores = previous.map((status) => ({
      guard: all([...guards, { type: 'wasStatus', params: { status } }]),
      target: this.#to(status),
      actions: actions(status),
    }))
    return restores
  }

  /** A resource that becomes gone is no longer its parent's child. */
  #leaving(status: string, actions: unknown[]): unknown[] {
    return status === 'gone' && this.#table.parent ? [...actions, 'removeChild'] : actions
  }

  /** The operations that go through this transitional status. */
  #through(status: string): [string, OperationShape][] {
    return Object.entries(this.#table.operations).filter(([, operation]) => operation.via === status)
  }

  transitional(status: string): unknown {
    const operations = this.#through(status)
    const names = operations.map(([name]) => name).join(', ')
    const owner = ['isClaimHolder', 'isServiceUp']
    const released = (ending: Ending) => ({ type: 'releaseRelated', params: { ending } })
    const working: On = {
      progress: [{ guard: all(owner), actions: ['recordProgress'] }],
      cancel: [{ actions: ['requestCancel', 'abort'] }],
      cleanup: operations.flatMap(([name, operation]) => this.#cleanup(name, operation)),
    }
    const cleaning: On = {
      'cleanup.done': [],
      'cleanup.failed': [],
      cleanup: [],
    }
    const cancelQueued: Transition[] = []
    for (const [name, operation] of operations) {
      const mine = { type: 'isOperation', params: { name } }
      working[`${name}.done`] = this.#ends(asList(operation.to)[0]!, [...owner, mine], (end) => [
        released('done'),
        { type: 'finish', params: { status: end } },
      ])
      working[`${name}.failed`] = this.#ends(operation.failed!, [...owner, mine], (end) => [
        released('failed'),
        { type: 'fail', params: { status: end } },
      ])
      // What is requeued is cleaned only once no try is left.
      const [way, to, code] =
        operation.cleanup === 'requeue'
          ? [USED_UP, operation.failed!, USED_UP]
          : [operation.cleanup!, operation.cleanup!, 'interrupted']
      const byPolicy = { type: 'hasPolicy', params: { policy: way } }
      cleaning['cleanup.done']!.push(
        ...this.#ends(to, [...owner, mine, byPolicy], (end) => [
          released('cleanup'),
          { type: 'putRight', params: { status: end, code } },
        ]),
      )
      const giveUp = (more: unknown[]) =>
        this.#ends(operation.failed!, [...more, mine, 'hasNoCleanupLeft'], (end) => [
          released('cleanup'),
          { type: 'giveUpCleanup', params: { status: end } },
        ])
      cleaning['cleanup.failed']!.push(...giveUp(owner))
      cleaning.cleanup!.push(...giveUp(['isClaimOver']))
      // Cancelled before a node took it: as if it had not been asked for.
      if (operation.force) continue
      cancelQueued.push(
        ...this.#ends(operation.from === 'new' ? 'gone' : 'previous', [mine, 'isUntouched'], (end) => [
          released('cancelled'),
          { type: 'cancelQueued', params: { status: end } },
        ]),
      )
    }
    cleaning['cleanup.failed']!.push({
      guard: all(owner),
      target: this.#to(status, CLEANUP_QUEUED),
      // The marks may have been raised over the call that failed: the next one holds under a new fence.
      actions: ['putOffCleanup', 'renewRelated'],
    })
    cleaning.cleanup!.push({
      guard: 'isClaimOver',
      target: this.#to(status, CLEANUP_QUEUED),
      actions: ['requeueCleanup', 'renewRelated', 'ring'],
    })
    // A force operation took a row away that this operation holds (rule R13).
    const drop = operations.flatMap(([name, operation]) =>
      this.#ends(operation.failed!, [{ type: 'isOperation', params: { name } }], (end) => [
        'abort',
        released('failed'),
        { type: 'failForced', params: { status: end } },
      ]),
    )
    return {
      description: `On its way: ${names}.`,
      initial: QUEUED,
      on: { ...this.accepts(status), ...(operations.some(([, o]) => o.holds) ? { drop } : {}) },
      states: {
        [QUEUED]: {
          description: 'Waits in the mailbox of its cluster.',
          tags: ['queued'],
          on: {
            claim: [
              {
                guard: all(['isServiceUp', 'isOfTopic']),
                target: this.#to(status, WORKING),
                actions: ['takeClaim', 'drive'],
              },
            ],
            // Once something may have been begun at the backend, only a claim can end it.
            cancel: [...cancelQueued, { actions: ['requestCancel'] }],
          },
        },
        [WORKING]: { description: 'One node has it and its driver runs.', tags: ['cleanable'], on: working },
        [CLEANUP_QUEUED]: {
          description: 'Its node went down; the cleanup waits for a node of the cluster.',
          tags: ['queued'],
          on: {
            claim: [
              {
                guard: all(['isServiceUp', 'isOfTopic', 'isDue']),
                target: this.#to(status, CLEANING),
                actions: ['takeClaim', 'clean'],
              },
            ],
          },
        },
        [CLEANING]: {
          description: 'One node raises the mark at the backend and puts it right.',
          tags: ['cleanable'],
          on: cleaning,
        },
      },
    }
  }

  /** What becomes of a claim whose life is over: the policy of the table. */
  #cleanup(name: string, operation: OperationShape): Transition[] {
    const over = ['isClaimOver', { type: 'isOperation', params: { name } }]
    const policy = operation.cleanup!
    const released = { type: 'releaseRelated', params: { ending: 'cleanup' } }
    const queued = (way: string, more: unknown[]): Transition => ({
      guard: all([...over, ...more, 'needsBackend']),
      target: this.#to(operation.via!, CLEANUP_QUEUED),
      actions: [{ type: 'queueCleanup', params: { policy: way } }, 'renewRelated', 'ring'],
    })
    const failed = [
      queued(USED_UP, ['hasNoTryLeft']),
      ...this.#ends(operation.failed!, [...over, 'hasNoTryLeft'], (end) => [
        released,
        { type: 'putRight', params: { status: end, code: USED_UP } },
      ]),
    ]
    if (policy === 'requeue')
      return [
        ...failed,
        {
          guard: all(over),
          target: this.#to(operation.via!, QUEUED),
          actions: ['requeue', 'renewRelated', 'ring'],
        },
      ]
    return [
      queued(policy, []),
      ...this.#ends(policy, over, (end) => [
        released,
        { type: 'putRight', params: { status: end, code: 'interrupted' } },
      ]),
    ]
  }

  /** In this rest status another resource's operation may take hold. */
  holds(status: string): On {
    const into = Object.entries(this.#table.held ?? {}).filter(([, hold]) =>
      asList(hold.from).includes(status),
    )
    if (into.length === 0) return {}
    return {
      hold: into.map(([as]) => ({
        guard: { type: 'isHoldAs', params: { as } },
        target: this.#to(as),
        actions: [{ type: 'becomeHeld', params: { status: as } }],
      })),
    }
  }

  held(status: string, hold: HeldShape): unknown {
    const release = (to: string) =>
      this.#ends(to, ['isHeldBy'], (end) => [{ type: 'becomeReleased', params: { status: end } }])
    return {
      description: "Held by another resource's operation.",
      tags: ['held'],
      on: {
        ...this.accepts(status),
        renew: [{ guard: 'isHeldBy', actions: ['renewHold'] }],
        'release.done': release(hold.to),
        'release.failed': release(hold.failed),
        'release.cleanup': release(hold.cleanup),
        'release.cancelled': release('previous'),
      },
    }
  }
}

function all(guards: readonly unknown[]): unknown {
  return guards.length === 1 ? guards[0] : and(guards as never)
}
