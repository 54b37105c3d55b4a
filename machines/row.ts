// The rows the charts live in. A row is the whole state of its actor: flat JSON, no references, no
// Booleans that a state could say. `version` belongs to the store's compare-and-swap; everything else
// is decided by a chart. Times are milliseconds since the epoch, told by the event, never asked.

/** JSON, as rows carry it. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

/** Names one row among all: its kind and its id. */
export interface Ref {
  readonly kind: string
  readonly id: string
}

/** Why the last operation on a resource did not succeed. `code` is stable; `message` is for people. */
export interface RowError {
  readonly code: string
  readonly message: string
  readonly at: number
}

/** How far a running operation has come: 0 to 1, with a word for people. */
export interface Progress {
  readonly fraction: number
  readonly note: string
  readonly at: number
}

/** One claim of an operation, kept for the story told when the attempts are used up (rule R15). */
export interface Attempt {
  readonly worker: string
  readonly incarnation: number
  readonly fence: number
  readonly at: number
  /** Its driver said that this is not the place for the resource, and why; the operation went on elsewhere. */
  readonly not_here?: { readonly topic: string; readonly message: string }
}

/** The cleanup of an operation whose worker went down, where it must touch the backend (a claimed step). */
export interface Cleanup {
  /** The policy of the table, or `attempts_used_up`: then it ends where the operation fails to. */
  readonly policy: string
  /** Why there is something to clean, for people. */
  readonly reason: string
  /** How often this cleanup failed; the next try waits until `not_before` (rule R14). */
  readonly failures: number
  readonly not_before: number
}

/** What the resource was accepted for. The row is the message: a node runs what stands here (rule R4). */
export interface Operation {
  readonly name: string
  readonly input: JsonObject
  /** The caller's idempotency key, or null where none was given. */
  readonly request_id: string | null
  readonly accepted_at: number
  /** The row's version at the accept: names this operation among all that the row ever had. */
  readonly accepted_version: number
  readonly progress: Progress | null
  /** Null until someone asks to cancel; then the time of asking. */
  readonly cancel_requested_at: number | null
  readonly history: readonly Attempt[]
  readonly cleanup: Cleanup | null
  /** The topic whose nodes drive it, where that is not the resource's own (a migration is driven at its target). */
  readonly topic?: string
  /** Of a create: nobody chose its cluster but the placement, so another one may be tried. */
  readonly placed?: true
}

/** A resource: a volume, a snapshot, a DNS record. At rest operation, worker, incarnation and held_by are null. */
export interface ResourceRow {
  readonly kind: string
  readonly id: string
  readonly version: number
  readonly status: string
  /** The last rest status before the running operation; null while a create runs. */
  readonly previous_status: string | null
  /** null: nobody; the topic `cluster@backend`: queued; `host@backend`: taken. See `incarnation`. */
  readonly worker: string | null
  /** The life of the node that took it; null while queued or at rest (rule R17: worker alone never tells). */
  readonly incarnation: number | null
  readonly operation: Operation | null
  /** The topic this resource belongs to, `cluster@backend`. Ownership is the cluster's. */
  readonly cluster: string
  /** The last host that worked on it. Says nothing about ownership. */
  readonly host: string | null
  /** The resource whose operation holds this one. */
  readonly held_by: (Ref & { readonly fence: number }) | null
  /** +1 at each claim, each cleanup and each force operation; a driver's effects carry it (rules R2, R8, R13). */
  readonly fence: number
  /** Claims of the running operation. */
  readonly attempts: number
  /** How many resources of each kind belong to this one. */
  readonly children: { readonly [kind: string]: number }
  readonly data: JsonObject
  readonly error: RowError | null
  readonly created_at: number
  readonly updated_at: number
  /** The version of its definition that wrote it, where that is not the first. */
  readonly definition_version?: number
}

/** One row a node, `cluster@backend@host`: changes at start, down, cleaned and by an administrator only. */
export interface ServiceRow {
  readonly kind: 'service'
  readonly id: string
  readonly version: number
  readonly cluster: string
  readonly backend: string
  readonly host: string
  /** Counts the starts of `host@backend`, whatever the cluster; never reset (rule R2). */
  readonly incarnation: number
  readonly state: 'starting' | 'up' | 'down'
  /** The last incarnation whose claims are all put right. cleanup_done = it equals `incarnation` (rule R6). */
  readonly cleaned_incarnation: number
  /** The node's driver can fence or undo, so a cleanup of its claims is itself a claimed step. */
  readonly cleans_at_backend: boolean
  /** It stays up and goes on with what it has, and claims nothing new. */
  readonly disabled: boolean
  readonly disabled_reason: string | null
}

/** What a driver may say of its backend, to be compared with what a resource's type asks for. */
export type Spec = string | number | boolean

/** What a cluster@backend can take. A node reports it with its beats; the last report counts. */
export interface Capabilities {
  /** GiB; null where the driver does not say. */
  readonly total_gib: number | null
  readonly free_gib: number | null
  /** GiB promised so far, where space is only taken when it is written. */
  readonly provisioned_gib?: number
  /** Percent of the total that nothing new may take; 0 where absent. */
  readonly reserved_percent?: number
  /** Space is taken when it is written, so more may be promised than is there. */
  readonly thin?: boolean
  /** How often the total may be promised, where it is thin; 1 where absent. */
  readonly max_over_subscription?: number
  /** One resource may be used by several at once. */
  readonly multiattach?: boolean
  readonly specs?: { readonly [name: string]: Spec }
}

/** One row a node: changes with every heartbeat. `id` is the service row's id. */
export interface BeatRow {
  readonly kind: 'beat'
  readonly id: string
  readonly version: number
  readonly incarnation: number
  readonly counter: number
  readonly capabilities: Capabilities | null
  /** When the driver was asked for them, by the node's own clock; for people. */
  readonly reported_at: number
  /** The last commit before the driver was asked: orders reports, whatever the clocks say. 0 where absent. */
  readonly reported_offset?: number
}

/** One row a topic. Up or down is computed from its services. */
export interface ClusterRow {
  readonly kind: 'cluster'
  /** `cluster@backend`. */
  readonly id: string
  readonly version: number
  /** Nothing new is placed here; what is there goes on. */
  readonly disabled: boolean
  readonly disabled_reason: string | null
  /** Disabled, and operations whose table says `unless_frozen` are refused. */
  readonly frozen: boolean
  readonly frozen_reason?: string | null
  /** It has this name now: what still carries the old one moves there (rule R16). */
  readonly renamed_to?: string
  /** Where it was renamed: `moving` until everything is there once; what comes late moves all the same. */
  readonly renaming?: 'moving' | 'done'
}

/**
 * One row a `host@backend` that was forgotten: the incarnation that its next life must be above, since a claim of a
 * removed life may still be on its way (rule R2). Never removed.
 */
export interface RetiredRow {
  readonly kind: 'retired'
  /** `host@backend`. */
  readonly id: string
  readonly version: number
  readonly incarnation: number
}

/** One row a request id given by a caller: makes an accept idempotent. */
export interface RequestRow {
  readonly kind: 'request'
  /** The request id. */
  readonly id: string
  readonly version: number
  /** Digest of what was asked. */
  readonly hash: string
  readonly resource: Ref
  readonly accepted_version: number
  /** Null while the operation runs; then how it ended. */
  readonly settled: { readonly at: number; readonly error: RowError | null } | null
}

/** One row a kind whose definition has had more than one version. */
export interface DefinitionRow {
  readonly kind: 'definition'
  /** The kind. */
  readonly id: string
  readonly version: number
  /** All rows of the kind are of this version, or of a later one up to `migrating_to`. */
  readonly definition_version: number
  /** A migration has begun and is not done; null otherwise. */
  readonly migrating_to: number | null
}

/** The topic whose nodes may claim the row's operation. */
export function topicOfWork(row: ResourceRow): string {
  return row.operation?.topic ?? row.cluster
}

/** The status of what is no longer there; its row stays for a while to say so. */
export const GONE = 'gone'

export function isGone(row: ResourceRow): boolean {
  return row.status === GONE
}

/** When the running operation was claimed last; null where no node has taken it yet. */
export function claimedAt(row: ResourceRow): number | null {
  return row.operation?.history.at(-1)?.at ?? null
}

export function refOf(row: Ref): Ref {
  return { kind: row.kind, id: row.id }
}

export function sameRef(a: Ref, b: Ref): boolean {
  return a.kind === b.kind && a.id === b.id
}
