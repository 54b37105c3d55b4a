// How the door says no: every error is `{"error": {code, message, ...}}` with the status of its code. What
// is not known here is a bug: it answers 500 without a word of the inside, and the log has it.

import { type Log, type LogFields, type Refusal, RekindleError, StoreError } from '../index.ts'

/** What the door refuses by itself, besides the codes of the runtime. */
export type DoorErrorCode =
  | 'bad_json'
  | 'bad_request'
  | 'body_too_large'
  | 'foreign'
  | 'internal'
  | 'method_not_allowed'
  | 'node_not_running'
  | 'too_many_calls'
  | 'too_many_streams'
  | 'too_many_waits'
  | 'unauthorized'
  | 'unknown_route'
  | 'wrong_content_type'

const STATUS = {
  bad_input: 400,
  bad_json: 400,
  bad_request: 400,
  unauthorized: 401,
  foreign: 403,
  unknown_kind: 404,
  unknown_operation: 404,
  unknown_status: 404,
  unknown_cluster: 404,
  unknown_node: 404,
  unknown_id: 404,
  unknown_route: 404,
  method_not_allowed: 405,
  node_running: 409,
  node_not_running: 409,
  refused: 409,
  request_reused: 409,
  offset_too_old: 410,
  body_too_large: 413,
  wrong_content_type: 415,
  too_many_calls: 429,
  too_many_streams: 429,
  too_many_waits: 429,
  internal: 500,
  no_cluster: 503,
  stopped: 503,
  store_lost: 503,
  store_refused: 503,
} as const

/** Every code that an answer of the door may have. */
export type AnswerCode = keyof typeof STATUS

/** The HTTP status of a code; undefined where the code is none of an answer. */
export function statusOf(code: string): number | undefined {
  return Object.hasOwn(STATUS, code) ? STATUS[code as AnswerCode] : undefined
}

/** Asked again a little later, it may be answered. */
const LATER: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  429: { 'retry-after': '1' },
  503: { 'retry-after': '1' },
}

/** A refusal of the door itself: thrown by a route, answered by `answerTo`. */
export class DoorError extends Error {
  readonly code: DoorErrorCode
  readonly headers: Readonly<Record<string, string>>
  constructor(code: DoorErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.name = 'DoorError'
    this.code = code
    this.headers = headers
  }
}

export function json(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(`${JSON.stringify(value)}\n`, {
    status,
    // Rows change: nothing may be kept. Nothing here is a page.
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    },
  })
}

/** 409 with what was expected and what was found. */
export function refused({ resource, expected, found, guard, message }: Refusal): Response {
  return json(409, { error: { code: 'refused', message, resource, expected, found, guard } })
}

/** The answer to anything that was thrown. `log` hears of what is not an answer of this system. */
export function answerTo(thrown: unknown, log: Log, about: LogFields = {}): Response {
  if (thrown instanceof DoorError) return told(thrown.code, thrown.message, {}, thrown.headers)
  if (thrown instanceof RekindleError && thrown.code in STATUS) {
    const { code, message, issues } = thrown
    return told(code as AnswerCode, message, issues.length > 0 ? { issues } : {})
  }
  if (thrown instanceof StoreError)
    return told(thrown.code in STATUS ? (thrown.code as AnswerCode) : 'store_lost', thrown.message)
  const what = thrown instanceof Error ? thrown.stack : String(thrown)
  log({
    level: 'error',
    message: `a request failed for no known reason: ${what}`,
    fields: { ...about, code: 'internal' },
  })
  return told('internal', 'it failed for no known reason; the log of the server has it')
}

function told(
  code: AnswerCode,
  message: string,
  more: object = {},
  headers: Readonly<Record<string, string>> = {},
): Response {
  const status = STATUS[code]
  return json(status, { error: { code, message, ...more } }, { ...LATER[status], ...headers })
}
