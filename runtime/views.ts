// What people are shown of nodes and clusters, and which resources do not get on by themselves, with what to
// do about each. Read from the directory, the lives of this process and the store; nothing is changed here.

import type { Types } from '../machines/decision.ts'
import type { ClusterView } from '../machines/placement.ts'
import type { ClusterRow, ResourceRow, ServiceRow } from '../machines/row.ts'
import { startsOf } from '../machines/table.ts'
import { USED_UP } from '../machines/vocabulary.ts'
import type { Store } from '../store/store.ts'
import type { ClusterStatus, NodeView, Stuck } from './api.ts'
import type { Call, Calls } from './calls.ts'
import type { Directory } from './directory.ts'
import type { Environment } from './environment.ts'
import { type NodeLife, refFrom } from './node.ts'
import type { Settings } from './settings.ts'

export interface ViewPorts {
  readonly environment: Environment
  readonly settings: Settings
  readonly calls: Calls
  readonly types: Types
  /** As long as the store holds; throws where it is lost. */
  readonly session: () => {
    readonly store: Store
    readonly directory: Directory
    readonly lives: ReadonlyMap<string, NodeLife>
  }
  /** Why the supervisor gave a node up, by `host@backend`; null otherwise. */
  readonly givenUp: (address: string) => string | null
}

/** Rows of one topic or status that one look lists. */
const MOST_LISTED = 1_000

/** Codes of a row's error that say that no further try is made. */
const GIVEN_UP: { readonly [code: string]: Stuck['reason'] } = {
  [USED_UP]: 'attempts_used_up',
  cleanup_failed: 'cleanup_given_up',
}

/** States of a life that keeps its claims; a disabled one takes nothing new. */
const WORKING: readonly string[] = ['up', 'disabled']

export class Views {
  readonly #ports: ViewPorts

  constructor(ports: ViewPorts) {
    this.#ports = ports
  }

  nodes(): readonly NodeView[] {
    const services = [...this.#ports.session().directory.services.values()]
    return services.sort((a, b) => (a.id < b.id ? -1 : 1)).map((service) => this.node(service))
  }

  node(service: ServiceRow): NodeView {
    const address = `${service.host}@${service.backend}`
    const life = this.#ports.session().lives.get(address)
    return {
      host: service.host,
      cluster: service.cluster,
      backend: service.backend,
      address,
      incarnation: service.incarnation,
      state: service.state,
      cleanup_done: service.cleaned_incarnation === service.incarnation,
      disabled: service.disabled,
      disabled_reason: service.disabled_reason,
      here:
        life === undefined || life.registration.id !== service.id
          ? null
          : { state: life.state, working_on: life.held.map(({ kind, id }) => ({ kind, id })) },
      given_up: this.#ports.givenUp(address),
    }
  }

  async clusters(): Promise<readonly ClusterStatus[]> {
    const views = this.#ports.session().directory.views()
    return Promise.all(views.map((view) => this.#status(view)))
  }

  /** A life that fenced itself can't write it where the store refuses: of our own nodes we know better. */
  #isUp(service: ServiceRow): boolean {
    const { store, lives } = this.#ports.session()
    const life = lives.get(`${service.host}@${service.backend}`)
    if (life === undefined) return !store.exclusive && service.state === 'up'
    return WORKING.includes(life.state)
  }

  /** Of a cluster whose row was just swapped: what the row says, whatever the directory was told. */
  async cluster(row: ClusterRow): Promise<ClusterStatus> {
    const { directory } = this.#ports.session()
    return this.#status(directory.view(row.id, row))
  }

  async #status(view: ClusterView): Promise<ClusterStatus> {
    return {
      ...view,
      nodes: this.nodes()
        .filter(({ cluster, backend }) => `${cluster}@${backend}` === view.topic)
        .map(({ host }) => host),
      queued: await this.#ports.session().store.count({ worker: view.topic, taken: false }),
    }
  }

  async stuck(): Promise<readonly Stuck[]> {
    const { directory } = this.#ports.session()
    const stuck = await this.#leftovers()
    for (const { topic } of directory.views()) stuck.push(...(await this.#waitingAt(topic)))
    stuck.push(...(await this.#givenUp()))
    return stuck
  }

  async #leftovers(): Promise<Stuck[]> {
    const { store } = this.#ports.session()
    const stuck: Stuck[] = []
    for (const call of this.#ports.calls.leftovers()) {
      if (call.can_fence && !(await this.#isUnfenced(store, call))) continue
      const rest = call.can_fence ? ', or for the backend to take the mark of its fence' : ''
      for (const key of call.can_fence ? [call.key] : call.touches)
        stuck.push({
          ...refFrom(key),
          reason: 'leftover_call',
          message: `a driver call of ${call.worker} (fence ${call.fence}) was aborted and has not settled; the resource waits for it${rest}`,
          what_to_do:
            'see why the driver does not obey its signal; if it never will, end this process: the next start puts the resource right',
          since: call.aborted_at!,
        })
    }
    return stuck
  }

  async #waitingAt(topic: string): Promise<Stuck[]> {
    const { directory, store } = this.#ports.session()
    const nodes = [...directory.services.values()].filter((one) => `${one.cluster}@${one.backend}` === topic)
    const up = nodes.filter((service) => this.#isUp(service))
    const rows = [...(await store.list({ worker: topic, taken: false }, { limit: MOST_LISTED })).rows]
    // With nobody up, what a life that is over had claimed waits as well.
    if (up.length === 0)
      for (const { host, backend } of nodes)
        rows.push(
          ...(await store.list({ worker: `${host}@${backend}`, taken: true }, { limit: MOST_LISTED })).rows,
        )
    const stuck: Stuck[] = []
    for (const { kind, id, updated_at, operation } of rows as unknown as ResourceRow[]) {
      const of = { kind, id, since: updated_at }
      const { failures = 0, reason = '', not_before = 0 } = operation?.cleanup ?? {}
      if (up.length === 0)
        stuck.push({
          ...of,
          reason: 'no_node_up',
          message: `no node of ${topic} is up; start one`,
          what_to_do: `start a node of ${topic}: the first one that is up takes it`,
        })
      else if (up.every(({ disabled }) => disabled))
        stuck.push({
          ...of,
          reason: 'nodes_disabled',
          message: `all nodes of ${topic} that are up are disabled: ${up.map(({ host }) => host).join(', ')}`,
          what_to_do: `enable one: rekindle node enable ${up[0]!.host}@${up[0]!.backend}`,
        })
      else if (failures > 0)
        stuck.push({
          ...of,
          reason: 'cleanup_failing',
          message: `its cleanup failed ${failures} times: ${reason}`,
          what_to_do: `mend what it says, then do not wait: rekindle cleanup --resource ${kind}/${id}`,
          failures,
          next_try_at: not_before,
        })
    }
    return stuck
  }

  /** Ended as failed after all tries. Looked for where operations fail to; a look is bounded for each status. */
  async #givenUp(): Promise<Stuck[]> {
    const { store } = this.#ports.session()
    const stuck: Stuck[] = []
    for (const { kind, table, statuses } of this.#ports.types.values()) {
      const ends = Object.values(table.operations).flatMap(({ failed }) => failed ?? [])
      for (const status of new Set(ends.filter((end) => statuses.rest.includes(end)))) {
        const { rows } = await store.list({ kind, status }, { limit: MOST_LISTED })
        for (const { id, error } of rows as unknown as ResourceRow[]) {
          const reason = error === null ? undefined : GIVEN_UP[error.code]
          if (reason === undefined) continue
          const next = Object.entries(table.operations)
            .filter(([, operation]) => startsOf(table, operation).includes(status))
            .map(([name]) => name)
          stuck.push({
            ...{ kind, id, reason, since: error!.at },
            message: `it ended in ${status}: ${error!.message}`,
            what_to_do: `see what it did to its nodes or its backend; then one of ${next.join(', ')}`,
          })
        }
      }
    }
    return stuck
  }

  /** Aborted well over the grace, and its claim still stands: the mark that would end it can't be raised. */
  async #isUnfenced(store: Store, { key, fence, aborted_at }: Call): Promise<boolean> {
    const { abort_grace_ms } = this.#ports.settings
    if (this.#ports.environment.now() - aborted_at! <= 2 * abort_grace_ms) return false
    return ((await store.get(key)) as ResourceRow | undefined)?.fence === fence
  }
}
