// What a driver is: the code that does the work at a backend. It may be called again for the same
// operation after a crash, so every method is idempotent; it may outlive its claim, so it honours the
// signal and, where the backend can, refuses an older fence. It never touches the store.

import type { Capabilities, JsonObject, ResourceRow } from '../machines/row.ts'
import type { LogLevel } from './log.ts'

/** What a driver's method is given. Rows are the durable ones of the claim, frozen. */
export interface DriverContext {
  /** The resource that has the operation, as claimed. */
  readonly row: ResourceRow
  readonly operation: string
  readonly input: JsonObject
  /** Rows that take part, by kind: the parent it belongs to, the resources its operation holds. */
  readonly related: { readonly [kind: string]: ResourceRow }
  /** Every row that takes part, several of a kind too; `related` has the first of each kind. */
  readonly relatedRows: readonly ResourceRow[]
  /** Where a migration comes from, given by the driver of that place; null for all else. */
  readonly source: Exported | null
  /** Aborted when the node may no longer work on this: fenced, cancelled, timed out, forced, stopped. */
  readonly signal: AbortSignal
  /** The fence of this claim. Effects of an older one must be refused where the backend can. */
  readonly fence: number
  /** 1 for the first claim of this operation. */
  readonly attempt: number
  /** 0 to 1. Kept in memory and shown at once; reaches the row every few seconds at most. */
  progress(fraction: number, note?: string): void
  /** To the log of the runtime, with the fields of this operation; `info` where no level is said. */
  log(message: string, level?: LogLevel): void
}

/** Does the operation and resolves with changes to the row's data (or nothing). Idempotent. */
export type DriverMethod = (context: DriverContext) => Promise<JsonObject | void>

/**
 * The content of a resource, to be copied to another backend. It is read when it is asked for, and nothing
 * else writes to it meanwhile: the operation that copies it holds the resource.
 */
export interface Exported {
  readonly bytes: number
  /**
   * The name of the place it lies at, whoever asks and by whatever path: a driver that finds its own place
   * here refuses to copy (`same_place`), since the source is removed afterwards.
   */
  readonly place?: string
  /** In order of `offset`. What no piece covers is zero; `data` is valid until the next piece is asked for. */
  pieces(signal: AbortSignal): AsyncIterable<{ readonly offset: number; readonly data: Uint8Array }>
  /** The SHA-256 of the whole content in hexadecimal, what no piece covers read as zeros. */
  checksum(signal: AbortSignal): Promise<string>
}

export interface DriverSetup {
  readonly cluster: string
  readonly backend: string
  readonly host: string
  readonly signal: AbortSignal
  log(message: string, level?: LogLevel): void
}

/**
 * A driver: one group of methods a kind, named as the operations of its table, for example
 * `{ volume: { create, extend, delete } }`. Instant operations have no method.
 *
 * With `fence`, an aborted call that never settles does not hold its resource: the mark at the backend
 * is raised before the row is released (rules R8, R18). Without it, this process takes the resource
 * again only after the old call has settled.
 */
export interface Driver {
  /** Runs at each start of the node, before it claims anything. A rejection fails the start. */
  setup?(setup: DriverSetup): Promise<void>
  /** Asked with the heartbeats. */
  capabilities?(): Promise<Capabilities>
  /**
   * Raises the mark of `row` at the backend to at least `fence`; durable when it resolves. From then on
   * the backend refuses effects of an older fence. Idempotent; a lower fence than the mark is ignored.
   */
  fence?(row: ResourceRow, fence: number): Promise<void>
  /**
   * Removes what a half-done operation left, so that the cleanup policy is true at the backend.
   * Idempotent. Resolves with changes to the row's data (or nothing).
   */
  undo?: DriverMethod
  /** Opens the content of `row` for a migration away from this backend. Changes nothing. */
  export?(row: ResourceRow, signal: AbortSignal): Promise<Exported>
  /** The operations, by kind. */
  readonly operations: { readonly [kind: string]: { readonly [operation: string]: DriverMethod } }
}

/**
 * A failure that a driver words itself: `code` goes into the row's error. Anything else that a driver
 * throws becomes code `driver_failed`. A table may say where an operation ends for a code (`ends`); `not_here`
 * of a create says that this backend is not the place for it and that nothing of it is left here: the create
 * goes on at the next best cluster, three in all, unless its caller chose the place.
 */
export class DriverError extends Error {
  readonly code: string
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'DriverError'
    this.code = code
  }
}
