// What an administrator changes of nodes and clusters: swaps of service and cluster rows, decided in machines/.
// It reads the rows it swaps from the store, never from the directory, and tries again when it lost a race.
// It claims, drives and cleans nothing itself.

import * as clusters from '../machines/cluster.ts'
import type { Types } from '../machines/decision.ts'
import { nearest } from '../machines/error.ts'
import { type ClusterRow, GONE, type Ref, type RetiredRow, refOf, type ServiceRow } from '../machines/row.ts'
import * as services from '../machines/service.ts'
import {
  type Change,
  type Expectation,
  type Filter,
  keyOf,
  type Store,
  type StoredRow,
} from '../store/store.ts'
import { type Refusal, refusal, shown } from './accept.ts'
import type {
  AdminAnswer,
  Administration,
  CleanupFilter,
  CleanupReport,
  ClusterStatus,
  NodeView,
  Renaming,
} from './api.ts'
import { cleanNow } from './cleaning.ts'
import type { CleanupPorts } from './cleanup.ts'
import { clusterKey } from './commit.ts'
import { RekindleError } from './error.ts'
import type { Logger } from './log.ts'
import { isPlaceName } from './node.ts'
import { listAll, retiredKey } from './registration.ts'
import { mark, type NotMarked, whyNotMarked } from './renaming.ts'
import type { Views } from './views.ts'

export interface AdministrationPorts {
  /** One call through the api: counted while it is under way, so that a stop answers it. */
  readonly call: <A>(run: (ports: CleanupPorts) => Promise<A>) => Promise<A>
  /** Moves what carries the old name of any cluster; resolves when it has moved. */
  readonly rename: () => Promise<void>
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

  removeNode(name: string): Promise<AdminAnswer<{ node: NodeView }>> {
    return this.#ports.call(async ({ store, types }) => {
      for (;;) {
        const service = await serviceOf(store, name)
        const view = this.#ports.views.node(service)
        const refused = await this.#forget(store, types, service)
        if (refused === 'changed') continue
        return refused ?? { ok: true, node: view }
      }
    })
  }

  removeCluster(
    topic: string,
    options: { readonly recursive?: boolean } = {},
  ): Promise<AdminAnswer<{ cluster: ClusterStatus; nodes: readonly NodeView[] }>> {
    return this.#ports.call(async ({ store, types }) => {
      for (;;) {
        const row = await rawCluster(store, topic)
        const cluster = await this.#ports.views.cluster(row)
        const nodes = await servicesOf(store, topic)
        const views = nodes.map((service) => this.#ports.views.node(service))
        const rows = await rowsOfCluster(store, types, topic)
        const refuse = (expected: string, found: string, why: string) =>
          no('remove', row, expected, found, why)
        const running = nodes.filter(({ state }) => state !== 'down')
        if (total(rows) > 0) return refuse('no rows', inWords(rows), `it has ${inWords(rows)}`)
        if (running.length > 0) {
          const found = running.map(({ host, state }) => `${host} is ${state}`).join(', ')
          return refuse('no node that runs', found, `${found}; stop it first`)
        }
        if (nodes.length > 0 && options.recursive !== true) {
          const found = nodes.map(({ host }) => host).join(', ')
          return refuse('no nodes', found, `it has the nodes ${found}; recursive removes them first`)
        }
        for (const service of nodes) {
          const refused = await this.#forget(store, types, service)
          if (refused !== null && refused !== 'changed') return refused
        }
        if ((await servicesOf(store, topic)).length > 0) continue
        const key = keyOf(row)
        if (!(await store.transact([{ key, version: row.version }], [{ remove: key }])).ok) continue
        // A node that registered or a row that was accepted between the look and the swap keeps its cluster.
        const late = await rowsOfCluster(store, types, topic)
        if (total(late) > 0 || (await servicesOf(store, topic)).length > 0) {
          await swap(store, { ...row, version: 1 })
          continue
        }
        this.#ports.log.info(`${topic} was removed by an administrator`, { topic })
        return { ok: true, cluster, nodes: views }
      }
    })
  }

  async renameCluster(
    from: string,
    to: string,
    options: { readonly dry_run?: boolean; readonly merge?: boolean } = {},
  ): Promise<AdminAnswer<{ renaming: Renaming }>> {
    checkName(from, to)
    const asked = await this.#ports.call(async ({ store, types }) => {
      const row = await rawCluster(store, from)
      if (options.dry_run === true) {
        const why = row.renamed_to === to ? null : await whyNotMarked(store, { from, to }, options.merge)
        return why === null ? await renamingOf(store, types, from, to) : refuseRename(row, why)
      }
      const why = await mark(store, { from, to }, options.merge === true)
      if (why === null) this.#ports.log.info(`${from} is being renamed to ${to}`, { topic: to })
      return why === null ? null : refuseRename(row, why)
    })
    if (asked !== null && 'ok' in asked) return asked
    if (asked !== null) return { ok: true, renaming: asked }
    // Not counted as a call under way: a stop does not wait for it, the next start goes on with it.
    await this.#ports.rename()
    return this.#ports.call(async ({ store, types }) => ({
      ok: true,
      renaming: await renamingOf(store, types, from, to),
    }))
  }

  cleanup(filter: CleanupFilter = {}): Promise<AdminAnswer<CleanupReport>> {
    return this.#ports.call(async (ports) => {
      const report = await cleanNow(ports, (service) => this.#ports.views.node(service), filter)
      return { ok: true, ...report }
    })
  }

  /** Forgets a node that is down and has nothing; else says why not, or that somebody changed it meanwhile. */
  async #forget(store: Store, types: Types, service: ServiceRow): Promise<Refusal | 'changed' | null> {
    const { host, backend, incarnation, state } = service
    const address = `${host}@${backend}`
    const refuse = (expected: string, found: string, why: string) =>
      no('remove', { kind: 'node', id: address }, expected, found, why)
    if (state !== 'down') return refuse('down', state, `it is ${state}; stop it first`)
    const claims = await counted(store, types, {
      worker: address,
      taken: true,
      incarnation_up_to: incarnation,
    })
    if (total(claims) > 0)
      return refuse(
        'no rows',
        inWords(claims),
        `it is the worker of ${inWords(claims)}, which are not put right yet`,
      )
    const [beat, found] = await Promise.all([store.get(`beat/${service.id}`), store.get(retiredKey(address))])
    const retired = services.retired(service, (found as RetiredRow | undefined) ?? null)
    const expect = [
      { key: keyOf(service), version: service.version },
      { key: `beat/${service.id}`, version: beat?.version ?? 0 },
      { key: keyOf(retired), version: retired.version - 1 },
    ]
    const changes: Change[] = [{ remove: keyOf(service) }, { put: retired as unknown as StoredRow }]
    if (beat !== undefined) changes.push({ remove: keyOf(beat) })
    if (!(await store.transact(expect, changes)).ok) return 'changed'
    this.#ports.log.info(`${service.id} was removed by an administrator`, { node: address })
    return null
  }

  // ---- one row, one swap ----

  #changeNode(
    name: string,
    what: string,
    change: (service: ServiceRow) => ServiceRow | null,
  ): Promise<AdminAnswer<{ node: NodeView }>> {
    return this.#ports.call(async ({ store }) => {
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
    return this.#ports.call(async ({ store }) => {
      for (;;) {
        const row = await clusterOf(store, topic)
        const next = change(row)
        // What has not moved here yet from an earlier name is under the same rules.
        const earlier = (await listAll<ClusterRow>(store, 'cluster'))
          .filter(({ renamed_to }) => renamed_to === topic)
          .flatMap((one) => change(one) ?? [])
        const all = [...(next === null ? [] : [next]), ...earlier]
        if (all.length > 0 && !(await swap(store, ...all))) continue
        if (next !== null) this.#ports.log.info(`${topic} was ${what} by an administrator`, { topic })
        return { ok: true, cluster: await this.#ports.views.cluster(next ?? row) }
      }
    })
  }
}

/** The next versions of some rows, all or none; false where somebody changed one meanwhile. */
async function swap(store: Store, ...next: readonly (ServiceRow | ClusterRow)[]): Promise<boolean> {
  const expect: Expectation[] = next.map((row) => ({ key: keyOf(row), version: row.version - 1 }))
  return (
    await store.transact(
      expect,
      next.map((row) => ({ put: row as unknown as StoredRow })),
    )
  ).ok
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

/** A refusal of an administrator's action. */
function no(asked: string, of: Ref, expected: string, found: string, why: string): Refusal {
  const resource = refOf(of)
  const refused = { accepted: false as const, resource, expected: [expected], found, guard: null, why }
  return refusal(asked, resource, refused)
}

async function servicesOf(store: Store, topic: string): Promise<readonly ServiceRow[]> {
  const all = await listAll<ServiceRow>(store, 'service')
  return all.filter(({ cluster, backend }) => `${cluster}@${backend}` === topic)
}

type Counts = { readonly [kind: string]: number }

/** How many rows match, by kind; kinds without any are left out. */
export async function counted(store: Store, types: Types, filter: Filter): Promise<Counts> {
  const counts: [string, number][] = []
  for (const kind of types.keys()) counts.push([kind, await store.count({ ...filter, kind })])
  return Object.fromEntries(counts.filter(([, count]) => count > 0))
}

/** What belongs to a cluster or waits for it. What is gone keeps nobody: it only tells that it is. */
async function rowsOfCluster(store: Store, types: Types, topic: string): Promise<Counts> {
  const rows = await counted(store, types, { cluster: topic })
  const gone = await counted(store, types, { cluster: topic, status: GONE })
  const queued = await counted(store, types, { worker: topic, taken: false })
  const left = Object.entries(rows).map(([kind, count]) => [kind, count - (gone[kind] ?? 0)] as const)
  return { ...queued, ...Object.fromEntries(left.filter(([, count]) => count > 0)) }
}

const total = (counts: Counts): number => Object.values(counts).reduce((sum, count) => sum + count, 0)

function inWords(counts: Counts): string {
  return Object.entries(counts)
    .map(([kind, count]) => `${count} ${kind}${count === 1 ? '' : 's'}`)
    .join(', ')
}

/** The row of a cluster that has this name now; throws `unknown_cluster`. */
async function clusterOf(store: Store, topic: string): Promise<ClusterRow> {
  const row = await rawCluster(store, topic)
  if (row.renamed_to === undefined) return row
  throw new RekindleError(
    'unknown_cluster',
    `there is no cluster '${shown(topic)}': it was renamed to ${row.renamed_to}`,
  )
}

/** The row of a cluster that has this name or had it; throws `unknown_cluster`. */
async function rawCluster(store: Store, topic: string): Promise<ClusterRow> {
  const row = (await store.get(clusterKey(String(topic)))) as ClusterRow | undefined
  if (row !== undefined) return row
  const all = await listAll<ClusterRow>(store, 'cluster')
  const known = all.filter(({ renamed_to }) => renamed_to === undefined).map(({ id }) => id)
  throw new RekindleError(
    'unknown_cluster',
    `there is no cluster '${shown(topic)}'${nearest(String(topic), known)}; known: ${known.join(', ') || 'none'}`,
  )
}

function refuseRename(row: ClusterRow, { expected, found, why }: NotMarked): Refusal {
  return no('rename', row, expected, found, why)
}

/** What still has the old name. */
async function renamingOf(store: Store, types: Types, from: string, to: string): Promise<Renaming> {
  const rows = await counted(store, types, { cluster: from })
  const queued = await counted(store, types, { worker: from, taken: false })
  const nodes = (await servicesOf(store, from)).map(({ host }) => host)
  const row = (await store.get(clusterKey(from))) as ClusterRow | undefined
  const left = total(rows) + total(queued)
  const done = row?.renamed_to === to && row.renaming === 'done' && left === 0
  return { from, to, rows: { ...queued, ...rows }, nodes, done }
}

/** A name is given within a backend: the rows stay where they are. */
function checkName(from: string, to: string): void {
  const bad = (message: string) =>
    new RekindleError('bad_input', `bad input for a renaming: to: ${message}`, {
      issues: [{ path: 'to', message }],
    })
  const [cluster, backend, ...more] = String(to).split('@')
  if (more.length > 0 || !isPlaceName(cluster) || !isPlaceName(backend))
    throw bad(
      `'${shown(to)}' is no cluster@backend: each is 1 to 63 letters, digits, '_', '.' or '-', and begins with a letter or digit`,
    )
  if (from === to) throw bad(`'${shown(to)}' is its name already`)
  const own = String(from).split('@')[1]
  if (backend !== own)
    throw bad(
      `'${shown(to)}' is of the backend ${backend}, ${shown(from)} of ${own}: a renaming moves no data`,
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
