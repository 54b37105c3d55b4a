// Keeps one world up to date: opens its feed, reads its rows page by page, comes back where it was after a
// break. It says at once when nothing arrives any longer: what is shown then may be stale.

import type { Hello } from '../feed.ts'
import type { Batch } from '../recorder.ts'
import { ask, headers, onTokenWanted } from './api.ts'
import type { Brief, Caption, Kind, Pulse, World } from './model.ts'

/** The server speaks once a second. */
const SILENCE_MS = 3_500
const AGAIN_MS = 1_000

export class Connection {
  readonly #world: World
  readonly #query: string
  #abort: AbortController | null = null
  #quiet: ReturnType<typeof setTimeout> | undefined
  #again: ReturnType<typeof setTimeout> | undefined
  #isClosed = false

  constructor(world: World, name: 'real' | 'story') {
    this.#world = world
    this.#query = name === 'story' ? 'world=story' : ''
    void this.#open()
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#quiet)
    clearTimeout(this.#again)
    this.#abort?.abort()
  }

  async #open(): Promise<void> {
    const world = this.#world
    const abort = new AbortController()
    this.#abort = abort
    const from = world.loaded ? `&from=${world.offset}` : ''
    this.#listen()
    try {
      const response = await fetch(`/page/feed?${this.#query}${from}`, {
        headers: headers(),
        signal: abort.signal,
      })
      if (response.status === 401) onTokenWanted.call()
      if (!response.ok || response.body === null) throw new Error(String(response.status))
      await this.#read(response.body)
    } catch {
      // Told below, whatever it was.
    }
    if (this.#isClosed || this.#abort !== abort) return
    this.#lost()
    clearTimeout(this.#again)
    this.#again = setTimeout(() => void this.#open(), AGAIN_MS)
  }

  #listen(): void {
    clearTimeout(this.#quiet)
    this.#quiet = setTimeout(() => {
      // The connection may be half open: the next one will tell.
      this.#lost()
      this.#abort?.abort()
    }, SILENCE_MS)
  }

  #lost(): void {
    clearTimeout(this.#quiet)
    const world = this.#world
    if (world.liveness === 'live') world.lostAt = Date.now()
    world.liveness = world.liveness === 'connecting' ? 'connecting' : 'lost'
    world.tell()
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    const reader = body.getReader()
    let text = ''
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      this.#listen()
      text += decoder.decode(value, { stream: true })
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        this.#take(text.slice(0, end))
        text = text.slice(end + 2)
      }
    }
  }

  #take(message: string): void {
    const line = message.indexOf('\ndata: ')
    const event = message.slice('event: '.length, line)
    const data: unknown = JSON.parse(message.slice(line + '\ndata: '.length))
    const world = this.#world
    world.liveness = 'live'
    world.lostAt = null
    if (event === 'hello') {
      const hello = data as Hello
      if (hello.is_anew || !world.loaded) {
        world.clear()
        void this.#load()
      }
      world.hello(hello)
    } else if (event === 'batch') world.apply((data as Batch).steps)
    else if (event === 'pulse') {
      world.pulse = data as Pulse
      if (world.pulse.state !== 'open') world.liveness = 'lost'
      world.tell()
    } else if (event === 'caption') {
      world.caption = data as Caption
      world.tell()
    }
  }

  async #load(): Promise<void> {
    const world = this.#world
    const kinds = await ask<{ kinds: Kind[] }>('GET', `/page/kinds?${this.#query}`)
    if (!kinds.ok) return
    world.kinds = kinds.value.kinds
    for (const { kind } of world.kinds) {
      let after: string | null = null
      do {
        const place: string = after === null ? '' : `&after=${encodeURIComponent(after)}`
        const page: Awaited<ReturnType<typeof ask<Wire>>> = await ask<Wire>(
          'GET',
          `/page/rows/${kind}?${this.#query}${place}`,
        )
        if (!page.ok || this.#isClosed) return
        const { fields, rows, next } = page.value
        world.load(
          rows.map(
            (row) => Object.fromEntries(fields.map((field, i) => [field, row[i]])) as unknown as Brief,
          ),
        )
        after = next
      } while (after !== null)
    }
    world.settle()
  }
}

interface Wire {
  readonly fields: readonly string[]
  readonly rows: readonly (readonly unknown[])[]
  readonly next: string | null
}
