// How this runtime places: what a resource asks for, where it may go, and the room that is kept for it from then
// on. The choice itself is machines/placement.ts's, what is known of the clusters the directory's. Nothing here
// reads or writes a row.

import type { ResourceType } from '../machines/definition.ts'
import { nearest } from '../machines/error.ts'
import {
  builtInFilters,
  type ClusterView,
  capacity,
  freeCapacity,
  MOST_CLUSTERS,
  type Placement,
  PlacementFault,
  type PlacementRules,
  place,
  type Removed,
  type Requirements,
  removedInWords,
  type Tried,
  type Wanted,
} from '../machines/placement.ts'
import { type JsonObject, type ResourceRow, topicOfWork } from '../machines/row.ts'
import { startsOf } from '../machines/table.ts'
import { type Key, keyOf } from '../store/store.ts'
import type { Directory, Taking } from './directory.ts'
import { messageOf, RekindleError } from './error.ts'
import type { Elsewhere } from './node.ts'
import { checkPlacement, type PlacementOptions, type TypeSpecs } from './placement_options.ts'

const sizeOfData = (_kind: string, { size }: JsonObject): number => (typeof size === 'number' ? size : 0)

/** Gives back the room that was kept for what is not accepted after all. Idempotent. */
export type Forget = () => void

export class PlacementPolicy {
  readonly rules: PlacementRules
  readonly #types: ReadonlyMap<string, ResourceType>
  readonly #specs: { readonly [kind: string]: TypeSpecs }
  readonly #size: (kind: string, data: JsonObject) => number

  /** Throws `bad_settings` with every fault of the options. */
  constructor(types: ReadonlyMap<string, ResourceType>, options: PlacementOptions = {}) {
    checkPlacement(types, options)
    this.#types = types
    this.#specs = options.specs ?? {}
    this.#size = options.size ?? sizeOfData
    const weighers = options.weighers ?? [freeCapacity]
    this.rules = {
      filters: [...builtInFilters, ...(options.filters ?? [])],
      weighers: weighers.map((one) => (typeof one === 'function' ? { weigher: one, multiplier: 1 } : one)),
    }
  }

  /** The best cluster for a new resource; throws `no_cluster` where none can take it. */
  choose(
    directory: Directory,
    key: Key,
    wanted: Wanted,
  ): { readonly topic: string; readonly forget: Forget } {
    const placed = this.#place(directory.views(), wanted)
    if (!placed.placed) throw noCluster('no cluster can take it', placed.removed)
    const topic = placed.topics[0]!
    return { topic, forget: directory.reserve(key, { topic, gib: wanted.size_gib }) }
  }

  /** Room at the one cluster where it belongs; throws `no_cluster` where there is none. */
  makeRoom(directory: Directory, key: Key, topic: string, wanted: Wanted): Forget {
    const view = viewOf(directory, topic)
    const answer = view === undefined ? true : capacity(view, wanted)
    if (answer !== true)
      throw noCluster('there is no room where it is', [{ topic, filter: capacity.name, reason: answer }])
    return directory.reserve(key, { topic, gib: wanted.size_gib })
  }

  /**
   * Room for what an operation adds to a resource that is there: where it is, room is all that is asked; where
   * it is to go, every filter is. Says nothing where the operation is going to be refused anyway.
   */
  makeRoomFor(directory: Directory, row: ResourceRow, name: string, input: JsonObject): Forget {
    const { table } = this.#types.get(row.kind)!
    const operation = table.operations[name]!
    if (operation.via === undefined || !startsOf(table, operation).includes(row.status)) return () => {}
    const topic = operation.at?.(row, input as never) ?? row.cluster
    const moves = topic !== row.cluster
    const data = { ...row.data, ...input }
    const size_gib = this.sizeOf(row.kind, data) - (moves ? 0 : this.sizeOf(row.kind, row.data))
    if (!moves && size_gib <= 0) return () => {}
    const wanted = { ...this.wanted(row.kind, name, data), size_gib }
    const key = keyOf(row)
    if (!moves) return this.makeRoom(directory, key, topic, wanted)
    const view = viewOf(directory, topic)
    // There is no such cluster: the accept says so.
    if (view === undefined) return () => {}
    const placed = this.#place([view], wanted)
    if (!placed.placed) throw noCluster('it can not go there', placed.removed)
    return directory.reserve(key, { topic, gib: size_gib })
  }

  /**
   * Where a create goes whose driver said `not_here`, with the room kept there; or why it goes nowhere, with what
   * each cluster said. Null where its caller chose the place. Never throws: it answers for a claim.
   */
  elsewhere(directory: Directory, row: ResourceRow, message: string): Elsewhere | null {
    const { operation, cluster, kind } = row
    if (operation?.placed !== true || operation.cleanup !== null) return null
    const tried = [
      ...operation.history.flatMap(({ not_here }) => not_here ?? []),
      { topic: cluster, message },
    ]
    const nowhere = (why: string): Elsewhere => ({ topic: null, why: `no cluster can take it: ${why}` })
    if (tried.length >= MOST_CLUSTERS)
      return nowhere(
        `${tried.length} were tried: ${tried.map((one) => `${one.topic}: ${one.message}`).join('; ')}`,
      )
    try {
      const wanted = this.wanted(kind, operation.name, operation.input)
      const placed = this.#place(directory.views(), wanted, tried)
      if (!placed.placed) return nowhere(removedInWords(placed.removed))
      const topic = placed.topics[0]!
      // The row itself still counts where it is, until it is swapped.
      const forget = directory.reserve(`${keyOf(row)} elsewhere`, { topic, gib: wanted.size_gib })
      return { topic, forget }
    } catch (error) {
      return nowhere(messageOf(error))
    }
  }

  /** What a new resource asks for. Throws `bad_input` where its type is not known. */
  wanted(kind: string, operation: string, data: JsonObject): Wanted {
    return {
      kind,
      operation,
      data,
      size_gib: this.sizeOf(kind, data),
      specs: this.#specsOf(kind, operation, data),
    }
  }

  #specsOf(kind: string, operation: string, data: JsonObject): Requirements {
    const specs = Object.hasOwn(this.#specs, kind) ? this.#specs[kind] : undefined
    const value = specs === undefined ? null : (data[specs.field] ?? null)
    if (specs === undefined || value === null) return {}
    const { field, types } = specs
    if (typeof value === 'string' && Object.hasOwn(types, value)) return types[value]!
    const said = String(value).slice(0, 80)
    const known = Object.keys(types)
    const message = `'${said}' is not known${nearest(said, known)}; known: ${known.join(', ')}`
    throw new RekindleError('bad_input', `bad input for ${operation} of ${kind}: ${field}: ${message}`, {
      issues: [{ path: field, message }],
    })
  }

  /** GiB that a resource with this data takes. */
  sizeOf(kind: string, data: JsonObject): number {
    let size: unknown
    try {
      size = this.#size(kind, data)
    } catch (error) {
      throw broken(`placement.size threw for a ${kind}: ${messageOf(error)}`, error)
    }
    if (typeof size !== 'number' || !Number.isFinite(size) || size < 0)
      throw broken(`placement.size answered ${String(size)} for a ${kind}; a number of GiB is expected`)
    return size
  }

  /** What the row's running operation takes where it is driven, beyond what the resource has there. */
  takes(row: ResourceRow): Taking | null {
    const { operation, kind, data } = row
    const type = this.#types.get(kind)
    if (operation === null || type === undefined) return null
    const topic = topicOfWork(row)
    const isThere = type.table.operations[operation.name]?.from !== 'new' && topic === row.cluster
    const gib = this.sizeOf(kind, { ...data, ...operation.input }) - (isThere ? this.sizeOf(kind, data) : 0)
    return gib > 0 ? { topic, gib } : null
  }

  /** The clusters that may take it, in order of preference, or which filter took each away. */
  #place(clusters: readonly ClusterView[], wanted: Wanted, tried: readonly Tried[] = []): Placement {
    try {
      return place(clusters, wanted, this.rules, tried)
    } catch (error) {
      throw error instanceof PlacementFault ? broken(`placement: ${error.message}`, error) : error
    }
  }
}

function viewOf(directory: Directory, topic: string): ClusterView | undefined {
  return directory.views().find((view) => view.topic === topic)
}

/** The filter and its reason for each cluster, in the message and in `issues` by topic. */
function noCluster(what: string, removed: readonly Removed[]): RekindleError {
  return new RekindleError('no_cluster', `${what}: ${removedInWords(removed)}`, {
    issues: removed.map(({ topic, filter, reason }) => ({ path: topic, message: `${filter}: ${reason}` })),
  })
}

function broken(message: string, cause?: unknown): RekindleError {
  return new RekindleError('definition_threw', message, cause === undefined ? {} : { cause })
}
