// The chart of a resource, made from its table. Whose life: one resource, from `new` to `gone`. Who sends
// events: callers (an operation by its name, `cancel`), nodes (`claim`, `<operation>.done`, `.failed`,
// `cleanup.done`), cleaners (`cleanup`), and other resources' operations (`hold`, `release.*`, `child.*`).
// A rest status has no worker. A transitional status is `queued` (worker = cluster@backend) or `working`
// (worker = host@backend); once its worker went down and the backend must be touched, it is
// `cleanup_queued`, then `cleaning`. The context is the row; effects are commands, run after it is durable.

import { type AnyStateMachine, and, assign, setup } from 'xstate'
import { DefinitionError } from './error.ts'
import type { AcceptEvent, Ending, ResourceEvent } from './event.ts'
import type { ResourceRow } from './row.ts'
import {
  asList,
  checkTable,
  type HeldShape,
  type OperationShape,
  startsOf,
  statusesOf,
  type TableShape,
} from './table.ts'
import { type Args, changeActions, commands, protocolGuards, USED_UP } from './vocabulary.ts'

export type * from './event.ts'
export { FORCED } from './vocabulary.ts'

/** Transitional sub-states: who has the row. */
export const QUEUED = 'queued'
export const WORKING = 'working'
export const CLEANUP_QUEUED = 'cleanup_queued'
export const CLEANING = 'cleaning'

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

  const guards: Record<string, unknown> = Object.fromEntries(
    Object.entries(table.guards ?? {}).map(([name, guard]) => [
      name,
      ({ context, event }: Args) =>
        guard({ row: context, input: (event as AcceptEvent).input, related: (event as AcceptEvent).related }),
    ]),
  )
  const changes: Record<string, unknown> = {}
  for (const [name, { change, at, choose }] of Object.entries(table.operations)) {
    // At the end of an operation with a driver the input is the row's own (rule R4).
    const inputOf = ({ context, event }: Args) =>
      ((event as AcceptEvent).input ?? context.operation?.input ?? {}) as never
    if (change !== undefined)
      changes[`change_${name}`] = assign((args: Args) => ({ data: change(args.context, inputOf(args)) }))
    if (at !== undefined)
      changes[`route_${name}`] = assign((args: Args) => {
        const topic = at(args.context, inputOf(args))
        return { worker: topic, operation: { ...args.context.operation!, topic } }
      })
    if (choose !== undefined)
      guards[`chooses_${name}`] = ((args: Args, params: { status: string }) =>
        choose(args.context, inputOf(args)) === params.status) as never
  }
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
    const guards = [...(operation.unless_frozen ? ['isThawed'] : []), ...(operation.guards ?? [])]
    const description = operation.description
    if (operation.via === undefined) {
      return asList(operation.to)
        .flatMap((to) =>
          this.#ends(
            to,
            [
              ...(asList(operation.to).length > 1
                ? [{ type: operation.choose ? `chooses_${name}` : 'choosesStatus', params: { status: to } }]
                : []),
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
    const asked = [...(isNew ? [] : ['isUnused']), ...guards]
    return [
      {
        ...(asked.length > 0 ? { guard: all(asked) } : {}),
        target: this.#to(operation.via, QUEUED),
        actions: [
          ...interrupt,
          { type: 'accept', params: { operation: name, via: operation.via, rest: isRest } },
          ...(operation.at ? [`route_${name}`] : []),
          ...(isNew ? [this.#created()] : []),
          ...(operation.holds ? ['holdRelated'] : []),
          ...(operation.uses ? ['useRelated'] : []),
          ...(isNew && this.#table.parent ? ['addChild'] : []),
          'ring',
        ],
        ...(description ? { description } : {}),
      },
    ]
  }

  /** A row says which version of its definition wrote it, but for the first: most rows need not. */
  #created(): unknown {
    const { version = 1 } = this.#table
    return version === 1 ? 'created' : { type: 'created', params: { version } }
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
    const canCancel = operations.some(([, operation]) => operation.follows === undefined)
    const working: On = {
      progress: [{ guard: all(owner), actions: ['recordProgress'] }],
      ...(canCancel ? { cancel: [{ actions: ['requestCancel', 'abort'] }] } : {}),
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
      working[`${name}.done`] = this.#done(name, operation, [...owner, mine])
      const failed = (to: string, more: readonly unknown[]) =>
        this.#ends(to, [...owner, mine, ...more], (end) => [
          released('failed'),
          { type: 'fail', params: { status: end } },
        ])
      working[`${name}.failed`] = [
        ...Object.entries(operation.ends ?? {}).flatMap(([code, to]) =>
          failed(to, [{ type: 'hasCode', params: { code } }]),
        ),
        ...failed(operation.failed!, []),
      ]
      // What belongs to another resource goes where that is.
      if (operation.from === 'new' && this.#table.parent === undefined)
        working[`${name}.elsewhere`] = [
          {
            guard: all([...owner, mine, 'isUntriedPlace']),
            target: this.#to(status, QUEUED),
            actions: ['moveElsewhere', 'ring'],
            description: 'Its driver said that this is not the place: another cluster tries.',
          },
        ]
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
      if (operation.force || operation.follows !== undefined) continue
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
                guard: all(['isServiceUp', 'isNodeEnabled', 'isOfTopic']),
                target: this.#to(status, WORKING),
                actions: ['takeClaim', 'drive'],
              },
            ],
            // Once something may have been begun at the backend, only a claim can end it.
            ...(canCancel ? { cancel: [...cancelQueued, { actions: ['requestCancel'] }] } : {}),
          },
        },
        [WORKING]: { description: 'One node has it and its driver runs.', tags: ['cleanable'], on: working },
        [CLEANUP_QUEUED]: {
          description: 'Its node went down; the cleanup waits for a node of the cluster.',
          tags: ['queued'],
          on: {
            claim: [
              {
                guard: all(['isServiceUp', 'isNodeEnabled', 'isOfTopic', 'isDue']),
                target: this.#to(status, CLEANING),
                actions: ['takeClaim', 'clean'],
              },
            ],
            'cleanup.retry': [
              {
                guard: 'isPutOff',
                actions: ['dueNow', 'ring'],
                description: 'An administrator does not want to wait for the next try.',
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

  /** Its end where the driver did it; or the operation that follows begins. */
  #done(name: string, operation: OperationShape, guards: readonly unknown[]): Transition[] {
    const changes = [
      ...(operation.change ? [`change_${name}`] : []),
      ...(operation.moves ? ['moveHere'] : []),
    ]
    const released = { type: 'releaseRelated', params: { ending: 'done' } }
    const next = Object.entries(this.#table.operations).find(([, { follows }]) => follows === name)
    if (next === undefined)
      return this.#ends(asList(operation.to)[0]!, guards, (status) => [
        released,
        ...changes,
        { type: 'finish', params: { status } },
      ])
    const [following, { via, at }] = next
    return [
      {
        guard: all(guards),
        target: this.#to(via!, QUEUED),
        actions: [
          released,
          ...changes,
          { type: 'beginNext', params: { operation: following, via } },
          ...(at ? [`route_${following}`] : []),
          'ring',
        ],
      },
    ]
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
        guard: all([{ type: 'isHoldAs', params: { as } }, 'isUnused']),
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
