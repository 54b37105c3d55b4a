// What an administrator changes of nodes and clusters: swaps of service and cluster rows, decided in machines/.
// It reads the rows it swaps from the store, never from the directory, and tries again when it lost a race.
// It claims, drives and cleans nothing itself.

import * as clusters from '../machines/cluster.ts'
import { nearest } from '../machines/error.ts'
import type { ClusterRow, ServiceRow } from '../machines/row.ts'
import * as services from '../machines/service.ts'
import { type Expectation, keyOf, type Store, type StoredRow } from '../store/store.ts'
import { shown } from './accept.ts'
import type { AdminAnswer, Administration, ClusterStatus, NodeView } from './api.ts'
import { clusterKey } from './commit.ts'
import { RekindleError } from './error.ts'
import type { Logger } from './log.ts'
import { listAll } from './registration.ts'
import type { Views } from './views.ts'

export interface AdministrationPorts {
  /** One call through the api: counted while it is under way, so that a stop answers it. */
  readonly call: <A>(run: (store: Store) => Promise<A>) => Promise<A>
  readonly views: Views
  readonly log: Logger
}

/** Characters of a reason that a row keeps. */
const MOST_REASON = 255

export class Administrator implements Administration {
  readonly #ports: AdministrationPorts

  constructor(ports: AdministrationPorts) {
    this.#ports = ports
  }

  async disableNode(node: string, reason?: string): Promise<AdminAnswer<{ node: NodeView }>> {
    const why = checkedReason(reason)
    return this.#changeNode(node, 'disabled', (service) => services.disabled(service, why))
  }

  enableNode(node: string): Promise<AdminAnswer<{ node: NodeView }>> {
    return this.#changeNode(node, 'enabled', services.enabled)
  }

  async disableCluster(topic: string, reason?: string): Promise<AdminAnswer<{ cluster: ClusterStatus }>> {
    const why = checkedReason(reason)
    return this.#changeCluster(topic, 'disabled', (row) => clusters.disabled(row, why))
  }

  enableCluster(topic: string): Promise<AdminAnswer<{ cluster: ClusterStatus }>> {
    return this.#changeCluster(topic, 'enabled', clusters.enabled)
  }

  async freezeCluster(topic: string, reason?: string): Promise<AdminAnswer<{ cluster: ClusterStatus }>> {
    const why = checkedReason(reason)
    return this.#changeCluster(topic, 'frozen', (row) => clusters.frozen(row, why))
  }

  thawCluster(topic: string): Promise<AdminAnswer<{ cluster: ClusterStatus }>> {
    return this.#changeCluster(topic, 'thawed', clusters.thawed)
  }

  // ---- one row, one swap ----

  #changeNode(
    name: string,
    what: string,
    change: (service: ServiceRow) => ServiceRow | null,
  ): Promise<AdminAnswer<{ node: NodeView }>> {
    return this.#ports.call(async (store) => {
      for (;;) {
        const service = await serviceOf(store, name)
        const next = change(service)
        if (next !== null && !(await swap(store, next))) continue
        if (next !== null)
          this.#ports.log.info(`${service.id} was ${what} by an administrator`, {
            node: `${service.host}@${service.backend}`,
            topic: `${service.cluster}@${service.backend}`,
          })
        return { ok: true, node: this.#ports.views.node(next ?? service) }
      }
    })
  }

  #changeCluster(
    topic: string,
    what: string,
    change: (row: ClusterRow) => ClusterRow | null,
  ): Promise<AdminAnswer<{ cluster: ClusterStatus }>> {
    return this.#ports.call(async (store) => {
      for (;;) {
        const row = await clusterOf(store, topic)
        const next = change(row)
        if (next !== null && !(await swap(store, next))) continue
        if (next !== null) this.#ports.log.info(`${topic} was ${what} by an administrator`, { topic })
        return { ok: true, cluster: await this.#ports.views.cluster(next ?? row) }
      }
    })
  }
}

/** The next version of one row; false where somebody changed it meanwhile. */
async function swap(store: Store, next: ServiceRow | ClusterRow): Promise<boolean> {
  const expect: Expectation[] = [{ key: keyOf(next), version: next.version - 1 }]
  return (await store.transact(expect, [{ put: next as unknown as StoredRow }])).ok
}

/**
 * The service row that is named by `host`, `host@backend` or `cluster@backend@host`. Where a host@backend was in
 * several clusters, its latest life's. Throws `unknown_node`.
 */
async function serviceOf(store: Store, name: string): Promise<ServiceRow> {
  const all = await listAll<ServiceRow>(store, 'service')
  const addressOf = ({ host, backend }: ServiceRow) => `${host}@${backend}`
  const named = all.filter((one) => one.id === name || one.host === name || addressOf(one) === name)
  const addresses = [...new Set(named.map(addressOf))]
  if (addresses.length === 1)
    return named.reduce((latest, one) => (one.incarnation > latest.incarnation ? one : latest))
  const hint =
    addresses.length > 1
      ? `; say which: ${addresses.join(', ')}`
      : nearest(
          name,
          all.flatMap((one) => [one.host, addressOf(one)]),
        )
  throw new RekindleError('unknown_node', `there is no node '${shown(name)}'${hint}`)
}

/** The row of a cluster; throws `unknown_cluster`. */
async function clusterOf(store: Store, topic: string): Promise<ClusterRow> {
  const row = (await store.get(clusterKey(String(topic)))) as ClusterRow | undefined
  if (row !== undefined) return row
  const known = (await listAll<ClusterRow>(store, 'cluster')).map(({ id }) => id)
  throw new RekindleError(
    'unknown_cluster',
    `there is no cluster '${shown(topic)}'${nearest(String(topic), known)}; known: ${known.join(', ') || 'none'}`,
  )
}

function checkedReason(reason: string | undefined): string | null {
  if (reason === undefined || reason === '') return null
  if (typeof reason !== 'string' || reason.length > MOST_REASON || /[\u0000-\u001f\u007f]/.test(reason))
    throw new RekindleError(
      'bad_input',
      `the reason '${shown(reason)}' can't be kept: at most ${MOST_REASON} characters, none of them a control character`,
      { issues: [{ path: 'reason', message: `must be text of at most ${MOST_REASON} characters` }] },
    )
  return reason
}
