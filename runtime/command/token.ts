// The token between clients and the door: where it is read from, and what it may be. It is never printed.

import { readFileSync } from 'node:fs'

/** Fewer characters can be guessed. */
const LEAST = 16

export const HOW_TO_MAKE = 'make one with: openssl rand -hex 32 > token'

/** From a file, or else from REKINDLE_TOKEN; null where there is neither. Throws words where it can't be one. */
export function tokenFrom(file: string | undefined): string | null {
  if (file !== undefined) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new Error(`${file} can't be read (${code}); ${HOW_TO_MAKE}`)
    }
    return checked(text.trim(), file)
  }
  const given = process.env.REKINDLE_TOKEN
  return given === undefined || given === '' ? null : checked(given.trim(), 'REKINDLE_TOKEN')
}

function checked(token: string, from: string): string {
  if (token.length < LEAST || token.length > 512 || !/^[\x21-\x7e]+$/.test(token))
    throw new Error(
      `${from} holds no token: ${LEAST} to 512 visible ASCII characters in one word are needed; ${HOW_TO_MAKE}`,
    )
  return token
}
