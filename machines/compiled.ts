// A chart laid out for stepping, read once from the machine that xstate made of it: for every state and event
// the transitions that may be taken, in the order in which xstate asks them, with guards and actions looked
// up. It decides nothing that the chart does not say; test/machines/compiled.test.ts holds every pair of every
// chart against xstate's own transition. It can't lay out what no chart here has (after, invoke, always,
// parallel and history states, exit actions, wildcards) and throws where it meets that. Stepping so costs a
// tenth of xstate's transition, which looks all of it up anew at each step (2 µs against 20 µs).

import type { AnyEventObject, AnyStateMachine, AnyStateNode, AnyTransitionDefinition } from 'xstate'
import { BrokenInvariant } from './error.ts'

/** Where a chart stands: `available`, `extending.queued`; and its context. */
export interface Place {
  readonly path: string
  readonly context: object
}

/** What a transition leads to. */
export interface Taken extends Place {
  /** The transition of the machine that was taken. */
  readonly definition: AnyTransitionDefinition
}

/** Is told each command at its turn, with the context at that point. */
export type Tell = (type: string, params: unknown, context: object) => void

interface Args {
  readonly context: object
  readonly event: AnyEventObject
}
type Check = (args: Args) => boolean
type Assign = (args: Args, params: unknown) => object

interface Action {
  readonly type: string
  /** Fixed, or made of the context at its turn. */
  readonly params: unknown
  /** Null: a command. */
  readonly assign: Assign | null
}

interface Way {
  readonly definition: AnyTransitionDefinition
  readonly check: Check | null
  readonly path: string
  readonly actions: readonly Action[]
  /** It leads nowhere and asks for nothing: the event is forbidden here. */
  readonly inert: boolean
}

const laidOut = new WeakMap<AnyStateMachine, CompiledChart>()

/** The chart laid out, once for each machine. */
export function compiled(machine: AnyStateMachine): CompiledChart {
  let chart = laidOut.get(machine)
  if (chart === undefined) {
    chart = new CompiledChart(machine)
    laidOut.set(machine, chart)
  }
  return chart
}

export class CompiledChart {
  readonly #ways = new Map<string, ReadonlyMap<string, readonly Way[]>>()

  constructor(machine: AnyStateMachine) {
    for (const leaf of leavesOf(machine.root)) this.#ways.set(pathOf(leaf), waysFrom(machine, leaf))
  }

  /** Null where the chart does not accept the event there. Executes nothing; what it asks for is told. */
  take(path: string, context: object, event: AnyEventObject, tell: Tell): Taken | null {
    const here = this.#ways.get(path)
    if (here === undefined) throw new BrokenInvariant(`the chart has no state ${path}`)
    const ways = here.get(event.type)
    if (ways === undefined) return null
    const args = { context, event }
    for (const way of ways)
      if (way.check === null || isAllowed(way, args)) return way.inert ? null : follow(way, args, tell)
    return null
  }
}

/** A user's guard may throw, though it should not. */
function isAllowed({ check, definition }: Way, args: Args): boolean {
  try {
    return check!(args)
  } catch (error) {
    const { guard } = definition as { guard?: unknown }
    const name = typeof guard === 'string' ? guard : ((guard as { type?: string } | undefined)?.type ?? '')
    throw new Error(
      `Unable to evaluate guard ${name === '' ? '' : `'${name}' `}for event '${args.event.type}' in ${definition.source.id}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  }
}

function follow(way: Way, args: Args, tell: Tell): Taken {
  const { event } = args
  let { context } = args
  for (const { type, params, assign } of way.actions) {
    const given = typeof params === 'function' ? params({ context, event }) : params
    if (assign === null) tell(type, given, context)
    else context = { ...context, ...assign({ context, event }, given) }
  }
  return { path: way.path, context, definition: way.definition }
}

// ---- laying out ----

function leavesOf(node: AnyStateNode): AnyStateNode[] {
  const { exit, invoke, always, after, type, id } = node
  const odd =
    exit.length > 0 ||
    invoke.length > 0 ||
    (always?.length ?? 0) > 0 ||
    after.length > 0 ||
    type === 'parallel' ||
    type === 'history'
  if (odd)
    throw new BrokenInvariant(
      `${id}: exit, invoke, always, after, parallel and history have no place in a chart here`,
    )
  const children = Object.values(node.states) as AnyStateNode[]
  return children.length === 0 ? [node] : children.flatMap(leavesOf)
}

function pathOf(node: AnyStateNode): string {
  return node.path.join('.')
}

/** The node and what it lies in, from the inside out. */
function chainOf(node: AnyStateNode): AnyStateNode[] {
  return node.parent === undefined ? [node] : [node, ...chainOf(node.parent)]
}

/** The transitions of the leaf first, then of what it lies in: the first that is allowed is taken. */
function waysFrom(machine: AnyStateMachine, leaf: AnyStateNode): Map<string, Way[]> {
  const ways = new Map<string, Way[]>()
  for (const node of chainOf(leaf))
    for (const [event, definitions] of node.transitions) {
      if (event.includes('*'))
        throw new BrokenInvariant(`${node.id}: a wildcard has no place in a chart here`)
      const more = (definitions as readonly AnyTransitionDefinition[]).map((one) => wayOf(machine, leaf, one))
      ways.set(event, [...(ways.get(event) ?? []), ...more])
    }
  return ways
}

function wayOf(machine: AnyStateMachine, leaf: AnyStateNode, definition: AnyTransitionDefinition): Way {
  const target = definition.target?.[0] as AnyStateNode | undefined
  const entered = target === undefined ? [] : enteredBy(definition, target)
  const actions = [...definition.actions, ...entered.flatMap(({ entry }) => entry)]
  return {
    definition,
    check: definition.guard === undefined ? null : checkOf(machine, definition.guard),
    path: pathOf(target === undefined ? leaf : (entered.at(-1) ?? leaf)),
    actions: actions.map((action) => actionOf(machine, action)),
    inert: target === undefined && actions.length === 0,
  }
}

/** The nodes that become active, from the outside in. */
function enteredBy({ source, reenter }: AnyTransitionDefinition, target: AnyStateNode): AnyStateNode[] {
  const inside = chainOf(target)
  // What leads into its own state leaves only what lies in there.
  const kept =
    !reenter && inside.includes(source) ? source : inside.slice(1).find((node) => isAround(node, source))
  const entered = inside.slice(0, kept === undefined ? undefined : inside.indexOf(kept)).reverse()
  let last = target
  while (last.type === 'compound') {
    last = last.initial.target[0] as AnyStateNode
    entered.push(last)
  }
  return entered
}

/** Properly: a node is not around itself. */
function isAround(outer: AnyStateNode, inner: AnyStateNode): boolean {
  return chainOf(inner).slice(1).includes(outer)
}

interface Combined {
  readonly check: (snapshot: unknown, args: Args, guard: unknown) => boolean
  readonly guards?: readonly unknown[]
}

function checkOf(machine: AnyStateMachine, guard: unknown): Check {
  const name = typeof guard === 'string' ? guard : (guard as { type?: string }).type
  const named = typeof guard !== 'function'
  const found = named ? machine.implementations.guards[name!] : guard
  if (found === undefined) throw new BrokenInvariant(`${machine.id}: nobody says what the guard ${name} is`)
  if (typeof found !== 'function') return checkOf(machine, found)
  if ('check' in found) return combinedOf(machine, found as unknown as Combined & { name: string })
  const run = found as unknown as (args: Args, params: unknown) => boolean
  const params = named && typeof guard === 'object' ? (guard as { params?: unknown }).params : undefined
  if (typeof params === 'function') return (args) => run(args, params(args))
  return (args) => run(args, params)
}

/** `and` and `not` of xstate, whose parts are looked up here once. */
function combinedOf(machine: AnyStateMachine, combined: Combined & { name: string }): Check {
  const parts = (combined.guards ?? []).map((part) => checkOf(machine, part))
  const [first] = parts
  if (combined.name === 'and') return (args) => parts.every((part) => part(args))
  if (combined.name === 'not' && first !== undefined) return (args) => !first(args)
  throw new BrokenInvariant(`${machine.id}: the guard ${combined.name} has no place in a chart here`)
}

function actionOf(machine: AnyStateMachine, action: unknown): Action {
  const type = typeof action === 'string' ? action : (action as { type: string }).type
  const params = typeof action === 'object' ? (action as { params?: unknown }).params : undefined
  const found = typeof action === 'function' ? action : machine.implementations.actions[type]
  if (found === undefined) throw new BrokenInvariant(`${machine.id}: nobody says what the action ${type} is`)
  if (typeof found !== 'function' || !('resolve' in found)) return { type, params, assign: null }
  const { assignment } = found as unknown as { assignment?: unknown }
  if (typeof assignment === 'function') return { type, params, assign: assignment as Assign }
  if (typeof assignment !== 'object' || Object.values(assignment!).some((one) => typeof one === 'function'))
    throw new BrokenInvariant(`${machine.id}: the action ${type} is neither an assignment nor a command`)
  return { type, params, assign: () => assignment as object }
}
