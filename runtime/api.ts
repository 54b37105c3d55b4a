// What a running runtime offers its callers, and what it answers. Types only. The doors (command, HTTP,
// page) use nothing else, and neither do the typed doors of doors.ts.

import type { ResourceType } from '../machines/definition.ts'
import type { ClusterView } from '../machines/placement.ts'
import type { QuotaRow } from '../machines/quota.ts'
import type { Progress, Ref, ResourceRow, ServiceRow } from '../machines/row.ts'
import type { StoredRow } from '../store/store.ts'
import type { AcceptOptions, Refusal } from './accept.ts'
import type { Measured } from './measures.ts'
import type { QuotaLimits } from './quota.ts'
import type { Settings } from './settings.ts'

/** Durable: it is on disk, queued for its cluster (or done, where the operation is instant). */
export interface Acceptance<Row = ResourceRow> {
  readonly ok: true
  readonly id: string
  readonly row: Row
  /** The request id was given before: this is the answer of that time. */
  readonly repeated: boolean
  /** How the operation ends. Only the runtime's stop rejects it. */
  settled(): Promise<SettledOf<Row>>
}

export type SettledOf<Row> =
  | { readonly ok: true; readonly row: Row }
  | { readonly ok: false; readonly error: NonNullable<ResourceRow['error']>; readonly row: Row }

export type Answer<Row = ResourceRow> = Acceptance<Row> | Refusal

export interface ListOptions {
  readonly status?: string
  /** A topic or a `host@backend`: rows queued there or taken by it. */
  readonly worker?: string
  readonly cluster?: string
  /** The `next` of the page before. */
  readonly after?: string | null
  /** 1 to 10,000; 1,000 where absent. */
  readonly limit?: number
}

export interface Listed<Row = ResourceRow> {
  readonly rows: readonly Row[]
  /** Give it as `after` to go on; null at the end. */
  readonly next: string | null
}

/** What happens, as it happens: durable changes in commit order, and progress between them. */
export type RuntimeEvent =
  | { readonly type: 'change'; readonly offset: number; readonly key: string; readonly row: StoredRow | null }
  | { readonly type: 'progress'; readonly kind: string; readonly id: string; readonly progress: Progress }

export interface NodeView {
  readonly host: string
  readonly cluster: string
  readonly backend: string
  /** `host@backend`. */
  readonly address: string
  readonly incarnation: number
  /** The service row's state; `here` has what the life in this process says of itself. */
  readonly state: ServiceRow['state']
  readonly cleanup_done: boolean
  /** It claims nothing new, in its next lives either. */
  readonly disabled: boolean
  readonly disabled_reason: string | null
  /** Null where the node lives in another process or has ended. */
  readonly here: { readonly state: string; readonly working_on: readonly Ref[] } | null
  /** Why the supervisor gave it up; null otherwise. */
  readonly given_up: string | null
}

export interface ClusterStatus extends ClusterView {
  readonly nodes: readonly string[]
  readonly queued: number
}

/** A resource that does not get on by itself, why, and what to do. */
export interface Stuck {
  readonly kind: string
  readonly id: string
  readonly reason: /** A driver's call was aborted and has not settled. */
    | 'leftover_call'
    /** It waits for a cluster of which no node is up. */
    | 'no_node_up'
    /** It waits for a cluster whose nodes that are up are all disabled. */
    | 'nodes_disabled'
    /** Its cleanup failed and is tried again later. */
    | 'cleanup_failing'
    /** Its cleanup failed so often that it was given up: what is at the backend is not known. */
    | 'cleanup_given_up'
    /** Its operation took down so many nodes, or was interrupted so often, that it ended as failed. */
    | 'attempts_used_up'
  readonly message: string
  readonly what_to_do: string
  /** Since when, in milliseconds since the epoch. */
  readonly since: number
  /** Of a cleanup: how often it failed, and when it is tried next (null: not by itself). */
  readonly failures?: number
  readonly next_try_at?: number | null
}

/**
 * An administrator's action is done and durable, or refused with what was expected and found. What is so already
 * is answered as done. A name that is not known throws `unknown_node` or `unknown_cluster`.
 */
export type AdminAnswer<Done> = ({ readonly ok: true } & Done) | Refusal

/** What may be cleaned up at once; what is left out matches everything. */
export interface CleanupFilter {
  /** A cluster's name or its topic `cluster@backend`. */
  readonly cluster?: string
  readonly backend?: string
  readonly host?: string
  readonly kind?: string
  /** With `kind`: one resource. */
  readonly id?: string
  /** Claims made after this time (milliseconds since the epoch) are not touched. */
  readonly until?: number
}

/** What cleaning up at once did with one node. */
export interface CleanupReport {
  /** Nodes whose claims are put right now, with how many rows that were. */
  readonly cleaning: readonly { readonly node: NodeView; readonly rows: number }[]
  /** Nodes of which nothing is cleaned, and why. */
  readonly unavailable: readonly { readonly node: NodeView; readonly why: string }[]
  /** Cleanups that had failed and waited for their next try: tried now. */
  readonly retried: readonly Ref[]
}

/** What a renaming moves, or would. */
export interface Renaming {
  readonly from: string
  readonly to: string
  /** Rows that still have the old name, by kind; of a dry run: those that would move. */
  readonly rows: { readonly [kind: string]: number }
  /** Hosts whose service rows go with it. */
  readonly nodes: readonly string[]
  /** Nothing has the old name any more. */
  readonly done: boolean
}

/**
 * Nodes are named by `host`, `host@backend` or `cluster@backend@host`; clusters by their topic, `cluster@backend`.
 * Every action is one or more compare-and-swaps, idempotent, and can be raced by any other.
 */
export interface Administration {
  /** It stays up, goes on with what it has and claims nothing new, in its later lives too. */
  disableNode(node: string, reason?: string): Promise<AdminAnswer<{ readonly node: NodeView }>>
  /** It claims again, at once. */
  enableNode(node: string): Promise<AdminAnswer<{ readonly node: NodeView }>>
  /** Nothing new is placed there by itself; what is there is worked on as before. */
  disableCluster(topic: string, reason?: string): Promise<AdminAnswer<{ readonly cluster: ClusterStatus }>>
  enableCluster(topic: string): Promise<AdminAnswer<{ readonly cluster: ClusterStatus }>>
  /**
   * Nothing new is placed there, and operations whose table says `unless_frozen` are refused: none is accepted
   * once this has answered. What runs goes on.
   */
  freezeCluster(topic: string, reason?: string): Promise<AdminAnswer<{ readonly cluster: ClusterStatus }>>
  thawCluster(topic: string): Promise<AdminAnswer<{ readonly cluster: ClusterStatus }>>
  /**
   * Forgets a node that is down. Refused while it runs, or while it is the worker of rows. Its incarnations are
   * not used again: a host that comes back goes on counting.
   */
  removeNode(node: string): Promise<AdminAnswer<{ readonly node: NodeView }>>
  /** Forgets a cluster. Refused while it has rows or a node that runs; `recursive` removes its nodes first. */
  removeCluster(
    topic: string,
    options?: { readonly recursive?: boolean },
  ): Promise<AdminAnswer<{ readonly cluster: ClusterStatus; readonly nodes: readonly NodeView[] }>>
  /**
   * Gives a cluster another name: what belongs to it, is queued for it or names it, and its nodes' rows (rule R16).
   * Refused while a node runs under the old name, and where the new one has rows of its own, unless `merge` says
   * that both are of the same backend. Answers when all has moved; a crash before that only delays it, and so does
   * repeating it. A node that is started under the old name later is refused. A dry run says what would move.
   */
  renameCluster(
    from: string,
    to: string,
    options?: { readonly dry_run?: boolean; readonly merge?: boolean },
  ): Promise<AdminAnswer<{ readonly renaming: Renaming }>>
  /**
   * Puts right at once what nodes that are down left, and does not wait for the next try of cleanups that failed.
   * Answers when every row is swapped; a cleanup that needs the backend then waits for a node of the cluster.
   */
  cleanup(filter?: CleanupFilter): Promise<AdminAnswer<CleanupReport>>
}

export interface Runtime {
  /** For administrators. */
  readonly admin: Administration
  readonly settings: Settings
  readonly kinds: readonly ResourceType[]
  /** Any operation by its name: what the typed doors call. `id` is null for a new resource. */
  accept(
    kind: string,
    id: string | null,
    operation: string,
    input?: unknown,
    options?: AcceptOptions,
  ): Promise<Answer>
  cancel(kind: string, id: string): Promise<Answer>
  get(kind: string, id: string): Promise<ResourceRow | undefined>
  list(kind: string, options?: ListOptions): Promise<Listed>
  count(kind: string, options?: Pick<ListOptions, 'status' | 'cluster' | 'worker'>): Promise<number>
  /**
   * Every durable change, in commit order, each exactly once; from now on, or after `from`. An offset that
   * is no longer kept throws a StoreError `offset_too_old`.
   */
  watch(listener: (event: RuntimeEvent) => void, options?: { readonly from?: number }): () => void
  /** The offset of the last durable change. */
  offset(): number
  nodes(): readonly NodeView[]
  clusters(): Promise<readonly ClusterStatus[]>
  stuck(): Promise<readonly Stuck[]>
  /** What each project takes, and its limits. */
  quotas(): Promise<readonly QuotaRow[]>
  /** Sets limits of a project, those that are named; null takes one away. Throws `bad_input`. */
  setQuota(project: string, limits: QuotaLimits): Promise<QuotaRow>
  /** A node of this process, by host or `host@backend`. */
  node(host: string): { kill(): void; drain(): void; start(): void }
  /**
   * What was counted and timed in this process up to now, by the names of `MEASURES`. Without a store that can
   * be asked, what only its rows could tell has no samples.
   *
   * @example
   * const { queued } = await runtime.measures()
   */
  measures(): Promise<Measured>
  /** `open`; `suspended` while the store is lost; `stopping`. */
  state(): string
  /**
   * Accepts nothing more, lets the nodes finish what they work on, and closes the store. What is queued
   * stays queued. After `within_ms` the rest is left as by a crash, to be put right at the next start.
   */
  stop(options?: { readonly within_ms?: number }): Promise<void>
}
