// Who may ask at all: the names under which the door is reached, the pages that may use it, and the token. It
// looks at headers alone, before a body is read or a route is sought.

import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import { RekindleError } from '../index.ts'
import { DoorError } from './answer.ts'
import { shown } from './body.ts'

export interface AccessOptions {
  /** Only this machine can reach the door. */
  readonly loopback: boolean
  /** Names by which it is reached besides its addresses; where it is not bound to loopback. */
  readonly names: readonly string[]
  readonly token: string | null
}

const LEAST_TOKEN = 16

/** Whether only this machine can reach what is bound there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/**
 * Throws `bad_settings` where a door can't be opened so: one that others can reach needs a token.
 *
 * @example
 * checkToken('0.0.0.0', undefined) // throws
 */
export function checkToken(host: string, token: string | undefined): void {
  if (token === undefined) {
    if (isLoopback(host)) return
    throw new RekindleError(
      'bad_settings',
      `${host} can be reached by others, so a token is needed: at least ${LEAST_TOKEN} visible ASCII characters, to be sent as 'Authorization: Bearer TOKEN'`,
    )
  }
  if (!/^[\x21-\x7e]+$/.test(token) || token.length < LEAST_TOKEN)
    throw new RekindleError(
      'bad_settings',
      `the token has ${token.length} characters; at least ${LEAST_TOKEN} visible ASCII characters, without blanks, are needed`,
    )
}

/** Checks each request. A refusal says nothing of what is behind it. */
export function accessFor({
  loopback,
  names,
  token,
}: AccessOptions): (request: Request, isOpen: boolean) => void {
  const expected = token === null ? null : digest(token)
  return (request, isOpen) => {
    checkName(request, loopback, names)
    if (expected === null || isOpen) return
    const [, given] = /^bearer +(\S+) *$/i.exec(request.headers.get('authorization') ?? '') ?? []
    // Digests have one length and tell nothing of how much was right, so the comparison takes one time.
    if (given === undefined || !timingSafeEqual(digest(given), expected))
      throw new DoorError(
        'unauthorized',
        given === undefined
          ? "a token is needed: send 'Authorization: Bearer TOKEN'"
          : 'the token is not the one of this door',
        { 'www-authenticate': 'Bearer realm="rekindle"' },
      )
  }
}

/** A page of elsewhere, or a name that was made to point here, is not a program of ours. */
function checkName(request: Request, loopback: boolean, names: readonly string[]): void {
  const { hostname, host } = new URL(request.url)
  const isKnown = loopback
    ? /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
    : // Nobody can make another's page speak from a bare address, so an address is as good as a known name.
      hostname === 'localhost' || isIP(hostname.replace(/^\[|\]$/g, '')) > 0 || names.includes(hostname)
  if (!isKnown)
    throw new DoorError(
      'foreign',
      `this door serves ${loopback ? 'localhost' : ['addresses', ...names].join(', ')}, not '${shown(hostname)}'`,
    )
  const origin = request.headers.get('origin')
  if (origin === null) return
  if (!URL.canParse(origin) || new URL(origin).host !== host)
    throw new DoorError('foreign', `pages of '${shown(origin)}' may not ask here`)
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
