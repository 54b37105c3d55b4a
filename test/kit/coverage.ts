// What of a chart was reached: its states, its transitions, and both outcomes of each of its guards. It
// watches the shipped chart while others step it, in a running runtime or at the level of `decide`, and
// counts the two apart. It steps nothing itself and changes no answer.

import type { AnyEventObject, AnyStateMachine, AnyStateNode } from 'xstate'
import type { Place } from '../../machines/compiled.ts'
import type { ResourceType } from '../../machines/definition.ts'
import { type Step, Stepper } from '../../machines/step.ts'
import { asList, type TableShape } from '../../machines/table.ts'

/** How something was reached: in a running runtime, at the level of `decide` alone, or not at all. */
export type Reached = 'live' | 'decided' | 'never'

/** One thing to reach. */
export interface Covered {
  readonly what: 'state' | 'transition' | 'guard'
  /** `extending.working`; `available -> extending.queued on extend [isLarger]`; `isLarger says no`. */
  readonly name: string
  readonly reached: Reached
  /** Why no resource of this table can ever come to it; null where one can. */
  readonly impossible: string | null
}

interface Plan {
  readonly from: string
  readonly event: string
  readonly to: string
  readonly guards: readonly string[]
}

export class Coverage {
  readonly kind: string
  readonly #type: ResourceType
  readonly #types: readonly ResourceType[]
  readonly #leftOut: ReadonlySet<string>
  readonly #isCounted: boolean
  readonly #isRead: boolean
  readonly #plans: readonly Plan[]
  readonly #names: readonly string[]
  readonly #declared = new Map<string, string>()
  readonly #seen = { live: new Set<string>(), decided: new Set<string>() }

  /** `types` are all that stand together: whether anything can count on this one depends on them. */
  constructor(kind: string, types: readonly ResourceType[], left_out: readonly string[] = []) {
    this.#leftOut = new Set(left_out)
    this.#types = types
    const type = types.find((one) => one.kind === kind)!
    this.kind = kind
    this.#type = type
    this.#isCounted = types.some(
      ({ table }) =>
        table.parent?.kind === kind ||
        Object.values(table.operations).some(({ uses }) => uses?.[kind] !== undefined),
    )
    this.#isRead = types.some(({ table }) =>
      Object.values(table.operations).some(({ uses }) => uses?.[kind] !== undefined),
    )
    this.#plans = plansOf(type.chart)
    this.#names = this.#plans.map(nameOf)
  }

  /**
   * What can't be reached for a reason that no table shows, in the words of the report. Once it is reached
   * after all, or no longer there, `missing` says so.
   */
  declare(unreachable: { readonly [name: string]: string }): void {
    for (const [name, reason] of Object.entries(unreachable)) this.#declared.set(name, reason)
  }

  /** The same type, whose every step is counted as reached in this way. */
  watch(as: 'live' | 'decided'): ResourceType {
    const seen = this.#seen[as]
    const given = this.#type.chart.implementations.guards as Record<string, Guard>
    const guards = Object.fromEntries(
      Object.entries(given).map(([name, guard]) => [
        name,
        (args: unknown, params: object | undefined) => {
          const answer = guard(args, params)
          seen.add(guardName(worded(name, params), answer))
          return answer
        },
      ]),
    )
    const chart = this.#type.chart.provide({ guards: guards as never })
    return { ...this.#type, chart, stepper: new WatchedStepper(chart, seen) }
  }

  /** Everything that there is to reach. */
  report(): readonly Covered[] {
    const states = leavesOf(this.#type.chart.root)
    const guards = new Set(this.#plans.flatMap((plan) => plan.guards))
    const asks = (guard: string) => this.#plans.filter((plan) => plan.guards.includes(guard))
    return [
      ...states.map((name) =>
        this.#covered('state', `in ${name}`, name, this.#whyLeftOut(name.split('.')[0]!, '', [])),
      ),
      ...this.#plans.map((plan, at) =>
        this.#covered('transition', this.#names[at]!, this.#names[at]!, this.#whyNever(plan)),
      ),
      ...[...guards].flatMap((guard) =>
        [true, false].map((answer) =>
          this.#covered(
            'guard',
            guardName(guard, answer),
            guardName(guard, answer),
            this.#whyConstant(guard, answer, asks(guard)),
          ),
        ),
      ),
    ]
  }

  /** What was never reached though it can be. Empty: everything was. */
  missing(): readonly Covered[] {
    return this.report().filter(({ reached, impossible }) => reached === 'never' && impossible === null)
  }

  /** Declared as unreachable, and reached or unknown: the declaration is wrong. */
  wronglyDeclared(): readonly string[] {
    const report = new Map(this.report().map((one) => [one.name, one]))
    return [...this.#declared.keys()].filter((name) => (report.get(name)?.reached ?? 'live') !== 'never')
  }

  /** A line for each sort, then what is not reached live, by name and with the reason. */
  toText(): string {
    const report = this.report()
    const lines = [`coverage of ${this.kind}`]
    for (const what of ['state', 'transition', 'guard'] as const) {
      const all = report.filter((one) => one.what === what)
      const count = (isOne: (one: Covered) => boolean) => all.filter(isOne).length
      const never = ({ reached }: Covered) => reached === 'never'
      lines.push(
        [
          `  ${what === 'guard' ? 'outcomes of guards' : `${what}s`}: ${all.length}`,
          `live ${count(({ reached }) => reached === 'live')}`,
          `decided only ${count(({ reached }) => reached === 'decided')}`,
          `can't be ${count((one) => never(one) && one.impossible !== null)}`,
          `never ${count((one) => never(one) && one.impossible === null)}`,
        ].join(', '),
      )
    }
    const listed = (title: string, of: readonly Covered[]) => {
      if (of.length > 0) lines.push(`  ${title}:`)
      for (const { name, impossible } of of) lines.push(`    ${name}${impossible ? ` (${impossible})` : ''}`)
    }
    listed('never reached', this.missing())
    listed(
      'decided only',
      report.filter(({ reached }) => reached === 'decided'),
    )
    listed(
      "can't be",
      report.filter(({ reached, impossible }) => reached === 'never' && impossible !== null),
    )
    return `${lines.join('\n')}\n`
  }

  /** A way back to a status from which nothing of the sort begins, and what nothing here ever does. */
  #whyNever({ from, event, guards }: Plan): string | null {
    const { table } = this.#type
    const [status, sub] = from.split('.') as [string, string | undefined]
    const left = this.#whyLeftOut(status, event, guards)
    if (left !== null) return left
    if (event.startsWith('child.') && !this.#isCounted) return 'nothing belongs to it'
    const operation = guards.map((guard) => argumentOf(guard, 'isOperation')).find((name) => name !== null)
    for (const guard of guards) {
      const was = argumentOf(guard, 'wasStatus')
      const starts = startsInto(table, status, operation ?? null)
      if (was !== null && !table.statuses.includes(status) && !starts.includes(was))
        return `${operation ?? status} never begins in ${was}`
    }
    const through = Object.values(table.operations).filter(({ via }) => via === status)
    const again = through.some(({ cleanup, force }) => cleanup === 'requeue' || force)
    if (sub === 'queued' && event === 'cancel' && guards.length === 0 && !again)
      return `nothing waits in ${status} once a node had it`
    return null
  }

  /** Only operations that the caller left out lead there. */
  #whyLeftOut(status: string, event: string, guards: readonly string[]): string | null {
    const { operations, held } = this.#type.table
    const isOut = (name: string) => this.#leftOut.has(`${this.kind}.${name}`)
    const operation = guards.map((guard) => argumentOf(guard, 'isOperation')).find((name) => name !== null)
    for (const asked of [event, event.split('.')[0]!, operation ?? ''])
      if (isOut(asked)) return `${asked} is left out`
    if (this.#leftOut.has(`event ${event.split('.').at(-1)}`)) return `${event} is left out`
    const through = Object.keys(operations).filter((name) => operations[name]!.via === status)
    if (through.length > 0 && through.every(isOut)) return `${through.join(' and ')} is left out`
    const as = guards.map((guard) => argumentOf(guard, 'isHoldAs')).find((name) => name !== null) ?? status
    if (held?.[as] !== undefined && !this.#isHeldAs(as)) return `what holds it as ${as} is left out`
    return null
  }

  /** Some operation that is asked holds it so. A hold of all children is none that an input names. */
  #isHeldAs(as: string): boolean {
    return this.#types.some(({ kind, table }) =>
      Object.entries(table.operations).some(([name, { holds }]) => {
        const hold = holds?.[this.kind]
        return hold?.as === as && hold.all_if === undefined && !this.#leftOut.has(`${kind}.${name}`)
      }),
    )
  }

  /** A guard that the chart asks where there is but one answer. */
  #whyConstant(guard: string, answer: boolean, asked: readonly Plan[]): string | null {
    const { table } = this.#type
    const isLeft = ({ from, event, guards }: Plan) =>
      this.#whyLeftOut(from.split('.')[0]!, event, guards) !== null
    if (asked.every(isLeft)) return 'asked for what is left out alone'
    if (answer)
      return asked.every((plan) => this.#whyNever(plan) !== null) ? 'asked where it never holds' : null
    const operation = argumentOf(guard, 'isOperation')
    if (operation !== null) {
      const { via } = table.operations[operation]!
      const through = Object.values(table.operations).filter((one) => one.via === via)
      if (through.length === 1) return `nothing else goes through ${via}`
    }
    if (argumentOf(guard, 'hasPolicy') !== null)
      return 'a cleanup is queued under the policy that is asked for'
    if (argumentOf(guard, 'choosesStatus') !== null && asked.every((plan) => !this.#hasLater(plan)))
      return 'it is asked last, when no other status is left'
    if (guard === 'isUnused' && !this.#isRead) return 'nothing reads it'
    if (argumentOf(guard, 'wasStatus') !== null && asked.every((plan) => !this.#hasLater(plan)))
      return 'it is asked last, when no other status is left'
    return null
  }

  /** Another way of the same sort is asked after this one, and can be the right one. */
  #hasLater(plan: Plan): boolean {
    const operation = plan.guards.find((guard) => guard.startsWith('isOperation('))
    return this.#plans
      .slice(this.#plans.indexOf(plan) + 1)
      .some(
        (later) =>
          later.from === plan.from &&
          later.event === plan.event &&
          later.guards.find((guard) => guard.startsWith('isOperation(')) === operation &&
          later.guards.some((guard) => /^(?:wasStatus|choosesStatus)\(/.test(guard)) &&
          this.#whyNever(later) === null,
      )
  }

  #covered(what: Covered['what'], mark: string, name: string, impossible: string | null): Covered {
    const { live, decided } = this.#seen
    const reached = live.has(mark) ? 'live' : decided.has(mark) ? 'decided' : 'never'
    return { what, name, reached, impossible: impossible ?? this.#declared.get(name) ?? null }
  }
}

type Guard = (args: unknown, params: object | undefined) => boolean

class WatchedStepper extends Stepper {
  readonly #seen: Set<string>
  readonly #names = new Map<unknown, string>()

  constructor(chart: AnyStateMachine, seen: Set<string>) {
    super(chart)
    this.#seen = seen
    for (const { definition, plan } of transitionsOf(chart)) this.#names.set(definition, nameOf(plan))
  }

  override step(from: Place, event: AnyEventObject): Step | null {
    const step = super.step(from, event)
    this.#seen.add(`in ${from.path}`)
    if (step === null) return null
    this.#seen.add(this.#names.get(step.definition)!)
    this.#seen.add(`in ${step.path}`)
    return step
  }
}

function transitionsOf(chart: AnyStateMachine): { readonly definition: unknown; readonly plan: Plan }[] {
  const all = (node: AnyStateNode): AnyStateNode[] => [node, ...Object.values(node.states).flatMap(all)]
  return all(chart.root).flatMap((node) =>
    [...node.transitions.values()].flat().map((definition) => ({
      definition,
      plan: {
        from: node.path.join('.'),
        event: definition.eventType as string,
        to: (definition.target?.[0] ?? node).path.join('.'),
        guards: guardsOf(definition.guard),
      },
    })),
  )
}

function leavesOf(node: AnyStateNode): string[] {
  const children = Object.values(node.states)
  return children.length === 0 ? [node.path.join('.')] : children.flatMap(leavesOf)
}

function plansOf(chart: AnyStateMachine): readonly Plan[] {
  return transitionsOf(chart).map(({ plan }) => plan)
}

function nameOf({ from, event, to, guards }: Plan): string {
  const way = from === '' ? 'any state' : from === to ? from : `${from} -> ${to}`
  return `${way} on ${event}${guards.length === 0 ? '' : ` [${guards.join(', ')}]`}`
}

/** The guards of a transition; those of a conjunction one by one. */
function guardsOf(guard: unknown): string[] {
  if (guard === undefined) return []
  if (typeof guard === 'string') return [guard]
  if (typeof guard === 'function')
    return ((guard as { guards?: readonly unknown[] }).guards ?? []).flatMap(guardsOf)
  const { type, params } = guard as { type: string; params?: object }
  return [worded(type, params)]
}

function worded(name: string, params: object | undefined): string {
  const values = Object.values(params ?? {})
  return values.length === 0 ? name : `${name}(${values.join(', ')})`
}

function guardName(guard: string, answer: boolean): string {
  return `${guard} says ${answer ? 'yes' : 'no'}`
}

// ---- what can't be ----

const argumentOf = (guard: string, name: string) =>
  guard.startsWith(`${name}(`) ? guard.slice(name.length + 1, -1) : null

/** The rest statuses from which a resource comes into a transitional or held status. */
function startsInto(table: TableShape, status: string, operation: string | null): readonly string[] {
  const held = table.held?.[status]
  if (held !== undefined) return asList(held.from)
  return Object.entries(table.operations)
    .filter(([name, { via }]) => via === status && (operation === null || name === operation))
    .flatMap(([, { from }]) => (from === 'any' ? table.statuses : asList(from)))
}
