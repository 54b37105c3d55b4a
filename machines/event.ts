// The events of a resource's chart and who sends them: callers ask (an operation by its name, `cancel`),
// nodes claim and finish, cleaners put right, and operations of other resources hold, release and count.
// Everything a guard looks at besides the row is in the event: the time, the claimant, related rows.

import type { ClusterRow, JsonObject, Ref, ResourceRow, RowError, ServiceRow } from './row.ts'

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
  /** Of a create: its cluster was chosen by the placement, not by its caller. */
  readonly placed?: boolean
  /** The row of the resource's cluster, where the operation asks whether that is frozen. */
  readonly cluster?: ClusterRow | null
}

/** What a claim's owner says of itself. */
export type Owned = { readonly claimant: Claimant; readonly fence: number; readonly at: number }

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
  /** `<create>.elsewhere`: the driver said `not_here`, and this is the next topic to try. */
  | ({
      readonly type: `${string}.elsewhere`
      readonly topic: string
      readonly error: Omit<RowError, 'at'>
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
      /** Claims made after this time are not touched. */
      readonly until?: number
    }
  /** An administrator does not want to wait for the next try of a cleanup that failed. */
  | { readonly type: 'cleanup.retry'; readonly at: number; readonly until?: number }
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
