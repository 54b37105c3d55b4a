// How a command ends. Scripts rely on these numbers.

export const EXIT = {
  done: 0,
  /** The operation failed, or the command did. */
  failed: 1,
  usage: 2,
  /** Refused by the resource, or in conflict with something that is there already. */
  refused: 3,
  unreachable: 4,
  /** Not finished within its limit. */
  unfinished: 5,
  /** Ctrl-C, as shells count it. */
  interrupted: 130,
} as const

/** Ends the command with a code and a sentence for people; with `--json` also as a value. */
export class Exit extends Error {
  readonly exit: number
  readonly error: Readonly<Record<string, unknown>>
  constructor(exit: number, message: string, error: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.name = 'Exit'
    this.exit = exit
    this.error = { code: 'failed', message, ...error }
  }
}

export function usage(message: string): Exit {
  return new Exit(EXIT.usage, message, { code: 'usage' })
}
