// Every (state, event) pair of a chart, decided and written down as one table that a reviewer reads. It
// steps the chart itself, without a store, and says what it found; it judges nothing.

import { isDeepStrictEqual } from 'node:util'
import { type AnyMachineSnapshot, type AnyStateMachine, transition } from 'xstate'
import type { ResourceType } from '../../machines/definition.ts'
import { type Claimant, emptyRow, type ResourceEvent, statePathOf } from '../../machines/resource.ts'
import type { JsonObject, Operation, ResourceRow, ServiceRow } from '../../machines/row.ts'
import { type Command, Stepper } from '../../machines/step.ts'
import { asList } from '../../machines/table.ts'

/** One event, said for people, and who sends it where that matters. */
export interface NamedEvent {
  readonly event: { readonly type: string }
  /** `the owner`, `an older claim`, ...; empty where any sender is as good. */
  readonly when: string
}

export interface NamedState {
  readonly name: string
  readonly path: string
  readonly context: object
}

/** What came of one pair: null where the chart does not accept the event there. */
export interface Cell {
  readonly state: string
  readonly event: string
  readonly when: string
  readonly next: string | null
  readonly change: string
  readonly commands: readonly Command[]
}

/** Decides every pair. `changeOf` words what became of the context. */
export function cells(
  chart: AnyStateMachine,
  states: readonly NamedState[],
  events: readonly NamedEvent[],
  changeOf: (before: never, after: never) => string,
): Cell[] {
  const stepper = new Stepper(chart)
  return states.flatMap((state) =>
    events.map(({ event, when }): Cell => {
      const step = stepper.step(state, event)
      return {
        state: state.name,
        event: event.type,
        when,
        next: step === null ? null : step.path,
        change: step === null ? '' : changeOf(state.context as never, step.context as never),
        commands: step?.commands ?? [],
      }
    }),
  )
}

/**
 * The pairs that the charts as they are stepped here and xstate's own transition decide otherwise, or ask other
 * things for, a line each. Empty: what is stepped is the chart.
 */
export function disagreements(
  chart: AnyStateMachine,
  states: readonly NamedState[],
  events: readonly NamedEvent[],
): string[] {
  const stepper = new Stepper(chart)
  return states.flatMap((state) => {
    const from = chart.resolveState({
      value: stateValueOf(state.path),
      context: state.context,
    }) as AnyMachineSnapshot
    return events.flatMap(({ event, when }) => {
      const step = stepper.step(state, event)
      const [next, actions] = transition(chart, from, event)
      const accepted = next !== from || actions.length > 0
      const asked = actions.map(({ type, params }) => ({ type, params: params ?? {} }))
      const said = accepted ? { value: next.value, context: next.context, asked } : null
      const stepped =
        step === null ? null : { value: stateValueOf(step.path), context: step.context, asked: step.commands }
      return isDeepStrictEqual(stepped, said) ? [] : [`${state.name}: ${event.type} ${when}`]
    })
  })
}

function stateValueOf(path: string) {
  const [status, sub] = path.split('.') as [string, string | undefined]
  return sub === undefined ? status : { [status]: sub }
}

/**
 * The pairs that are accepted, a line each; then, a line for each state, everything that it refuses. States
 * that decide everything alike share their lines.
 */
export function tableOf(title: string, found: readonly Cell[]): string {
  const bodies = new Map<string, string[]>()
  for (const state of new Set(found.map((cell) => cell.state))) {
    const here = found.filter((cell) => cell.state === state)
    const lines = here
      .filter((cell) => cell.next !== null)
      .map(({ event, when, next, change, commands }) =>
        [event, when, next, change, commands.map(worded).join(', ')].join(' | '),
      )
    lines.push(`*refused:* ${refusedIn(here)} | | | |`)
    const body = lines.join('\n')
    bodies.set(body, [...(bodies.get(body) ?? []), state])
  }
  const lines = [`# ${title}`]
  for (const [body, states] of bodies) {
    lines.push(
      '',
      `## ${states.join('; ')}`,
      '',
      '| event | when | next | changes | asks for |',
      '|---|---|---|---|---|',
    )
    lines.push(...body.split('\n').map((line) => `| ${line} |`))
  }
  return `${lines.join('\n')}\n`
}

/** An event by its name alone where every sender of it is refused. */
function refusedIn(here: readonly Cell[]): string {
  const refused: string[] = []
  for (const event of new Set(here.map((cell) => cell.event))) {
    const all = here.filter((cell) => cell.event === event)
    const no = all.filter((cell) => cell.next === null)
    const others = all.length - no.length === 1 && no.length > 1 && all[0]!.when === 'the owner'
    if (no.length === all.length) refused.push(event)
    else if (others && all[0]!.next !== null) refused.push(said(event, 'anybody else'))
    else refused.push(...no.map(({ when }) => said(event, when)))
  }
  return refused.join(', ') || 'nothing'
}

const said = (event: string, when: string) => (when === '' ? event : `${event} (${when})`)

const worded = ({ type, params }: Command) => {
  const shown = Object.entries(params).filter(([, value]) => typeof value === 'string')
  return shown.length === 0 ? type : `${type} ${shown.map(([, value]) => value).join(' ')}`
}

// ---- resources ----

export const WORKER = 'h2@file'
export const TOPIC = 'ssd@file'
export const FENCE = 7
export const LIFE = 3
const AT = 1_000

export const limits = { attempts: 3, cleanups: 5 }

/** The service row of the node that the claims here are of. */
export function serviceRow(change: Partial<ServiceRow> = {}): ServiceRow {
  return {
    kind: 'service',
    id: `${TOPIC}@h2`,
    version: 1,
    cluster: 'ssd',
    backend: 'file',
    host: 'h2',
    incarnation: LIFE,
    state: 'up',
    cleaned_incarnation: 0,
    cleans_at_backend: false,
    disabled: false,
    disabled_reason: null,
    ...change,
  }
}

export function claimantOf(service: ServiceRow | null, change: Partial<Claimant> = {}): Claimant {
  return { worker: WORKER, host: 'h2', incarnation: LIFE, service, ...change }
}

/** Every state of a resource type that its table can bring about, with a row that is in it. */
export function statesOf(type: ResourceType, topic = TOPIC): NamedState[] {
  const { table, statuses } = type
  const states: NamedState[] = []
  const add = (name: string, row: ResourceRow) => states.push({ name, path: statePathOf(row), context: row })
  const blank = emptyRow(table.kind, 'r1', topic)
  add('new', blank)
  for (const status of statuses.transitional)
    for (const [name, operation] of Object.entries(table.operations)) {
      if (operation.via !== status) continue
      const rest = operation.from === 'new' ? [null] : restStartsOf(type, operation.from)
      for (const previous_status of rest) {
        const mark = `${name}${previous_status === null ? '' : ` from ${previous_status}`}`
        const row = { ...blank, version: 5, status, previous_status, fence: FENCE, host: 'h2' }
        const running = operationOf(name)
        const queued = { ...row, worker: topic, operation: running }
        const taken = { ...row, worker: WORKER, incarnation: LIFE, attempts: 1, operation: running }
        add(`${status}.queued, ${mark}`, queued)
        if (name !== 'create' && operation.to !== 'previous' && previous_status !== rest[0]) continue
        add(`${status}.queued, ${mark}, requeued`, { ...queued, attempts: 1 })
        add(`${status}.working, ${mark}`, taken)
        if (operation.from === 'new' && table.parent === undefined)
          add(`${status}.working, ${mark}, placed`, { ...taken, operation: { ...running, placed: true } })
        add(`${status}.working, ${mark}, last attempt`, { ...taken, attempts: limits.attempts })
        const policy = operation.cleanup === 'requeue' ? 'attempts_used_up' : operation.cleanup!
        const cleanup = { policy, reason: 'h1@file went down', failures: 0, not_before: 0 }
        const cleaned = { ...running, cleanup }
        add(`${status}.cleanup_queued, ${mark}`, { ...queued, attempts: 1, operation: cleaned })
        add(`${status}.cleaning, ${mark}`, { ...taken, operation: cleaned })
        const last = { ...cleanup, failures: limits.cleanups - 1, not_before: AT + 1 }
        add(`${status}.cleanup_queued, ${mark}, not due`, {
          ...queued,
          attempts: 1,
          operation: { ...running, cleanup: last },
        })
        add(`${status}.cleaning, ${mark}, last try`, { ...taken, operation: { ...running, cleanup: last } })
      }
    }
  for (const [status, hold] of Object.entries(table.held ?? {}))
    for (const previous_status of asList(hold.from))
      add(`${status}, held from ${previous_status}`, {
        ...blank,
        version: 5,
        status,
        previous_status,
        fence: FENCE,
        held_by: { kind: 'holder', id: 'b1', fence: 2 },
      })
  for (const status of statuses.rest) add(status, { ...blank, version: 5, status, fence: FENCE })
  add('gone', { ...blank, version: 5, status: 'gone', fence: FENCE })
  return states
}

function restStartsOf(type: ResourceType, from: string | readonly string[]): readonly string[] {
  return from === 'any' ? type.statuses.rest.slice(0, 1) : asList(from)
}

function operationOf(name: string): Operation {
  return {
    name,
    input: {},
    request_id: null,
    accepted_at: 0,
    accepted_version: 5,
    progress: null,
    cancel_requested_at: null,
    history: [],
    cleanup: null,
  }
}

/** Every event that a resource type can be sent, from the right sender and from wrong ones. */
export function eventsOf(type: ResourceType): NamedEvent[] {
  const { table, statuses } = type
  const named: NamedEvent[] = []
  const add = (event: unknown, when = '') => named.push({ event: event as ResourceEvent, when })
  for (const [name, operation] of Object.entries(table.operations)) {
    const guards = (operation.guards ?? []).map((guard) => `if ${guard}`).join(' and ')
    const choices = asList(operation.to)
    const inputs: JsonObject[] = choices.length > 1 ? choices.map((status) => ({ status })) : [{}]
    for (const input of inputs) {
      const when = [typeof input.status === 'string' ? `to ${input.status}` : '', guards].filter(Boolean)
      add({ type: name, input, request_id: null, at: AT, related: {} }, when.join(', '))
    }
  }
  const up = serviceRow()
  const down = serviceRow({ state: 'down' })
  add({ type: 'claim', claimant: claimantOf(up), at: AT }, 'a node that is up')
  add({ type: 'claim', claimant: claimantOf(down), at: AT }, 'a node declared down')
  add({ type: 'claim', claimant: claimantOf(null), at: AT }, 'a node without a service row')
  add({ type: 'claim', claimant: claimantOf(serviceRow({ incarnation: LIFE + 1 })), at: AT }, 'an older life')
  add({ type: 'claim', claimant: claimantOf(serviceRow({ cluster: 'hdd' })), at: AT }, 'of another topic')
  const senders = [
    ['the owner', claimantOf(up), FENCE],
    ['an older fence', claimantOf(up), FENCE - 1],
    ['another worker', claimantOf(up, { worker: 'h3@file' }), FENCE],
    ['another life', claimantOf(serviceRow({ incarnation: LIFE + 1 }), { incarnation: LIFE + 1 }), FENCE],
    ['the owner, declared down', claimantOf(down), FENCE],
  ] as const
  const owned = (type: string, more: object) => {
    for (const [when, claimant, fence] of senders) add({ type, claimant, fence, at: AT, ...more }, when)
  }
  owned('progress', { fraction: 0.5, note: '' })
  const error = { code: 'driver_failed', message: 'it broke' }
  const driven = Object.entries(table.operations).filter(([, operation]) => operation.via !== undefined)
  for (const name of [...driven.map(([operation]) => operation), 'cleanup']) {
    owned(`${name}.done`, { changes: {} })
    owned(`${name}.failed`, { error, not_before: AT + 100, limits })
    if (table.operations[name]?.from === 'new') owned(`${name}.elsewhere`, { topic: 'hdd@file', error })
  }
  add({ type: 'cancel', at: AT })
  for (const at_backend of [false, true]) {
    const cleanup = (worker: string, incarnation: number, when: string) =>
      add(
        { type: 'cleanup', worker, incarnation, at_backend, reason: `${worker} went down`, limits, at: AT },
        `${when}${at_backend ? ', at the backend' : ''}`,
      )
    cleanup(WORKER, LIFE, 'of its life')
    cleanup(WORKER, LIFE - 1, 'of an earlier life')
    cleanup('h3@file', LIFE, 'of another worker')
  }
  add({ type: 'cleanup.retry', at: AT })
  add({ type: 'cleanup.retry', at: AT, until: AT - 1_000_000 }, 'of claims before it')
  const holder = { kind: 'holder', id: 'b1', fence: 3 }
  for (const as of statuses.held) add({ type: 'hold', as, holder, at: AT }, `as ${as}`)
  for (const [who, by] of [
    ['its holder', holder],
    ['another', { ...holder, id: 'b2' }],
  ] as const) {
    for (const ending of ['done', 'failed', 'cleanup', 'cancelled'])
      add({ type: `release.${ending}`, holder: by, error: null, at: AT }, who)
    add({ type: 'renew', holder: by, at: AT }, who)
  }
  add({ type: 'drop', by: { kind: 'held', id: 'v1' }, at: AT })
  add({ type: 'child.added', kind: 'child', at: AT })
  return named
}

/** The table of a resource type. Its own guards are taken to say yes; the table names them. */
export function matrix(type: ResourceType): string {
  return tableOf(type.kind, matrixCells(type))
}

export function matrixCells(type: ResourceType): Cell[] {
  return cells(tolerant(type), statesOf(type), eventsOf(type), rowChange).map((cell) => ({
    ...cell,
    commands: cell.commands.filter(({ type: name }) => !name.startsWith('change_')),
  }))
}

/** The chart of a type whose own guards say yes and whose changes change nothing. */
export function tolerant(type: ResourceType): AnyStateMachine {
  const yes = Object.fromEntries(Object.keys(type.table.guards ?? {}).map((name) => [name, () => true]))
  // A change may read fields that these rows do not have; what it makes of them is its own matter.
  const same = Object.fromEntries(
    Object.entries(type.table.operations).flatMap(([name, { change }]) =>
      change === undefined ? [] : [[`change_${name}`, () => {}]],
    ),
  )
  return type.chart.provide({ guards: yes, actions: same } as never) as AnyStateMachine
}

/** What became of the fields that the protocol is about. */
function rowChange(before: ResourceRow, after: ResourceRow): string {
  const changes: string[] = []
  for (const field of ['fence', 'attempts'] as const) {
    const by = after[field] - before[field]
    if (by !== 0) changes.push(after[field] === 0 ? `${field} 0` : `${field} +${by}`)
  }
  const previous = after.previous_status
  if (previous !== before.previous_status) changes.push(`previous_status ${previous}`)
  if (after.error !== null) changes.push(`error ${after.error.code}`)
  const failures = after.operation?.cleanup?.failures ?? 0
  if (failures > (before.operation?.cleanup?.failures ?? 0)) changes.push(`failures ${failures}`)
  if (after.operation?.cleanup && !before.operation?.cleanup)
    changes.push(`cleanup by ${after.operation.cleanup.policy}`)
  return changes.join(', ')
}
