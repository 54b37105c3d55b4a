// Where a new resource goes. Filters take clusters away, each with its reason in words; weighers put the rest in
// order of preference. Pure and deterministic: what is known of the clusters comes with the call, and equals
// stand in the order of their names.

import { gib, roomOf } from './capacity.ts'
import { reasonOf } from './cluster.ts'
import type { Capabilities, JsonObject, Spec } from './row.ts'

export interface ClusterView {
  /** `cluster@backend`. */
  readonly topic: string
  /** Any of its nodes is up. */
  readonly up: boolean
  /** The cluster itself is disabled, or every node of it that is up. */
  readonly disabled: boolean
  readonly disabled_reason: string | null
  readonly frozen: boolean
  readonly frozen_reason: string | null
  /** The last report of any of its nodes; null where none has said anything. */
  readonly capabilities: Capabilities | null
  /** When that report was made, by the clock of the node that made it; null without a report. */
  readonly reported_at: number | null
  /** GiB accepted for it that the report does not count yet. */
  readonly pending_gib: number
}

/** What a cluster must be able to: the value itself, one of several, or a number within bounds. */
export type Requirement = Spec | readonly Spec[] | { readonly at_least?: number; readonly at_most?: number }

export type Requirements = { readonly [name: string]: Requirement }

/** What is to be placed. */
export interface Wanted {
  readonly kind: string
  readonly operation: string
  readonly data: JsonObject
  readonly size_gib: number
  /** What its type asks of a cluster. `provisioning: 'thick'` asks for its full size. */
  readonly specs: Requirements
}

/**
 * True: the cluster may take it. Words: why it may not (false: it does not say). Its name tells people which
 * filter it was. Pure and total: it reads only its arguments and gives the same answer to the same ones.
 */
export type ClusterFilter = (cluster: ClusterView, wanted: Wanted) => boolean | string

/** How good a place it is: more is better; null where it can't be said, which is worse than any number. */
export type ClusterWeigher = (cluster: ClusterView, wanted: Wanted) => number | null

/** Weights are brought to 0..1 among the clusters that are left, times this; below 0 turns the order around. */
export interface WeighedBy {
  readonly weigher: ClusterWeigher
  readonly multiplier: number
}

export interface PlacementRules {
  readonly filters: readonly ClusterFilter[]
  readonly weighers: readonly WeighedBy[]
}

/** A cluster that a filter took away. */
export interface Removed {
  readonly topic: string
  readonly filter: string
  readonly reason: string
}

/** A cluster whose driver said `not_here`. */
export interface Tried {
  readonly topic: string
  readonly message: string
}

export type Placement =
  /** In order of preference, at least one. */
  | { readonly placed: true; readonly topics: readonly string[]; readonly removed: readonly Removed[] }
  /** Every cluster, and which filter took it away. */
  | { readonly placed: false; readonly removed: readonly Removed[] }

/** A user's filter or weigher threw, or answered with what is no answer. */
export class PlacementFault extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'PlacementFault'
  }
}

/** So many clusters are asked for one resource, the first included. */
export const MOST_CLUSTERS = 3

// ---- the filters that always stand first ----

/** Up, enabled and not frozen. */
export function availability(cluster: ClusterView): true | string {
  const { up, disabled, disabled_reason, frozen, frozen_reason } = cluster
  if (!up) return 'no node of it is up'
  if (disabled) return `it is disabled${reasonOf(disabled_reason)}`
  return frozen ? `it is frozen${reasonOf(frozen_reason)}` : true
}

/** Room for what is asked. What takes no space fits everywhere, and so does what goes where room is unknown. */
export function capacity({ capabilities, pending_gib }: ClusterView, wanted: Wanted): true | string {
  if (wanted.size_gib <= 0) return true
  const { free_gib, words } = roomOf(capabilities, pending_gib, wanted.specs.provisioning === 'thick')
  // The last bit of a sum of fractions refuses nobody.
  if (free_gib === null || free_gib + 1e-9 >= wanted.size_gib) return true
  return `${words}, ${gib(wanted.size_gib)} are asked for`
}

/** Everything that the resource's type asks for. */
export function capabilities({ capabilities }: ClusterView, { specs, data }: Wanted): true | string {
  if (data.multiattach === true && capabilities?.multiattach === false)
    return 'multiattach is false, true is asked for'
  for (const [name, required] of Object.entries(specs)) {
    // It says how space is counted: thick goes everywhere.
    if (name === 'provisioning' && required === 'thick') continue
    const [asked, needed] = name === 'provisioning' ? (['thin', true] as const) : ([name, required] as const)
    const found = saidOf(capabilities, asked)
    if (!meets(found, needed))
      return `${asked} is ${found === undefined ? 'not said' : JSON.stringify(found)}, ${inWords(needed)} is asked for`
  }
  return true
}

export const builtInFilters: readonly ClusterFilter[] = [availability, capacity, capabilities]

// ---- weighers ----

/** Free space, virtual where it is thin: spreads; with a negative multiplier it stacks. */
export function freeCapacity({ capabilities, pending_gib }: ClusterView, { specs }: Wanted): number | null {
  return roomOf(capabilities, pending_gib, specs.provisioning === 'thick').free_gib
}

export const defaultRules: PlacementRules = {
  filters: builtInFilters,
  weighers: [{ weigher: freeCapacity, multiplier: 1 }],
}

/**
 * The clusters that may take it, the best one first; or for each why not. `tried` are left out. Throws a
 * PlacementFault where a user's filter or weigher does.
 */
export function place(
  clusters: readonly ClusterView[],
  wanted: Wanted,
  rules: PlacementRules = defaultRules,
  tried: readonly Tried[] = [],
): Placement {
  const removed: Removed[] = []
  const left: ClusterView[] = []
  for (const cluster of [...clusters].sort(byTopic)) {
    const why = whyNot(cluster, wanted, rules.filters, tried)
    if (why === null) left.push(cluster)
    else removed.push(why)
  }
  if (left.length === 0) return { placed: false, removed }
  return { placed: true, topics: ordered(left, wanted, rules.weighers), removed }
}

/** The first filter that takes a cluster away; null where none does. */
function whyNot(
  cluster: ClusterView,
  wanted: Wanted,
  filters: readonly ClusterFilter[],
  tried: readonly Tried[],
): Removed | null {
  const { topic } = cluster
  const before = tried.find((one) => one.topic === topic)
  if (before !== undefined) return { topic, filter: 'not_here', reason: before.message }
  for (const filter of filters) {
    const answer = asked(filter, cluster, wanted)
    if (answer === true) continue
    if (answer !== false && typeof answer !== 'string')
      throw new PlacementFault(
        `the filter ${filter.name} answered ${String(answer)} for ${topic}; true, false or words are expected`,
      )
    return { topic, filter: filter.name, reason: answer === false ? 'it says no' : answer }
  }
  return null
}

/** By the sum of weights, each brought to 0..1; equals in the order of their names. */
function ordered(
  left: readonly ClusterView[],
  wanted: Wanted,
  weighers: readonly WeighedBy[],
): readonly string[] {
  const sums = new Map(left.map(({ topic }) => [topic, 0]))
  for (const { weigher, multiplier } of weighers) {
    const weights = left.map((cluster) => weightOf(weigher, cluster, wanted))
    const known = weights.filter((weight) => weight !== null)
    const least = Math.min(...known)
    const range = Math.max(...known) - least
    for (const [i, { topic }] of left.entries()) {
      const weight = weights[i]!
      // What is not known is a whole range worse than the worst, whichever way the order goes.
      const share = weight !== null ? (range > 0 ? (weight - least) / range : 0) : multiplier < 0 ? 2 : -1
      sums.set(topic, sums.get(topic)! + multiplier * share)
    }
  }
  return left.map(({ topic }) => topic).sort((a, b) => sums.get(b)! - sums.get(a)! || (a < b ? -1 : 1))
}

function weightOf(weigher: ClusterWeigher, cluster: ClusterView, wanted: Wanted): number | null {
  const weight = asked(weigher, cluster, wanted)
  if (weight === null || (typeof weight === 'number' && Number.isFinite(weight))) return weight
  throw new PlacementFault(
    `the weigher ${weigher.name} answered ${String(weight)} for ${cluster.topic}; a finite number or null is expected`,
  )
}

function asked<A>(
  rule: (cluster: ClusterView, wanted: Wanted) => A,
  cluster: ClusterView,
  wanted: Wanted,
): A {
  try {
    return rule(cluster, wanted)
  } catch (error) {
    throw new PlacementFault(`${rule.name} threw for ${cluster.topic}: ${String(error)}`, { cause: error })
  }
}

/** `cluster: filter: reason`, each cluster once. */
export function removedInWords(removed: readonly Removed[]): string {
  if (removed.length === 0) return 'no node was ever started'
  return removed.map(({ topic, filter, reason }) => `${topic}: ${filter}: ${reason}`).join('; ')
}

// ---- requirements ----

/** What a cluster says of itself under this name: its own specs, then the fields that every report may have. */
function saidOf(capabilities: Capabilities | null, name: string): Spec | undefined {
  const specs = capabilities?.specs ?? {}
  if (Object.hasOwn(specs, name)) return specs[name]
  if (name === 'thin') return capabilities?.thin
  return name === 'multiattach' ? capabilities?.multiattach : undefined
}

function meets(found: Spec | undefined, required: Requirement): boolean {
  if (Array.isArray(required)) return required.includes(found)
  if (typeof required !== 'object') return found === required
  const { at_least = Number.NEGATIVE_INFINITY, at_most = Number.POSITIVE_INFINITY } = required as {
    at_least?: number
    at_most?: number
  }
  return typeof found === 'number' && found >= at_least && found <= at_most
}

function inWords(required: Requirement): string {
  if (Array.isArray(required)) return required.map((one) => JSON.stringify(one)).join(' or ')
  if (typeof required !== 'object') return JSON.stringify(required)
  const { at_least, at_most } = required as { at_least?: number; at_most?: number }
  const bounds = [
    ...(at_least === undefined ? [] : [`at least ${at_least}`]),
    ...(at_most === undefined ? [] : [`at most ${at_most}`]),
  ]
  return bounds.join(' and ')
}

const byTopic = (a: ClusterView, b: ClusterView): number =>
  a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : 0
