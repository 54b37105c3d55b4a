// What is known of clusters and nodes, kept up with the change feed: who is where, who is up, what room
// each cluster@backend reports and what was promised since. It is for placing new resources and for people;
// no claim or cleanup trusts it.

import type { ResourceType } from '../machines/definition.ts'
import type { ClusterView } from '../machines/placement.ts'
import {
  type BeatRow,
  type ClusterRow,
  type ResourceRow,
  type RetiredRow,
  type ServiceRow,
  topicOfWork,
} from '../machines/row.ts'
import { type Commit, type Key, keyOf, type Store, type StoredRow } from '../store/store.ts'
import { listAll } from './registration.ts'

/** GiB that a running operation takes at a topic, which a report need not count yet. */
export interface Taking {
  readonly topic: string
  readonly gib: number
}

/** What one resource takes: of a running operation, or of an accept that is not on disk yet (accepted at 0). */
interface Promised extends Taking {
  /** Names the operation among all that the row ever had. */
  readonly accepted_version: number
  readonly operation: string
  /** A node has claimed it: it may have taken its space. */
  readonly claimed: boolean
}

/** What operations took that ended with the commits up to this one. */
interface Ended {
  offset: number
  gib: number
}

/** A cluster but for what is pending there, and the commit up to which its report counts. */
interface Viewed {
  readonly view: Omit<ClusterView, 'pending_gib'>
  readonly reported_offset: number
}

/** More ends between two reports are counted together, until a report is later than the last of them. */
const MOST_ENDED = 256

export class Directory {
  readonly services = new Map<string, ServiceRow>()
  readonly beats = new Map<string, BeatRow>()
  readonly clusters = new Map<string, ClusterRow>()
  /** By `host@backend`. */
  readonly retired = new Map<string, RetiredRow>()
  /** The clusters but for what is pending; null after a change of a node or cluster. */
  #clusterViews: readonly Viewed[] | null = null
  readonly #takes: (row: ResourceRow) => Taking | null
  readonly #promised = new Map<Key, Promised>()
  /** The sum of those, by topic. */
  readonly #running = new Map<string, { gib: number; count: number }>()
  /** By topic, in commit order. */
  readonly #ended = new Map<string, Ended[]>()
  /** The resources that the feed told of while the directory was being loaded. */
  #told: Set<Key> | null = new Set()

  /** `takes`: what a row's running operation takes, and where. */
  constructor(takes: (row: ResourceRow) => Taking | null) {
    this.#takes = takes
  }

  /** Reads what is there. The feed may tell of changes meanwhile: those are later. */
  async load(store: Store, types: Iterable<ResourceType>): Promise<void> {
    for (const service of await listAll<ServiceRow>(store, 'service')) keepLast(this.services, service)
    for (const beat of await listAll<BeatRow>(store, 'beat')) keepLast(this.beats, beat)
    for (const cluster of await listAll<ClusterRow>(store, 'cluster')) keepLast(this.clusters, cluster)
    for (const retired of await listAll<RetiredRow>(store, 'retired')) keepLast(this.retired, retired)
    this.#clusterViews = null
    for (const { kind, statuses } of types)
      for (const status of statuses.transitional)
        for (const row of await listAll<ResourceRow>(store, kind, status))
          if (!this.#told!.has(keyOf(row))) this.#put(keyOf(row), this.#promisedBy(row))
    this.#told = null
  }

  see({ changes, offset }: Commit): void {
    for (const { key, row } of changes) {
      const map = this.#mapOf(row?.kind ?? key.slice(0, key.indexOf('/')))
      if (map === undefined) {
        this.#seeResource(key, row, offset)
        continue
      }
      this.#clusterViews = null
      if (row === null) map.delete(key.slice(key.indexOf('/') + 1))
      else keepLast(map, row)
    }
  }

  #mapOf(kind: string): Map<string, { version: number }> | undefined {
    if (kind === 'beat') return this.beats
    if (kind === 'service') return this.services
    if (kind === 'cluster') return this.clusters
    return kind === 'retired' ? this.retired : undefined
  }

  // ---- what is promised ----

  /**
   * Counts what is about to be accepted, so that calls at the same time don't all see the same room. The row
   * takes its place once it is on disk; where it never will be, the answer gives the room back.
   */
  reserve(key: Key, taking: Taking): () => void {
    if (taking.gib <= 0 || this.#promised.has(key)) return () => {}
    const mine: Promised = { ...taking, accepted_version: 0, operation: '', claimed: false }
    this.#put(key, mine)
    return () => {
      if (this.#promised.get(key) === mine) this.#put(key, null)
    }
  }

  #seeResource(key: Key, row: StoredRow | null, offset: number): void {
    this.#told?.add(key)
    const before = this.#promised.get(key)
    const now = row === null ? null : this.#promisedBy(row as unknown as ResourceRow, before)
    // Moved, ended, or overtaken by another operation.
    if (before?.claimed === true && !isSame(before, now)) this.#end(before, offset)
    if (before !== undefined || now !== null) this.#put(key, now)
  }

  #promisedBy(row: ResourceRow, before?: Promised): Promised | null {
    if (row.operation == null) return null
    const { accepted_version, name } = row.operation
    // A claim or progress: it takes what it took at its accept.
    const isSame =
      before?.accepted_version === accepted_version &&
      before.operation === name &&
      before.topic === topicOfWork(row)
    const takes = isSame ? before! : this.#takes(row)
    if (takes === null) return null
    const { topic, gib } = takes
    return { topic, gib, accepted_version, operation: name, claimed: row.attempts > 0 }
  }

  #put(key: Key, next: Promised | null): void {
    const before = this.#promised.get(key)
    if (next === null) this.#promised.delete(key)
    else this.#promised.set(key, next)
    // A claim, for example, moves nothing.
    if (before?.topic === next?.topic && before?.gib === next?.gib) return
    if (before !== undefined) this.#count(before, -1)
    if (next !== null) this.#count(next, 1)
  }

  #count({ topic, gib }: Taking, by: 1 | -1): void {
    const sum = this.#running.get(topic) ?? { gib: 0, count: 0 }
    const count = sum.count + by
    // Begun anew from nothing, so that no rounding stays.
    if (count === 0) this.#running.delete(topic)
    else this.#running.set(topic, { gib: sum.gib + by * gib, count })
  }

  #end({ topic, gib }: Promised, offset: number): void {
    const ended = this.#ended.get(topic) ?? []
    this.#ended.set(topic, ended)
    if (ended.length < MOST_ENDED) ended.push({ offset, gib })
    else {
      const last = ended.at(-1)!
      last.offset = offset
      last.gib += gib
    }
  }

  /** What a report as of this commit does not count: all that still runs, and what ended after it. */
  #pendingAt(topic: string, reported_offset: number): number {
    const left = (this.#ended.get(topic) ?? []).filter(({ offset }) => offset > reported_offset)
    if (left.length === 0) this.#ended.delete(topic)
    else this.#ended.set(topic, left)
    return left.reduce((sum, { gib }) => sum + gib, this.#running.get(topic)?.gib ?? 0)
  }

  // ---- the clusters ----

  /**
   * One entry a topic (behaviour 40), with the latest report of its nodes. Latest by commit order as the node saw
   * it when it asked its driver, so that a report which arrives late counts for nothing (behaviour 41) and no two
   * clocks are compared.
   */
  views(): ClusterView[] {
    this.#clusterViews ??= this.#viewClusters()
    return this.#clusterViews.map((viewed) => this.#withPending(viewed))
  }

  #viewClusters(): Viewed[] {
    const byTopic = new Map<string, ServiceRow[]>()
    // A cluster that has another name now is no place any more.
    const isRenamed = (topic: string) => this.clusters.get(topic)?.renamed_to !== undefined
    for (const topic of this.clusters.keys()) if (!isRenamed(topic)) byTopic.set(topic, [])
    for (const service of this.services.values()) {
      const topic = `${service.cluster}@${service.backend}`
      if (isRenamed(topic)) continue
      const nodes = byTopic.get(topic)
      if (nodes === undefined) byTopic.set(topic, [service])
      else nodes.push(service)
    }
    return [...byTopic.keys()]
      .sort()
      .map((topic) => this.#viewOf(topic, this.clusters.get(topic), byTopic.get(topic)!))
  }

  /** One of them, with this row where the directory may have been told of an older one. */
  view(topic: string, row: ClusterRow | undefined = this.clusters.get(topic)): ClusterView {
    const nodes = [...this.services.values()].filter((one) => `${one.cluster}@${one.backend}` === topic)
    return this.#withPending(this.#viewOf(topic, row, nodes))
  }

  #withPending({ view, reported_offset }: Viewed): ClusterView {
    return { ...view, pending_gib: this.#pendingAt(view.topic, reported_offset) }
  }

  #viewOf(topic: string, row: ClusterRow | undefined, nodes: readonly ServiceRow[]): Viewed {
    const up = nodes.filter(isUp)
    const report = this.#latest(nodes)
    const allDisabled = up.length > 0 && up.every(({ disabled }) => disabled)
    const view = {
      topic,
      up: up.length > 0,
      disabled: row?.disabled === true || allDisabled,
      disabled_reason: row?.disabled_reason ?? (allDisabled ? 'all its nodes that are up are' : null),
      frozen: row?.frozen ?? false,
      frozen_reason: row?.frozen_reason ?? null,
      capabilities: report?.capabilities ?? null,
      reported_at: report?.reported_at ?? null,
    }
    // Without a report there is nothing that the pending amount could be taken from.
    return { view, reported_offset: report?.reported_offset ?? Number.POSITIVE_INFINITY }
  }

  #latest(nodes: readonly ServiceRow[]): BeatRow | null {
    let latest: BeatRow | null = null
    for (const { id } of nodes) {
      const beat = this.beats.get(id)
      if (beat?.capabilities == null) continue
      if ((beat.reported_offset ?? 0) >= (latest?.reported_offset ?? 0)) latest = beat
    }
    return latest
  }
}

function isSame(before: Promised, now: Promised | null): boolean {
  return now !== null && now.topic === before.topic && now.accepted_version === before.accepted_version
}

const isUp = ({ state }: ServiceRow): boolean => state === 'up'

function keepLast(map: Map<string, { version: number }>, row: { id: string; version: number }): void {
  if ((map.get(row.id)?.version ?? 0) < row.version) map.set(row.id, row)
}
