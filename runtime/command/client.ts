// Asks a running `serve` over its HTTP door, and turns what it answers into an exit code.

// Not from the index: asking needs nothing of the runtime, and starts at once.
import { type Environment, realEnvironment } from '../environment.ts'
import type { ResourceRow, RuntimeEvent } from '../index.ts'
import { EXIT, Exit, usage } from './exit.ts'

export interface Settlement {
  readonly id: string
  readonly repeated: boolean
  readonly outcome: 'accepted' | 'done' | 'failed'
  readonly error: ResourceRow['error']
  readonly row: ResourceRow
}

export interface Ask {
  readonly body?: object
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export class Client {
  readonly url: string
  readonly environment: Environment

  readonly #token: string | null

  constructor(
    url: string,
    {
      environment = realEnvironment(),
      token = null,
    }: { environment?: Environment; token?: string | null } = {},
  ) {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw usage(`'${url}' is not the URL of a rekindle serve, such as http://127.0.0.1:7878`)
    this.url = url.replace(/\/+$/, '')
    this.environment = environment
    this.#token = token
  }

  /** The JSON of a good answer. Throws Exit for any other. */
  async ask<A>(method: 'GET' | 'POST', path: readonly string[], asked: Ask = {}): Promise<A> {
    const answer = await this.#fetch(method, path, asked)
    let value: unknown
    try {
      value = await answer.json()
    } catch (error) {
      if (asked.signal?.aborted) throw error
      throw this.#unreachable(`what answers at ${this.url} is not rekindle`)
    }
    if (answer.ok) return value as A
    throw exitFor(answer.status, value, this.url)
  }

  /**
   * The change feed from `from` on, or from now. Ends when the connection does. `last.id` is where to come
   * back to; `onOpen` is called when from here on nothing is missed.
   */
  async *events(
    query: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
    last: { id: string | null } = { id: null },
    onOpen: () => void = () => {},
  ): AsyncGenerator<RuntimeEvent> {
    const headers: Record<string, string> = last.id === null ? {} : { 'last-event-id': last.id }
    const answer = await this.#fetch('GET', ['events'], { query, headers, signal })
    if (!answer.ok) throw exitFor(answer.status, await answer.json().catch(() => null), this.url)
    onOpen()
    let rest = ''
    let data = ''
    let id: string | null = null
    for await (const piece of answer.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        if (line.startsWith('data: ')) data += line.slice(6)
        else if (line.startsWith('id: ')) id = line.slice(4)
        else if (line === '') {
          if (data !== '') yield JSON.parse(data) as RuntimeEvent
          if (id !== null) last.id = id
          data = ''
          id = null
        }
      }
    }
  }

  async #fetch(method: string, path: readonly string[], asked: Ask): Promise<Response> {
    const url = new URL(`${this.url}/${path.map(segment).join('/')}`)
    for (const [name, value] of Object.entries(asked.query ?? {}))
      if (value !== undefined) url.searchParams.set(name, value)
    const headers = {
      ...asked.headers,
      ...(asked.body && { 'content-type': 'application/json' }),
      ...(this.#token !== null && { authorization: `Bearer ${this.#token}` }),
    }
    try {
      return await fetch(url, {
        method,
        headers,
        redirect: 'manual',
        ...(asked.body && { body: JSON.stringify(asked.body) }),
        ...(asked.signal && { signal: asked.signal }),
      })
    } catch (error) {
      if (asked.signal?.aborted) throw error
      const cause = (error as { cause?: { code?: string; message?: string } }).cause
      throw this.#unreachable(
        `no rekindle answers at ${this.url} (${cause?.code ?? cause?.message ?? (error as Error).message}); start one with 'rekindle serve', or say where with --url`,
      )
    }
  }

  #unreachable(message: string): Exit {
    return new Exit(EXIT.unreachable, message, { code: 'unreachable' })
  }
}

/** A part of a path. A URL can't carry a dot alone: it would name another place. */
function segment(part: string): string {
  if (part === '' || part === '.' || part === '..')
    throw usage(`'${part}' can't be a kind, id, operation or host`)
  return encodeURIComponent(part)
}

function exitFor(status: number, value: unknown, url: string): Exit {
  const error = (value as { error?: { code?: unknown; message?: unknown } } | null)?.error
  if (typeof error?.message !== 'string' || typeof error.code !== 'string')
    return new Exit(EXIT.unreachable, `what answers at ${url} is not rekindle (status ${status})`, {
      code: 'unreachable',
    })
  return new Exit(exitCodeFor(status, error.code), error.message, error as Record<string, unknown>)
}

function exitCodeFor(status: number, code: string): number {
  if (status === 409 || status === 403 || code === 'no_cluster') return EXIT.refused
  if (status === 503 || status === 429) return EXIT.unreachable
  return status < 500 ? EXIT.usage : EXIT.failed
}
