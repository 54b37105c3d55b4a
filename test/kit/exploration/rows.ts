// Rows of resources as a few small numbers, and what `decide` makes of them. Whatever tells one row from
// another in a decision is in the numbers; times, versions and texts for people are not. Decisions are the
// shipped ones, asked once for each row and event and remembered: they are pure.

import { type Decision, decide, relatedRefs, type Types } from '../../../machines/decision.ts'
import { BrokenInvariant } from '../../../machines/error.ts'
import { emptyRow, type Limits, type ResourceEvent } from '../../../machines/resource.ts'
import {
  type JsonObject,
  type Operation,
  type Ref,
  type ResourceRow,
  type ServiceRow,
  topicOfWork,
} from '../../../machines/row.ts'
import type { OperationShape } from '../../../machines/table.ts'
import type { FirstRow } from './configuration.ts'

/** Nobody; the topic; `host@backend` of the first host, of the second, ... */
export const NOBODY = 0
export const QUEUED = 1
export const FIRST_HOST = 2

/** More are never explored: the number of a resource is part of a key. */
export const MOST_RESOURCES = 8

/** A row in numbers. `body` names all that no other number says. */
export interface RowNumbers {
  readonly body: number
  /** NOBODY, QUEUED, or FIRST_HOST + the index of the host that took it. */
  readonly who: number
  /** 0 where the row has none. */
  readonly incarnation: number
  readonly fence: number
  /** The last host that worked on the running operation: its index + 1, or 0. */
  readonly host: number
}

/** What a decision makes of the rows. */
export interface Outcome {
  readonly changes: readonly (RowNumbers & { readonly resource: number })[]
  /** Resources whose topic is to be rung. */
  readonly rings: readonly number[]
  /** An invariant of a single row that the decision broke. */
  readonly broken: { readonly invariant: string; readonly message: string } | null
}

/** What a row's body says, looked up for checks and texts. */
export interface Body {
  readonly kind: string
  readonly status: string
  readonly operation: string | null
  /** The policy of the cleanup that is recorded, or null. */
  readonly cleanup: string | null
  readonly attempts: number
  /** Operation, worker and holder are none, as the status says. */
  readonly atRest: boolean
  /** What the backend has once all is at rest; null where nothing can be said. */
  readonly exists: boolean | null
}

export interface World {
  readonly types: Types
  readonly resources: readonly Ref[]
  /** `cluster@backend`. */
  readonly topic: string
  readonly backend: string
  readonly hosts: readonly string[]
  readonly limits: Limits
}

interface Content {
  readonly kind: string
  readonly status: string
  readonly previous_status: string | null
  readonly operation: null | {
    readonly name: string
    readonly input: JsonObject
    readonly cancelled: boolean
    readonly topic: string | null
    readonly cleanup: null | { readonly policy: string; readonly failures: number }
  }
  readonly held_by: Ref | null
  readonly attempts: number
  readonly children: { readonly [kind: string]: number }
  readonly data: JsonObject
}

export class Rows {
  readonly #world: World
  readonly #contents: Content[] = []
  readonly #bodies: Body[] = []
  readonly #byText = new Map<string, number>()
  readonly #decided = new Map<number, Map<number, Outcome | null>>()
  readonly #decidedTogether = new Map<string, Outcome | null>()
  /** Some kind takes part in another's operations, so a decision may look at every row. */
  readonly #together: boolean
  readonly #isSound = new Map<string, ReadonlySet<string>>()

  constructor(world: World) {
    this.#world = world
    this.#together = new Set(world.resources.map(({ kind }) => kind)).size > 1
    for (const [kind, { table }] of world.types) this.#isSound.set(kind, soundStatuses(table.operations))
  }

  body(index: number): Body {
    return this.#bodies[index]!
  }

  /** Bodies seen so far. */
  get bodies(): number {
    return this.#bodies.length
  }

  /** A resource at the start: absent, or made and at rest. */
  first(resource: number, made: FirstRow | null): RowNumbers {
    const { kind, id } = this.#world.resources[resource]!
    const row = emptyRow(kind, id, this.#world.topic)
    return this.#numbersOf(made === null ? row : { ...row, version: 1, ...made })
  }

  /** The row that these numbers stand for. Versions tell only absent from there. */
  row(resource: number, { body, who, incarnation, fence, host }: RowNumbers): ResourceRow {
    const { topic, backend, hosts, resources } = this.#world
    const { kind, id } = resources[resource]!
    const content = this.#contents[body]!
    const { operation, held_by } = content
    return {
      ...emptyRow(kind, id, topic),
      version: content.status === 'new' ? 0 : 1,
      status: content.status,
      previous_status: content.previous_status,
      worker:
        who === NOBODY
          ? null
          : who === QUEUED
            ? (operation?.topic ?? topic)
            : `${hosts[who - FIRST_HOST]}@${backend}`,
      incarnation: incarnation === 0 ? null : incarnation,
      operation: operation === null ? null : operationOf(operation),
      host: host === 0 ? null : hosts[host - 1]!,
      held_by: held_by === null ? null : { ...held_by, fence: 0 },
      fence,
      attempts: content.attempts,
      children: content.children,
      data: content.data,
    }
  }

  /**
   * Decides an event for one of these rows, given as their numbers. `key` names the event among all; `event` is
   * asked only where the answer is not known yet. Null: refused.
   */
  decide(
    resource: number,
    numbers: readonly number[],
    key: number,
    event: () => ResourceEvent,
  ): Outcome | null {
    if (this.#together) {
      const text = `${key} ${resource} ${numbers.join(' ')}`
      let outcome = this.#decidedTogether.get(text)
      if (outcome === undefined) {
        outcome = this.#outcome(resource, numbers.map(numbersIn), event())
        this.#decidedTogether.set(text, outcome)
      }
      return outcome
    }
    const keyHere = key * MOST_RESOURCES + resource
    let byRow = this.#decided.get(keyHere)
    if (byRow === undefined) {
      byRow = new Map()
      this.#decided.set(keyHere, byRow)
    }
    const number = numbers[resource]!
    let outcome = byRow.get(number)
    if (outcome === undefined) {
      outcome = this.#outcome(resource, numbers.map(numbersIn), event())
      byRow.set(number, outcome)
    }
    return outcome
  }

  #outcome(resource: number, numbers: readonly RowNumbers[], event: ResourceEvent): Outcome | null {
    const { types, resources } = this.#world
    const rows = new Map<string, ResourceRow | undefined>()
    for (const [index, { kind, id }] of resources.entries()) {
      const row = this.row(index, numbers[index]!)
      rows.set(`${kind}/${id}`, row.version === 0 ? undefined : row)
    }
    const row = this.row(resource, numbers[resource]!)
    const related = new Map<string, ResourceRow | undefined>()
    for (;;) {
      const missing = relatedRefs(types, row, event, related)
        .map(({ kind, id }) => `${kind}/${id}`)
        .filter((key) => !related.has(key))
      if (missing.length === 0) break
      for (const key of missing) related.set(key, rows.get(key))
    }
    let decision: Decision
    try {
      decision = decide(types, row, related, event)
    } catch (error) {
      if (!(error instanceof BrokenInvariant)) throw error
      return { changes: [], rings: [], broken: { invariant: 'rest_has_no_worker', message: error.message } }
    }
    if (!decision.accepted) return null
    const indexOf = (of: Ref) => resources.findIndex(({ kind, id }) => kind === of.kind && id === of.id)
    const changes = decision.changes.map((change) => ({
      ...this.#numbersOf(change),
      resource: indexOf(change),
    }))
    const rings = decision.commands
      .filter(({ type }) => type === 'ring')
      .map((command) => indexOf(command.row))
    return { changes, rings, broken: this.#brokenBy(decision.changes) }
  }

  #brokenBy(changes: readonly ResourceRow[]): Outcome['broken'] {
    for (const row of changes) {
      const { rest } = this.#world.types.get(row.kind)!.statuses
      const isRest = rest.includes(row.status) || row.status === 'gone'
      const isFree =
        row.operation === null && row.worker === null && row.incarnation === null && row.held_by === null
      if (isRest !== isFree)
        return {
          invariant: 'rest_has_no_worker',
          message: `${row.kind} ${row.id} is ${row.status} with ${isFree ? 'no worker' : 'a worker'}`,
        }
    }
    return null
  }

  #numbersOf(row: ResourceRow): RowNumbers {
    const { backend, hosts } = this.#world
    const { operation } = row
    const content: Content = {
      kind: row.kind,
      status: row.status,
      previous_status: row.previous_status,
      operation:
        operation === null
          ? null
          : {
              name: operation.name,
              input: operation.input,
              cancelled: operation.cancel_requested_at !== null,
              topic: operation.topic ?? null,
              cleanup:
                operation.cleanup === null
                  ? null
                  : { policy: operation.cleanup.policy, failures: operation.cleanup.failures },
            },
      held_by: row.held_by === null ? null : { kind: row.held_by.kind, id: row.held_by.id },
      attempts: row.attempts,
      children: row.children,
      data: row.data,
    }
    const taken = hosts.findIndex((host) => row.worker === `${host}@${backend}`)
    const isQueued = row.worker === topicOfWork(row) && row.incarnation === null
    return {
      body: this.#intern(content),
      who: row.worker === null ? NOBODY : isQueued ? QUEUED : FIRST_HOST + taken,
      incarnation: row.incarnation ?? 0,
      fence: row.fence,
      host: operation === null ? 0 : hosts.indexOf(row.host ?? '') + 1,
    }
  }

  #intern(content: Content): number {
    const text = JSON.stringify(content)
    const known = this.#byText.get(text)
    if (known !== undefined) return known
    const { kind, status, operation, held_by, attempts } = content
    const { rest } = this.#world.types.get(kind)!.statuses
    const isRest = rest.includes(status)
    this.#contents.push(content)
    this.#byText.set(text, this.#bodies.length)
    return (
      this.#bodies.push({
        kind,
        status,
        operation: operation?.name ?? null,
        cleanup: operation?.cleanup?.policy ?? null,
        attempts,
        atRest: operation === null && held_by === null,
        exists:
          status === 'gone' || status === 'new'
            ? false
            : isRest && this.#isSound.get(kind)!.has(status)
              ? true
              : null,
      }) - 1
    )
  }
}

/** Statuses in which an operation ends that went well: there, what it made is at the backend. */
function soundStatuses(operations: { readonly [name: string]: OperationShape }): ReadonlySet<string> {
  const ends = Object.values(operations)
    .filter(({ force }) => force !== true)
    .flatMap(({ to }) => to)
  return new Set(ends)
}

function operationOf({
  name,
  input,
  cancelled,
  topic,
  cleanup,
}: NonNullable<Content['operation']>): Operation {
  return {
    name,
    input,
    request_id: null,
    accepted_at: 0,
    accepted_version: 1,
    progress: null,
    cancel_requested_at: cancelled ? 0 : null,
    history: [],
    cleanup: cleanup === null ? null : { ...cleanup, reason: '', not_before: 0 },
    ...(topic === null ? {} : { topic }),
  }
}

/** A row's numbers as one. */
export function numberOf(
  body: number,
  who: number,
  incarnation: number,
  fence: number,
  host: number,
): number {
  return (((body * 16 + who) * 16 + incarnation) * 64 + fence) * 16 + host
}

function numbersIn(number: number): RowNumbers {
  const host = number % 16
  const fence = Math.floor(number / 16) % 64
  const incarnation = Math.floor(number / 1024) % 16
  const who = Math.floor(number / 16_384) % 16
  return { body: Math.floor(number / 262_144), who, incarnation, fence, host }
}

/** A service row as this configuration has it. */
export function serviceRow(
  world: World,
  host: number,
  state: ServiceRow['state'],
  incarnation: number,
  cleaned_incarnation: number,
  cleans_at_backend: boolean,
): ServiceRow {
  const cluster = world.topic.slice(0, world.topic.indexOf('@'))
  return {
    kind: 'service',
    id: `${world.topic}@${world.hosts[host]}`,
    version: 1,
    cluster,
    backend: world.backend,
    host: world.hosts[host]!,
    incarnation,
    state,
    cleaned_incarnation,
    cleans_at_backend,
    disabled: false,
    disabled_reason: null,
  }
}
