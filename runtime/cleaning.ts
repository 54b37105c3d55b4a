// Cleaning up on demand: the claims of nodes that are down are put right now, as the next sweep would, and
// cleanups that wait after a failure are tried at once. Each row is one compare-and-swap, as in any cleanup, so
// a node that is up, or that comes back meanwhile, loses nothing (rule R2).

import { nearest } from '../machines/error.ts'
import { type Ref, type ResourceRow, refOf, type ServiceRow } from '../machines/row.ts'
import { keyOf, type Store } from '../store/store.ts'
import { checkId, shown, typeOf } from './accept.ts'
import type { CleanupFilter, CleanupReport, NodeView } from './api.ts'
import { type CleanupPorts, cleanClaims } from './cleanup.ts'
import { commit } from './commit.ts'
import { RekindleError } from './error.ts'
import { fieldsOf } from './log.ts'
import { listAll } from './registration.ts'

const PAGE = 500

/** Throws `bad_input`, `unknown_node`, `unknown_cluster` or `unknown_kind` where the filter can't match anything. */
export async function cleanNow(
  ports: CleanupPorts,
  view: (service: ServiceRow) => NodeView,
  filter: CleanupFilter,
): Promise<CleanupReport> {
  checkFilter(ports, filter)
  const services = await listAll<ServiceRow>(ports.store, 'service')
  const matching = matchingServices(services, filter)
  const { until } = filter
  const isMeant = ({ kind, id }: ResourceRow) =>
    (filter.kind === undefined || kind === filter.kind) && (filter.id === undefined || id === filter.id)
  const asksForRows = filter.kind !== undefined
  const cleaning: { node: NodeView; rows: number }[] = []
  const unavailable: { node: NodeView; why: string }[] = []
  for (const service of matching) {
    const worker = `${service.host}@${service.backend}`
    if (asksForRows && !(await holdsAny(ports.store, worker, isMeant))) continue
    const why = whyUnavailable(service, services)
    if (why !== null) {
      unavailable.push({ node: view(service), why })
      continue
    }
    const cleaned = await cleanClaims(ports, {
      worker,
      incarnation: service.incarnation,
      at_backend: service.cleans_at_backend,
      reason: `${worker} went down`,
      only: isMeant,
      ...(until === undefined ? {} : { until }),
    })
    cleaning.push({ node: view(service), rows: cleaned.put_right })
  }
  const topics = [...new Set(matching.map(({ cluster, backend }) => `${cluster}@${backend}`))]
  const isOfHost = ({ host }: ResourceRow) => filter.host === undefined || host === filter.host
  const retried: Ref[] = []
  for (const topic of topics)
    retried.push(...(await retryPutOff(ports, topic, until, (row) => isMeant(row) && isOfHost(row))))
  return { cleaning, unavailable, retried }
}

/** Why nothing of a node is cleaned; null where it is. */
function whyUnavailable(service: ServiceRow, services: readonly ServiceRow[]): string | null {
  if (service.state !== 'down') return `it is ${service.state}: only a node that is down is cleaned`
  if (!service.cleans_at_backend) return null
  const { cluster, backend } = service
  const peers = services.filter((one) => one.cluster === cluster && one.backend === backend)
  if (peers.some(({ state, disabled }) => state === 'up' && !disabled)) return null
  return `its cleanup needs the backend, and no node of ${cluster}@${backend} is up and enabled`
}

/** Cleanups that failed wait for their next try (rule R14): these need not. */
async function retryPutOff(
  ports: CleanupPorts,
  topic: string,
  until: number | undefined,
  isMeant: (row: ResourceRow) => boolean,
): Promise<Ref[]> {
  const { types, store, runner, environment, log } = ports
  const retried: Ref[] = []
  for await (const row of rowsOf(store, { worker: topic, taken: false })) {
    if ((row.operation?.cleanup ?? null) === null || !isMeant(row)) continue
    const event = () => ({
      type: 'cleanup.retry' as const,
      at: environment.now(),
      ...(until === undefined ? {} : { until }),
    })
    if (!(await commit(types, store, { ref: row, event }, runner)).ok) continue
    retried.push(refOf(row))
    log.info(`${keyOf(row)}: its cleanup is tried again at once`, fieldsOf(row))
  }
  return retried
}

async function holdsAny(
  store: Store,
  worker: string,
  isMeant: (row: ResourceRow) => boolean,
): Promise<boolean> {
  for await (const row of rowsOf(store, { worker, taken: true })) if (isMeant(row)) return true
  return false
}

async function* rowsOf(store: Store, filter: { worker: string; taken: boolean }) {
  let after: string | null = null
  do {
    const page: { rows: readonly unknown[]; next: string | null } = await store.list(filter, {
      after,
      limit: PAGE,
    })
    yield* page.rows as readonly ResourceRow[]
    after = page.next
  } while (after !== null)
}

function matchingServices(services: readonly ServiceRow[], filter: CleanupFilter): readonly ServiceRow[] {
  const { cluster, backend, host } = filter
  const topicOf = (service: ServiceRow) => `${service.cluster}@${service.backend}`
  const some = (code: 'unknown_cluster' | 'unknown_node', what: string, name: string, names: string[]) => {
    if (!names.includes(name))
      throw new RekindleError(code, `there is no ${what} '${shown(name)}'${nearest(name, names)}`)
  }
  if (cluster !== undefined)
    some(
      'unknown_cluster',
      'cluster',
      cluster,
      services.flatMap((one) => [one.cluster, topicOf(one)]),
    )
  const hosts = services.map((one) => one.host)
  if (host !== undefined) some('unknown_node', 'host', host, hosts)
  const backends = services.map((one) => one.backend)
  if (backend !== undefined) some('unknown_cluster', 'backend', backend, backends)
  return services.filter(
    (one) =>
      (cluster === undefined || one.cluster === cluster || topicOf(one) === cluster) &&
      (backend === undefined || one.backend === backend) &&
      (host === undefined || one.host === host),
  )
}

function checkFilter({ types }: CleanupPorts, { kind, id, until }: CleanupFilter): void {
  const bad = (path: string, message: string) =>
    new RekindleError('bad_input', `bad input for a cleanup: ${path}: ${message}`, {
      issues: [{ path, message }],
    })
  if (kind !== undefined) typeOf(types, kind)
  if (id !== undefined && kind === undefined) throw bad('id', 'needs a kind beside it')
  if (id !== undefined) checkId(kind!, id)
  if (until !== undefined && (typeof until !== 'number' || !Number.isFinite(until)))
    throw bad('until', `${shown(until)} is no time in milliseconds since the epoch`)
}
