// What the runtime tells of itself: a sentence for people, and fields for whoever searches. It writes nothing
// anywhere: where an entry goes, and how it looks there, is for the one who gave `log`. An entry has no time,
// since whoever writes it down has a clock.

export type LogLevel =
  /** Each operation's accept, claim and end: many. */
  | 'debug'
  /** What an operator may want to know later: nodes that come and go, rows that were put right. */
  | 'info'
  /** Something failed that the runtime goes on from by itself, an operation that ended as failed among them. */
  | 'warn'
  /** A broken invariant, or a fault of this program. */
  | 'error'

export const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']

/** What an entry is about; only what is known is there. Names are stable, others may be added. */
export interface LogFields {
  /** `host@backend`. */
  readonly node?: string
  /** `cluster@backend`. */
  readonly topic?: string
  /** Of the node: which of its lives. */
  readonly incarnation?: number
  readonly scheduler?: string
  /** The resource. */
  readonly kind?: string
  readonly id?: string
  readonly operation?: string
  /** What the caller of the operation gave, so that both sides' logs can be joined. */
  readonly request_id?: string
  /** Of the claim. */
  readonly fence?: number
  readonly attempt?: number
  readonly status?: string
  /** Of the error, from the table of error codes or of the driver. */
  readonly code?: string
  /** The last durable change before this. */
  readonly offset?: number
  readonly [field: string]: string | number | boolean | null | undefined
}

export interface LogEntry {
  readonly level: LogLevel
  /** A sentence that is complete without the fields. */
  readonly message: string
  readonly fields: LogFields
}

export type Log = (entry: LogEntry) => void

/** A log with what all its entries are about. Telling never throws, whatever the one who listens does. */
export class Logger {
  readonly #log: Log | null
  readonly #fields: LogFields
  readonly #prefix: string

  constructor(log: Log | null | undefined, fields: LogFields = {}, prefix = '') {
    this.#log = log ?? null
    this.#fields = fields
    this.#prefix = prefix
  }

  /** Nobody listens: what is costly to say need not be made. */
  get isSilent(): boolean {
    return this.#log === null
  }

  /** The same log, about more; `prefix` begins every message, after the prefix there is. */
  about(fields: LogFields, prefix = ''): Logger {
    if (this.#log === null) return this
    return new Logger(this.#log, { ...this.#fields, ...fields }, this.#prefix + prefix)
  }

  debug(message: string, fields?: LogFields): void {
    this.tell('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.tell('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.tell('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.tell('error', message, fields)
  }

  tell(level: LogLevel, message: string, fields?: LogFields): void {
    if (this.#log === null) return
    try {
      this.#log({ level, message: this.#prefix + message, fields: { ...this.#fields, ...fields } })
    } catch {
      // A log that can't be written must not end what it tells of.
    }
  }
}

/** The fields of a row's resource and of what is under way on it. */
export function fieldsOf(row: {
  readonly kind: string
  readonly id: string
  readonly fence: number
  readonly attempts: number
  readonly operation: { readonly name: string; readonly request_id: string | null } | null
}): LogFields {
  const { kind, id, fence, attempts, operation } = row
  if (operation === null) return { kind, id, fence }
  const { name, request_id } = operation
  return { kind, id, fence, attempt: attempts, operation: name, ...(request_id !== null && { request_id }) }
}
