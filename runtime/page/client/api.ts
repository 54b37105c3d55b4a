// What the page asks the door: JSON in, JSON out, with the token where one is needed. It keeps the token for
// this tab alone, and says in words what went wrong.

export interface Problem {
  readonly code: string
  readonly message: string
}

export type Said<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: Problem }

const TOKEN = 'rekindle.token'

/** Set when the door asked for a token. */
export const onTokenWanted: { call: () => void } = { call: () => {} }

export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN, token)
}

export function headers(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN)
  return token === null ? {} : { authorization: `Bearer ${token}` }
}

export async function ask<T>(method: string, path: string, body?: unknown): Promise<Said<T>> {
  try {
    const response = await fetch(path, {
      method,
      headers: { ...headers(), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (response.status === 401) onTokenWanted.call()
    const said = (await response.json()) as T & { error?: Problem | null }
    // A refusal is an answer of the door with words of its own.
    if (!response.ok)
      return { ok: false, problem: said.error ?? { code: 'refused', message: String(response.status) } }
    return { ok: true, value: said }
  } catch {
    return {
      ok: false,
      problem: { code: 'unreachable', message: 'rekindle can’t be reached; the page tries again by itself' },
    }
  }
}
