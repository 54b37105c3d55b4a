// What people are shown of nodes and clusters, and which resources do not get on by themselves, with what to
// do about each. Read from the directory, the lives of this process and the store; nothing is changed here.

import type { ClusterView } from '../machines/placement.ts'
import type { ClusterRow, ResourceRow, ServiceRow } from '../machines/row.ts'
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
  /** As long as the store holds; throws where it is lost. */
  readonly session: () => {
    readonly store: Store
    readonly directory: Directory
    readonly lives: ReadonlyMap<string, NodeLife>
  }
  /** Why the supervisor gave a node up, by `host@backend`; null otherwise. */
  readonly givenUp: (address: string) => string | null
}

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
    const { directory, store } = this.#ports.session()
    const stuck: Stuck[] = []
    for (const call of this.#ports.calls.leftovers()) {
      const message = `a driver call of ${call.worker} (fence ${call.fence}) was aborted and has not settled; the resource waits for it`
      if (!call.can_fence)
        for (const key of call.touches) stuck.push({ ...refFrom(key), reason: 'leftover_call', message })
      else if (await this.#isUnfenced(store, call))
        stuck.push({
          ...refFrom(call.key),
          reason: 'leftover_call',
          message: `${message}, or for the backend to take the mark of its fence`,
        })
    }
    for (const { topic, up } of directory.views()) {
      const { rows } = await store.list({ worker: topic, taken: false }, { limit: 1_000 })
      for (const row of rows as unknown as ResourceRow[]) {
        const failures = row.operation?.cleanup?.failures ?? 0
        if (!up)
          stuck.push({
            kind: row.kind,
            id: row.id,
            reason: 'no_node_up',
            message: `no node of ${topic} is up; start one`,
          })
        else if (failures > 0)
          stuck.push({
            kind: row.kind,
            id: row.id,
            reason: 'cleanup_failing',
            message: `its cleanup failed ${failures} times: ${row.operation!.cleanup!.reason}`,
          })
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
