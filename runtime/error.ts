// Operating errors of the runtime: one class, a stable `code` from one table, the offending value named.
// A refusal is not an error: it is a value.

export type RekindleErrorCode =
  /** A kind, operation, status, topic or host that is not there; the nearest known name is suggested. */
  | 'unknown_kind'
  | 'unknown_operation'
  | 'unknown_status'
  | 'unknown_cluster'
  | 'unknown_node'
  /** No resource with this id (one that is gone is refused instead, for an hour). */
  | 'unknown_id'
  /** The input does not fit the schema; `issues` names the fields. */
  | 'bad_input'
  /** A setting that can't work, refused at start. */
  | 'bad_settings'
  /** The same request id was given with another body. */
  | 'request_reused'
  /** Rows in the store that the definitions given can't explain. */
  | 'unknown_rows'
  /** Rows that can't be migrated to the definitions given, or not now; nothing was written. */
  | 'migration_refused'
  /** A node with this host@backend runs already (rule R11). */
  | 'node_running'
  /** No cluster that is up can take it. */
  | 'no_cluster'
  /** The store can't promise anything just now; the runtime resumes by itself when it is back. */
  | 'store_lost'
  /** The store refused to write (disk full, read-only); nothing was changed. */
  | 'store_refused'
  /** The runtime is stopping or has stopped. */
  | 'stopped'
  /** A guard or change of a definition threw; nothing was changed. */
  | 'definition_threw'

export interface Issue {
  /** Dotted path of the field; empty for the whole input. */
  readonly path: string
  readonly message: string
}

export class RekindleError extends Error {
  readonly code: RekindleErrorCode
  readonly issues: readonly Issue[]
  constructor(
    code: RekindleErrorCode,
    message: string,
    options: { cause?: unknown; issues?: readonly Issue[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RekindleError'
    this.code = code
    this.issues = options.issues ?? []
  }
}

/** The message of anything that was thrown, bounded; never throws: drivers throw what they like. */
export function messageOf(thrown: unknown): string {
  let text: string
  try {
    const message: unknown =
      thrown instanceof Error ? thrown.message : `threw ${typeof thrown}: ${String(thrown)}`
    text = typeof message === 'string' ? message : `an error with a message that is ${typeof message}`
  } catch {
    text = 'threw something that has no text'
  }
  return text.length > 1000 ? `${text.slice(0, 1000)}…` : text
}
