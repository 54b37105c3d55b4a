// Where a new resource goes: the cluster@backend that is up, enabled and has most room for it. Pure; what
// is known of the clusters comes with the call.

import type { Capabilities } from './row.ts'

export interface ClusterView {
  /** `cluster@backend`. */
  readonly topic: string
  /** Any of its nodes is up. */
  readonly up: boolean
  readonly disabled: boolean
  readonly frozen: boolean
  /** The last report of any of its nodes. */
  readonly capabilities: Capabilities | null
}

export type Placement =
  | { readonly placed: true; readonly topic: string }
  /** Why each cluster was not taken. */
  | { readonly placed: false; readonly why: readonly { readonly topic: string; readonly reason: string }[] }

/** Chooses by free capacity; a cluster that does not say its capacity comes last. Deterministic. */
export function place(clusters: readonly ClusterView[], size_gib: number): Placement {
  const why: { topic: string; reason: string }[] = []
  let best: ClusterView | null = null
  for (const cluster of clusters) {
    const reason = unfit(cluster, size_gib)
    if (reason !== null) why.push({ topic: cluster.topic, reason })
    else if (best === null || room(cluster) > room(best)) best = cluster
  }
  return best === null ? { placed: false, why } : { placed: true, topic: best.topic }
}

function unfit(cluster: ClusterView, size_gib: number): string | null {
  if (!cluster.up) return 'no node of it is up'
  if (cluster.disabled) return 'it is disabled'
  if (cluster.frozen) return 'it is frozen'
  const free = cluster.capabilities?.free_gib ?? null
  if (free !== null && free < size_gib) return `${free} GiB are free, ${size_gib} GiB are asked for`
  return null
}

const room = (cluster: ClusterView): number => cluster.capabilities?.free_gib ?? -1
