// The load of the night: clients that make, publish and remove sites all night long, each repeating what was not
// answered under the same request id, as a careful client does; and the ledger of what they were promised.

import { setTimeout as pause } from 'node:timers/promises'
import type { Reply, World } from './world.ts'

/** What one client knows of one site of its own. */
interface Site {
  readonly id: string
  revision: number
  removed: boolean
}

export class Load {
  readonly sites: Site[] = []
  /** Operations that were accepted and ended well. */
  done = 0
  /** Asked again because no answer came or the server could not take it just then. */
  repeated = 0
  /** Deletes that a frozen cluster refused. */
  refusedByFreeze = 0
  /** Everything that need not have been. */
  readonly faults: string[] = []
  readonly #world: World
  readonly #clients: Promise<void>[]
  #stopping = false
  #asked = 0

  constructor(world: World, clients: number) {
    this.#world = world
    this.#clients = Array.from({ length: clients }, (_, number) => this.#client(number))
  }

  /** Every client ends what it has begun. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#clients)
  }

  /** Resolves when so many more operations have ended well. */
  async more(count: number, within_ms = 60_000): Promise<void> {
    const wanted = this.done + count
    await this.#world.until(`${count} more operations of the load end`, () => this.done >= wanted, within_ms)
  }

  /** One site after the other: made, published some times, and every second one removed. */
  async #client(number: number): Promise<void> {
    for (let round = 0; !this.#stopping; round++) {
      const made = await this.#ask('/resources/site', { name: `c${number}-${round}` })
      if (made === null) continue
      const site: Site = { id: String(made.body.id), revision: 0, removed: false }
      this.sites.push(site)
      for (let revision = 1; revision <= 3 && !this.#stopping; revision++)
        if ((await this.#ask(`/resources/site/${site.id}/publish`, { revision })) !== null)
          site.revision = revision
      if (round % 2 === 0 && (await this.#ask(`/resources/site/${site.id}/remove`, {})) !== null)
        site.removed = true
    }
  }

  /** Asks until it is answered. Null where it was refused, or failed. */
  async #ask(path: string, body: object): Promise<Reply | null> {
    const id = `night-${++this.#asked}`
    for (;;) {
      const reply = await this.#world.call('POST', `${path}?wait=10&request_id=${id}`, body)
      const code = (reply?.body.error as { code?: string } | null | undefined)?.code
      if (reply === null || reply.status === 503 || reply.status === 429 || reply.status === 202) {
        this.repeated++
        await pause(reply?.status === 202 ? 0 : 100)
        continue
      }
      if (reply.status === 200 && reply.body.outcome === 'done') {
        this.done++
        return reply
      }
      if (reply.status === 409 && path.endsWith('/remove') && this.#world.isFrozen) {
        this.refusedByFreeze++
        return null
      }
      this.faults.push(
        `${path} ${JSON.stringify(body)}: ${reply.status} ${code ?? JSON.stringify(reply.body)}`,
      )
      return null
    }
  }
}
