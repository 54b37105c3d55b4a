// What is known of clusters and nodes, kept up with the change feed: who is where, who is up, what room
// each cluster@backend reports. It is for routing new resources and for people; no claim or cleanup trusts it.

import type { ClusterView } from '../machines/placement.ts'
import type { BeatRow, ClusterRow, ServiceRow } from '../machines/row.ts'
import type { Commit, Store } from '../store/store.ts'
import { listAll } from './registration.ts'

export class Directory {
  readonly services = new Map<string, ServiceRow>()
  readonly beats = new Map<string, BeatRow>()
  readonly clusters = new Map<string, ClusterRow>()

  async load(store: Store): Promise<void> {
    this.services.clear()
    this.beats.clear()
    this.clusters.clear()
    for (const service of await listAll<ServiceRow>(store, 'service')) this.services.set(service.id, service)
    for (const beat of await listAll<BeatRow>(store, 'beat')) this.beats.set(beat.id, beat)
    for (const cluster of await listAll<ClusterRow>(store, 'cluster')) this.clusters.set(cluster.id, cluster)
  }

  see({ changes }: Commit): void {
    for (const { key, row } of changes) {
      const map = this.#mapOf(key)
      if (map === undefined) continue
      const id = key.slice(key.indexOf('/') + 1)
      if (row === null) map.delete(id)
      else if ((map.get(id)?.version ?? 0) < row.version) map.set(id, row as never)
    }
  }

  #mapOf(key: string): Map<string, { version: number }> | undefined {
    if (key.startsWith('beat/')) return this.beats
    if (key.startsWith('service/')) return this.services
    if (key.startsWith('cluster/')) return this.clusters
    return undefined
  }

  /** One entry a topic, whichever of its nodes reported last (behaviour 40). */
  views(): ClusterView[] {
    const views = new Map<
      string,
      { -readonly [K in keyof ClusterView]: ClusterView[K] } & { reported_at: number }
    >()
    for (const service of this.services.values()) {
      const topic = `${service.cluster}@${service.backend}`
      const row = this.clusters.get(topic)
      let view = views.get(topic)
      if (view === undefined) {
        view = {
          topic,
          up: false,
          disabled: row?.disabled ?? false,
          frozen: row?.frozen ?? false,
          capabilities: null,
          reported_at: 0,
        }
        views.set(topic, view)
      }
      view.up ||= service.state === 'up'
      const beat = this.beats.get(service.id)
      if (beat?.capabilities != null && beat.reported_at >= view.reported_at) {
        view.capabilities = beat.capabilities
        view.reported_at = beat.reported_at
      }
    }
    return [...views.values()].sort((a, b) => (a.topic < b.topic ? -1 : 1))
  }
}
