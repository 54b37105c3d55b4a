// How the door says no: every error is `{"error": {code, message, ...}}` with the status of its code. What
// is not known here is a bug: it answers 500 without a word of the inside, and the log has it.

import { type Log, type Refusal, RekindleError, StoreError } from '../index.ts'

/** What the door refuses by itself, besides the codes of the runtime. */
export type DoorErrorCode =
  | 'bad_json'
  | 'body_too_large'
  | 'foreign'
  | 'internal'
  | 'method_not_allowed'
  | 'node_not_running'
  | 'too_many_streams'
  | 'unknown_route'
  | 'wrong_content_type'

const STATUS: Readonly<Record<string, number>> = {
  bad_input: 400,
  bad_json: 400,
  bad_request: 400,
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
  no_cluster: 503,
  stopped: 503,
  store_lost: 503,
  store_refused: 503,
  too_many_streams: 503,
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
export function answerTo(thrown: unknown, log: Log): Response {
  if (thrown instanceof DoorError)
    return json(
      STATUS[thrown.code]!,
      { error: { code: thrown.code, message: thrown.message } },
      thrown.headers,
    )
  if (thrown instanceof RekindleError) {
    const { code, message, issues } = thrown
    const status = STATUS[code]
    if (status !== undefined)
      return json(
        status,
        { error: { code, message, ...(issues.length > 0 && { issues }) } },
        status === 503 ? { 'retry-after': '1' } : {},
      )
  }
  if (thrown instanceof StoreError) {
    const { code, message } = thrown
    const status = STATUS[code] ?? 503
    return json(status, { error: { code, message } }, status === 503 ? { 'retry-after': '1' } : {})
  }
  const what = thrown instanceof Error ? thrown.stack : String(thrown)
  log({
    level: 'error',
    message: `a request failed for no known reason: ${what}`,
    fields: { code: 'internal' },
  })
  return json(500, {
    error: { code: 'internal', message: 'it failed for no known reason; the log of the server has it' },
  })
}
