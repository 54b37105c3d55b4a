// A witness of a torture run: follows the event stream across kills and checks, for every resource, that
// versions grow by one, fences never fall, and that no two claims have one fence. It only watches.

import type { ResourceRow } from '../../machines/row.ts'

interface Seen {
  version: number
  fence: number
}

export class Witness {
  claims = 0
  readonly #url: string
  readonly #faults: string[]
  readonly #seen = new Map<string, Seen>()
  /** By `key#fence`: who claimed with it. */
  readonly #claimants = new Map<string, string>()
  #offset: string | null = null
  #closed = false
  #following: Promise<void> = Promise.resolve()
  #controller = new AbortController()

  constructor(url: string, faults: string[]) {
    this.#url = url
    this.#faults = faults
  }

  connect(): void {
    this.#following = this.#follow()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#controller.abort()
    await this.#following
  }

  /** The rows at the end must be the last that were told, or later. */
  check(rows: ReadonlyMap<string, ResourceRow>): void {
    for (const [key, { version }] of this.#seen) {
      const row = rows.get(key)
      if (row !== undefined && row.version < version)
        this.#faults.push(
          `durable_is_visible: ${key} was shown at version ${version} and is at ${row.version}`,
        )
    }
  }

  async #follow(): Promise<void> {
    while (!this.#closed) {
      try {
        const headers = this.#offset === null ? {} : { 'last-event-id': this.#offset }
        const response = await fetch(`${this.#url}/events`, { headers, signal: this.#controller.signal })
        // Too old after a reopening: what was missed can't be told again; go on from now.
        if (response.status === 410) this.#offset = null
        if (response.ok && response.body !== null) await this.#read(response.body)
      } catch {
        // Killed meanwhile; connect again.
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true })
      const messages = text.split('\n\n')
      text = messages.pop()!
      for (const message of messages) this.#take(message)
    }
  }

  #take(message: string): void {
    const field = (name: string) =>
      message
        .split('\n')
        .find((line) => line.startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim()
    const id = field('id')
    const data = field('data')
    if (data === undefined) return
    const event = JSON.parse(data) as { type: string; row?: ResourceRow }
    if (event.type === 'change' && event.row != null && event.row.fence !== undefined) this.#see(event.row)
    if (id !== undefined) this.#offset = id
  }

  #see(row: ResourceRow): void {
    const key = `${row.kind}/${row.id}`
    const before = this.#seen.get(key)
    if (before !== undefined && row.version > before.version && row.fence < before.fence)
      this.#faults.push(`fence_grows: ${key} fell from fence ${before.fence} to ${row.fence}`)
    if (before === undefined || row.version > before.version)
      this.#seen.set(key, { version: row.version, fence: row.fence })
    if (row.incarnation === null || row.worker === null) return
    this.claims++
    const claim = `${key}#${row.fence}`
    const claimant = `${row.worker} life ${row.incarnation}`
    const other = this.#claimants.get(claim)
    if (other !== undefined && other !== claimant)
      this.#faults.push(
        `one_worker: ${key} was worked on with fence ${row.fence} by ${other} and by ${claimant}`,
      )
    this.#claimants.set(claim, claimant)
  }
}
