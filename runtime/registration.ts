// What a life of a node writes of itself: its service row (registered, up, signed off), its beat row, and
// the row of its cluster. Every write is a compare-and-swap that fails once another life has registered or
// this one was declared down (rules R2, R5, R11). It decides nothing about when.

import { newCluster } from '../machines/cluster.ts'
import type { BeatRow, Capabilities, ClusterRow, RetiredRow, ServiceRow } from '../machines/row.ts'
import { type Identity, registered, runningLife, whyNotOf } from '../machines/service.ts'
import { type Key, keyOf, type Store, type StoredRow } from '../store/store.ts'
import type { Clock } from './clock.ts'
import type { Environment } from './environment.ts'
import type { Logger } from './log.ts'
import type { NodeConfig } from './node.ts'
import type { Settings } from './settings.ts'

export interface RegistrationPorts {
  readonly environment: Environment
  readonly clock: Clock
  readonly store: Store
  readonly settings: Settings
  /** The last incarnation of this host@backend that ended in this process: it needs no watching; 0 for none. */
  readonly endedHere: number
  /**
   * What this process was told of the row of its cluster, and of what was forgotten of its address. Older than what
   * is there, the swap conflicts and it looks again.
   */
  readonly told: (
    topic: string,
    address: string,
  ) => { readonly cluster: ClusterRow | undefined; readonly retired: RetiredRow | undefined }
  /** The life ended meanwhile. */
  readonly isOver: () => boolean
  readonly log: Logger
}

/** What a driver said of its backend, and when it was asked. */
export interface Report {
  readonly capabilities: Capabilities | null
  /** By this node's clock; for people. */
  readonly reported_at: number
  /** The last commit before the driver was asked: whatever is durable up to there is counted in it. */
  readonly reported_offset: number
}

export class Registration {
  /** `cluster@backend`. */
  readonly topic: string
  /** `host@backend`. */
  readonly address: string
  /** `cluster@backend@host`. */
  readonly id: string
  readonly serviceKey: Key
  incarnation: number | null = null
  /** It was refused since its cluster has another name now. */
  hasOldName = false
  readonly #config: NodeConfig
  readonly #ports: RegistrationPorts

  constructor(config: NodeConfig, ports: RegistrationPorts) {
    this.#config = config
    this.#ports = ports
    this.topic = topicOf(config)
    this.address = `${config.host}@${config.backend}`
    this.id = `${this.topic}@${config.host}`
    this.serviceKey = `service/${this.id}`
  }

  /** The driver can fence or undo, so that a cleanup of its claims is a claimed step. */
  get cleansAtBackend(): boolean {
    return this.#config.driver.fence !== undefined || this.#config.driver.undo !== undefined
  }

  get #identity(): Identity {
    const { backend, host } = this.#config
    const cluster = this.topic.slice(0, this.topic.indexOf('@'))
    return { id: this.id, cluster, backend, host, cleans_at_backend: this.cleansAtBackend }
  }

  /**
   * Takes the next incarnation of this host@backend, whatever cluster its earlier lives were in. Resolves with
   * the reason where another life is up (rule R11), else with null.
   */
  async register(): Promise<string | null> {
    const { store, environment, settings } = this.#ports
    for (;;) {
      const services = await this.#ownServices()
      const running = store.exclusive ? undefined : runningLife(services, this.#ports.endedHere)
      if (running !== undefined && !(await this.#isSilent(running))) {
        return `${this.address} runs already, in life ${running.incarnation} as ${running.id}: stop it first, or give this node another host`
      }
      if (this.#ports.isOver()) return 'it was stopped'
      const { cluster, retired } = this.#ports.told(this.topic, this.address)
      if (cluster?.renamed_to !== undefined) {
        this.hasOldName = true
        const name = cluster.renamed_to.slice(0, cluster.renamed_to.indexOf('@'))
        return `${this.address}: the cluster ${this.topic} was renamed to ${cluster.renamed_to}: give this node the cluster '${name}', or remove ${this.topic} to use its name anew`
      }
      const { next, ended } = registered(services, this.#identity, retired ?? null)
      const elsewhere = services.filter((service) => service.id !== this.id)
      for (const service of elsewhere)
        this.#ports.log.warn(
          `was in ${service.id}; resources of ${topicOfService(service)} are not moved to ${this.topic}: rekindle cluster rename ${topicOfService(service)} ${this.topic} moves them`,
        )
      const expect = services.map((service) => ({ key: keyOf(service), version: service.version }))
      if (next.version === 1) expect.push({ key: keyOf(next), version: 0 })
      // A renaming or removal of its cluster that comes between is a conflict.
      if (cluster !== undefined) expect.push({ key: keyOf(cluster), version: cluster.version })
      // Forgotten and started at once: its incarnation is above what was forgotten (rule R2).
      expect.push({ key: retiredKey(this.address), version: retired?.version ?? 0 })
      const changes = [next, ...ended].map((row) => ({ put: row as unknown as StoredRow }))
      if ((await store.transact(expect, changes)).ok) {
        this.incarnation = next.incarnation
        await this.#makeCluster()
        return null
      }
      // Someone else registered or changed a service row: look again.
      await new Promise<void>((resolve) => environment.timer(settings.heartbeat_ms / 8, resolve))
    }
  }

  async #ownServices(): Promise<ServiceRow[]> {
    const services = await listAll<ServiceRow>(this.#ports.store, 'service')
    return services.filter(
      ({ host, backend }) => host === this.#config.host && backend === this.#config.backend,
    )
  }

  /**
   * Watches a running life for down_after; true if it stood still all the while. A registration is a sign of
   * life as a beat is. A look that comes late proves nothing, so the count starts anew (rule R12).
   */
  async #isSilent(service: ServiceRow): Promise<boolean> {
    const { store, clock, environment, settings } = this.#ports
    const signs = async () => {
      const [row, beat] = await Promise.all([store.get(keyOf(service)), store.get(`beat/${service.id}`)])
      return `${row?.incarnation}/${beat?.counter}`
    }
    const before = await signs()
    let since = clock.now()
    let looked_at = since
    while (clock.now() - since < settings.down_after_ms) {
      await new Promise<void>((resolve) => environment.timer(settings.sweep_ms, resolve))
      if (this.#ports.isOver() || (await signs()) !== before) return false
      const at = clock.now()
      if (at - looked_at > 2 * settings.sweep_ms) since = at
      looked_at = at
    }
    return true
  }

  /** Two nodes may make the row of their cluster at once: one row, both go on (behaviour 57). */
  async #makeCluster(): Promise<void> {
    const made = newCluster(this.topic)
    if ((await this.#ports.store.get(keyOf(made))) !== undefined) return
    await this.#ports.store.transact(
      [{ key: keyOf(made), version: 0 }],
      [{ put: made as unknown as StoredRow }],
    )
  }

  /** Swaps the service row if it is still this life's and in this state; else says why not. */
  async swap(
    change: (service: ServiceRow) => ServiceRow,
    ...states: ServiceRow['state'][]
  ): Promise<string | null> {
    for (;;) {
      const service = await this.#service()
      const fault = whyNotOf(service, this.incarnation, ...states)
      if (fault !== null || service === undefined) return fault
      const next = { ...change(service), version: service.version + 1 } as unknown as StoredRow
      const result = await this.#ports.store.transact(
        [{ key: keyOf(service), version: service.version }],
        [{ put: next }],
      )
      if (result.ok) return null
    }
  }

  async #service(): Promise<ServiceRow | undefined> {
    return (await this.#ports.store.get(this.serviceKey)) as ServiceRow | undefined
  }

  /**
   * A durable swap of the beat row that binds the service row: it proves that the store takes writes. Resolves
   * with the reason where this life is no longer the one that is up, else with null.
   */
  async beat(report: Report | null): Promise<string | null> {
    const { store } = this.#ports
    for (;;) {
      const [service, found] = await Promise.all([this.#service(), store.get(`beat/${this.id}`)])
      const fault = whyNotOf(service, this.incarnation, 'starting', 'up')
      if (fault !== null || service === undefined) return fault
      const beat = found as BeatRow | undefined
      const next: BeatRow = {
        kind: 'beat',
        id: this.id,
        version: (beat?.version ?? 0) + 1,
        incarnation: service.incarnation,
        counter: (beat?.counter ?? 0) + 1,
        ...latest(report, beat?.incarnation === service.incarnation ? beat : undefined),
      }
      const result = await store.transact(
        [
          { key: keyOf(service), version: service.version },
          { key: keyOf(next), version: next.version - 1 },
        ],
        [{ put: next as unknown as StoredRow }],
      )
      if (result.ok) return null
    }
  }

  /** Signs off with nothing in hand: nobody needs to wait until it is declared down. */
  async leave(): Promise<void> {
    // A claim that could not be put right must not be hidden by cleanup_done (rule R6).
    const left = await this.#ports.store.count({ worker: this.address, taken: true })
    await this.swap(
      (service) => ({
        ...service,
        state: 'down',
        cleaned_incarnation: left === 0 ? service.incarnation : service.cleaned_incarnation,
      }),
      'starting',
      'up',
    )
  }
}

/** A beat that was held up must not bring back an older report of this life (behaviour 41). */
function latest(report: Report | null, found: BeatRow | undefined): Report {
  const { capabilities = null, reported_at = 0, reported_offset = 0 } = found ?? {}
  if (report !== null && report.reported_offset >= reported_offset) return report
  return { capabilities, reported_at, reported_offset }
}

function topicOfService({ cluster, backend }: ServiceRow): string {
  return `${cluster}@${backend}`
}

export const retiredKey = (address: string): Key => `retired/${address}`

/** `cluster@backend`; a node without a cluster is a cluster of its own. */
export function topicOf({ cluster, backend, host }: NodeConfig): string {
  return `${cluster ?? host}@${backend}`
}

/** All rows of a kind, or of one status of it, where there are few. */
export async function listAll<T>(store: Store, kind: string, status?: string): Promise<T[]> {
  const rows: unknown[] = []
  const filter = status === undefined ? { kind } : { kind, status }
  let after: Key | null = null
  do {
    const page: { rows: readonly StoredRow[]; next: Key | null } = await store.list(filter, { after })
    rows.push(...page.rows)
    after = page.next
  } while (after !== null)
  return rows as T[]
}
