// The vocabulary of a resource's chart: the protocol's guards, the changes of the row, the commands that the
// runtime runs once the row is durable. Named here once, used by name in resource.ts. All are pure; guards
// never throw and read only the row and the event.

import { assign } from 'xstate'
import type { AcceptEvent, Claimant, Limits, Owned } from './event.ts'
import {
  type Attempt,
  claimedAt,
  type JsonObject,
  type Operation,
  type Ref,
  type ResourceRow,
  type RowError,
  sameRef,
  topicOfWork,
} from './row.ts'
import { USED } from './table.ts'

export type Args = { context: ResourceRow; event: never }

/** The policy of a cleanup, and the code of its error, once no try is left (rule R15). No status is called so. */
export const USED_UP = 'attempts_used_up'

/** How an operation ended that a force operation interrupted (rule R13). */
export const FORCED = 'a force operation took its place'

/** The protocol's guards, by name. The testing kit replaces single ones to switch a rule off. */
export const protocolGuards = {
  /** Rule R5: a claim or finish compares the service row. */
  isServiceUp: ({ event }: Args) => {
    const { service, incarnation } = (event as { claimant: Claimant }).claimant
    return service !== null && service.state === 'up' && service.incarnation === incarnation
  },
  /** An administrator may have disabled it: then it takes nothing new. */
  isNodeEnabled: ({ event }: Args) => (event as { claimant: Claimant }).claimant.service?.disabled !== true,
  /** Its cluster is not frozen. */
  isThawed: ({ event }: Args) => (event as AcceptEvent).cluster?.frozen !== true,
  /** A node consumes the topic of its cluster and no other. */
  isOfTopic: ({ context, event }: Args) => {
    const { service } = (event as { claimant: Claimant }).claimant
    return service !== null && `${service.cluster}@${service.backend}` === topicOfWork(context)
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
    const { worker, incarnation, until } = event as { worker: string; incarnation: number; until?: number }
    // A claim newer than what was asked to be cleaned is not touched (behaviour 60).
    if (until !== undefined && (claimedAt(context) ?? 0) > until) return false
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
  /** Its next try waits, and the last one was not after the time given. */
  isPutOff: ({ context, event }: Args) => {
    const { at, until } = event as { at: number; until?: number }
    const isOlder = until === undefined || (claimedAt(context) ?? 0) <= until
    return isOlder && (context.operation?.cleanup?.not_before ?? 0) > at
  },
  hasNoCleanupLeft: ({ context, event }: Args) =>
    (context.operation?.cleanup?.failures ?? 0) + 1 >= (event as { limits: Limits }).limits.cleanups,
  /** Its caller left the place open and still wants it, and that topic was not tried yet. */
  isUntriedPlace: ({ context, event }: Args) => {
    const { placed, cancel_requested_at, history } = context.operation!
    const { topic } = event as { topic: string }
    const tried = [context.cluster, ...history.map(({ not_here }) => not_here?.topic)]
    return placed === true && cancel_requested_at === null && !tried.includes(topic)
  },
  isHoldAs: ({ event }: Args, params: { as: string }) => (event as { as: string }).as === params.as,
  isHeldBy: ({ context, event }: Args) =>
    context.held_by !== null && sameRef(context.held_by, (event as { holder: Ref }).holder),
  /** The driver failed with this code. */
  hasCode: ({ event }: Args, params: { code: string }) =>
    (event as { error: { code: string } }).error.code === params.code,
  /** No operation reads it now. */
  isUnused: ({ context }: Args) => context.children[USED] === undefined,
  choosesStatus: ({ event }: Args, params: { status: string }) =>
    (event as AcceptEvent).input.status === params.status,
}

/** At rest operation, worker, incarnation and held_by are null. */
const AT_REST = { operation: null, worker: null, incarnation: null, held_by: null, attempts: 0 } as const

export const changeActions = {
  accept: assign(({ context, event }: Args, params: { operation: string; via: string; rest: boolean }) => {
    const { input, request_id, at, placed } = event as AcceptEvent
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
        ...(placed === true ? { placed } : {}),
      } satisfies Operation,
    }
  }),
  created: assign(({ event }: Args, params: { version: number } | undefined) => ({
    previous_status: null,
    data: (event as AcceptEvent).input,
    created_at: (event as AcceptEvent).at,
    ...(params === undefined ? {} : { definition_version: params.version }),
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
        history: trimmed([...operation.history, { worker, incarnation, fence, at }]),
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
  /** The resource now belongs to the topic where it was driven. */
  moveHere: assign(({ context }: Args) => ({ cluster: topicOfWork(context) })),
  /** The success of one operation begins another, in the same swap: to its caller they are one. */
  beginNext: assign(({ context, event }: Args, params: { operation: string; via: string }) => {
    const { topic: _, ...operation } = context.operation!
    return {
      status: params.via,
      worker: context.cluster,
      incarnation: null,
      attempts: 0,
      data: { ...context.data, ...(event as { changes: JsonObject }).changes },
      operation: {
        ...operation,
        name: params.operation,
        input: {},
        progress: null,
        cancel_requested_at: null,
        history: [],
      },
    }
  }),
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
  /** The whole operation at another topic, as if it had been accepted there: this one's driver said `not_here`. */
  moveElsewhere: assign(({ context, event }: Args) => {
    const { topic, error } = event as { topic: string; error: Omit<RowError, 'at'> }
    const operation = context.operation!
    const { history } = operation
    const last = { ...history.at(-1)!, not_here: { topic: context.cluster, message: error.message } }
    return {
      worker: topic,
      cluster: topic,
      incarnation: null,
      host: null,
      attempts: 0,
      operation: {
        ...operation,
        progress: null,
        history: [...history.slice(0, -1).filter(({ not_here }) => not_here !== undefined), last],
      },
    }
  }),
  /** The whole operation again, by any node (policy requeue). */
  requeue: assign(({ context }: Args) => ({
    worker: topicOfWork(context),
    incarnation: null,
    fence: context.fence + 1,
  })),
  /** The cleanup must touch the backend: a node of the cluster claims it (rule R8). */
  queueCleanup: assign(({ context, event }: Args, params: { policy: string }) => {
    const { reason } = event as { reason: string }
    return {
      worker: topicOfWork(context),
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
      worker: topicOfWork(context),
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
  /** An administrator does not want to wait for the next try. */
  dueNow: assign(({ context }: Args) => ({
    operation: { ...context.operation!, cleanup: { ...context.operation!.cleanup!, not_before: 0 } },
  })),
  /** The node that was cleaning went down itself: count it, and let another one try. */
  requeueCleanup: assign(({ context }: Args) => {
    const cleanup = context.operation!.cleanup!
    return {
      worker: topicOfWork(context),
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
export const commands = {
  /** Ring the topic's mailbox. */
  ring: () => {},
  /** Run the driver for the claim just taken. */
  drive: () => {},
  /** Raise the mark, undo by policy, then say `cleanup.done`. */
  clean: () => {},
  /** Abort the driver of an older claim. */
  abort: () => {},
  /** In the same transaction: hold, renew or release the rows this operation holds, and those it uses. */
  holdRelated: () => {},
  useRelated: () => {},
  renewRelated: () => {},
  releaseRelated: () => {},
  /** In the same transaction: the operation that holds this row fails. */
  dropHolder: () => {},
  /** In the same transaction: tell the parent. */
  addChild: () => {},
  removeChild: () => {},
}

/** The last claims. Where it was not the place is never forgotten, or it would be tried again. */
function trimmed(history: readonly Attempt[]): readonly Attempt[] {
  return history.filter(({ not_here }, i) => not_here !== undefined || i >= history.length - 20)
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
