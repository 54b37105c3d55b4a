// The body of a request: JSON of bounded size and depth, an object, without names that mean something to
// the language. Whatever else it must be, its operation's schema says.

import { RekindleError } from '../index.ts'
import { DoorError } from './answer.ts'

export const MOST_BODY_BYTES = 1 << 20
const MOST_DEPTH = 64
const NO_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

/** The body as an object; undefined where there is none. */
export async function readBody(request: Request): Promise<object | undefined> {
  const bytes = await readBytes(request)
  if (bytes.length === 0) return undefined
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? ''
  if (!/^application\/(?:[a-z0-9.-]+\+)?json$/.test(type))
    throw new DoorError(
      'wrong_content_type',
      `the body is ${type === '' ? 'of no content type' : `'${shown(type)}'`}; send JSON with 'Content-Type: application/json'`,
    )
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new DoorError('bad_json', `the body is not JSON: ${shown((error as Error).message)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw bad(
      '',
      `must be an object, not ${Array.isArray(value) ? 'a list' : value === null ? 'null' : `a ${typeof value}`}`,
    )
  checkNames(value)
  return value
}

async function readBytes(request: Request): Promise<Uint8Array> {
  const tooLarge = () =>
    new DoorError(
      'body_too_large',
      `the body has more than ${MOST_BODY_BYTES} bytes, the most that is taken`,
      {
        // What was not read of it is not worth reading.
        connection: 'close',
      },
    )
  if (Number(request.headers.get('content-length') ?? 0) > MOST_BODY_BYTES) throw tooLarge()
  if (request.body === null) return new Uint8Array()
  const pieces: Uint8Array[] = []
  let length = 0
  const reader = request.body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      length += value.length
      if (length > MOST_BODY_BYTES) throw tooLarge()
      pieces.push(value)
    }
  } catch (error) {
    if (error instanceof DoorError) {
      void reader.cancel().catch(() => {})
      throw error
    }
    throw new DoorError('bad_json', 'the body ended before it was whole')
  }
  return Buffer.concat(pieces)
}

/** Walks without recursion: a body may be as deep as it is long. */
function checkNames(body: object): void {
  const left: { value: object; path: string; depth: number }[] = [{ value: body, path: '', depth: 1 }]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { value, path, depth } = next
    if (depth > MOST_DEPTH) throw bad('', `is nested deeper than ${MOST_DEPTH}`)
    for (const [name, inner] of Object.entries(value)) {
      const where = path === '' ? name : `${path}.${name}`
      if (NO_NAMES.has(name)) throw bad(where, `'${name}' can't be the name of a field`)
      if (typeof inner === 'object' && inner !== null)
        left.push({ value: inner, path: where, depth: depth + 1 })
    }
  }
}

export function bad(path: string, message: string): RekindleError {
  const where = shown(path)
  return new RekindleError('bad_input', `bad input: ${where === '' ? 'the body' : `${where}:`} ${message}`, {
    issues: [{ path: where, message }],
  })
}

/** Text of a caller as it may stand in an answer: bounded, without control characters. */
export function shown(text: string): string {
  const plain = text.replace(/[^\x20-\x7e]/g, '?')
  return plain.length > 120 ? `${plain.slice(0, 120)}…` : plain
}
