// What an event makes of rows: one pure decision over the row it is for and the rows that take part, to be
// swapped in one transaction. The guards are the in-memory half of the compare, the expectations listed
// here are the durable half; they meet in this file. Nothing is read, written or run here.

import { reasonOf } from './cluster.ts'
import { isCreate, type ResourceType } from './definition.ts'
import { BrokenInvariant } from './error.ts'
import type { AcceptEvent } from './event.ts'
import { type Ending, type ResourceEvent, statePathOf } from './resource.ts'
import { isGone, type Json, type Ref, type ResourceRow, type RowError, refOf, sameRef } from './row.ts'
import type { Command, Step } from './step.ts'
import { startsOf, USED } from './table.ts'

/** What is decided, to be made durable as a whole or not at all. */
export interface Accepted {
  readonly accepted: true
  /** The next row of the resource the event was for. */
  readonly row: ResourceRow
  /** All rows that change, each with `version` + 1; `row` is the first. */
  readonly changes: readonly ResourceRow[]
  /** The same rows as they were and as they will be, in the same order. */
  readonly steps: readonly RowStep[]
  /** Rows that were read for a guard and do not change: they bind as well (no write skew). */
  readonly read: readonly ResourceRow[]
  /** What the runtime runs once the changes are durable. */
  readonly commands: readonly {
    readonly type: string
    readonly before: ResourceRow
    readonly row: ResourceRow
  }[]
}

/** One row of a decision; `before` of a new one has version 0. */
export interface RowStep {
  readonly before: ResourceRow
  readonly after: ResourceRow
}

/** Nothing changes. */
export interface Refused {
  readonly accepted: false
  /** The resource that refused: the one asked, or one that would take part. */
  readonly resource: Ref
  /** The statuses from which it would have been accepted. */
  readonly expected: readonly string[]
  /** The status found; `absent` where there is no such row. */
  readonly found: string
  /** The guard that said no, where the status was right. */
  readonly guard: string | null
  /** In words, where status and guard do not say it. */
  readonly why?: string
}

export type Decision = Accepted | Refused

export type Types = ReadonlyMap<string, ResourceType>

/** Rows by `kind/id`. A key that was asked for and is absent maps to undefined. */
export type Rows = ReadonlyMap<string, ResourceRow | undefined>

const keyOf = (ref: Ref): string => `${ref.kind}/${ref.id}`

/**
 * The rows besides its own that a decision needs. A held row's holder brings rows of its own, so ask again
 * with what was loaded until nothing new is named.
 */
export function relatedRefs(
  types: Types,
  row: ResourceRow,
  event: ResourceEvent,
  loaded: Rows,
): readonly Ref[] {
  const refs = [...askedRefs(types, row, event)]
  if (row.version > 0 && event.type !== 'progress' && event.type !== 'claim')
    refs.push(...takingRefs(types, row))
  // A force operation takes the row away from whoever holds it.
  if (row.held_by !== null && types.get(row.kind)!.table.operations[event.type] !== undefined) {
    refs.push(refOf(row.held_by))
    const holder = loaded.get(keyOf(row.held_by))
    if (holder !== undefined) refs.push(...takingRefs(types, holder))
  }
  // Most events are about one row alone.
  return refs.length === 0 ? NO_REFS : distinct(refs).filter((ref) => !sameRef(ref, row))
}

const NO_REFS: readonly Ref[] = []

function distinct(refs: readonly Ref[]): Ref[] {
  return [...new Map(refs.map((ref) => [keyOf(ref), ref])).values()]
}

/** The parent of a row, and what its running operation takes. */
function takingRefs(types: Types, { kind, data, operation }: ResourceRow): readonly Ref[] {
  const parent = parentRef(types, kind, data)
  const taken = operation === null ? NO_REFS : takenRefs(types, kind, operation.name, operation.input)
  return parent === null ? taken : [parent, ...taken]
}

/** The rows that take part in the operation asked for, if the event asks for one: its guards see them. */
export function askedRefs(types: Types, row: ResourceRow, event: ResourceEvent): readonly Ref[] {
  const operation = types.get(row.kind)!.table.operations[event.type]
  if (operation === undefined) return NO_REFS
  const { input } = event as { input: ResourceRow['data'] }
  const parent = parentRef(types, row.kind, isCreate(operation) ? input : row.data)
  const taken = takenRefs(types, row.kind, event.type, input)
  return parent === null ? taken : [parent, ...taken]
}

/** The topic whose cluster row binds this event: its freeze refuses what the table says `unless_frozen` of. */
export function boundCluster(types: Types, row: ResourceRow, event: ResourceEvent): string | null {
  return types.get(row.kind)!.table.operations[event.type]?.unless_frozen === true ? row.cluster : null
}

/** The rows a running operation holds or uses. */
export function takenRefs(
  types: Types,
  kind: string,
  name: string,
  input: ResourceRow['data'],
): readonly Ref[] {
  const held = holdRefs(types, kind, name, input)
  const used = useRefs(types, kind, name, input)
  return used.length === 0 ? held : [...held, ...used]
}

/** The rows a running operation holds, as its input names them. */
export function holdRefs(
  types: Types,
  kind: string,
  name: string,
  input: ResourceRow['data'],
): readonly Ref[] {
  return refsNamed(types.get(kind)!.table.operations[name]?.holds, input)
}

/** The rows a running operation uses, as its input names them. */
export function useRefs(
  types: Types,
  kind: string,
  name: string,
  input: ResourceRow['data'],
): readonly Ref[] {
  return refsNamed(types.get(kind)!.table.operations[name]?.uses, input)
}

function refsNamed(
  named: { readonly [kind: string]: { readonly id: string } } | undefined,
  input: ResourceRow['data'],
): readonly Ref[] {
  let refs: Ref[] | null = null
  for (const kind in named) {
    const value = input[named[kind]!.id]
    if (value === undefined || value === null) continue
    refs ??= []
    for (const id of idsIn(value)) refs.push({ kind, id })
  }
  return refs ?? NO_REFS
}

/** One id, a list of them, or none. */
function idsIn(value: Json | undefined): readonly string[] {
  if (value === undefined || value === null) return []
  return (Array.isArray(value) ? value : [value]).map(String)
}

/** The resource that this one belongs to, as its data names it. */
export function parentRef(types: Types, kind: string, data: ResourceRow['data']): Ref | null {
  const parent = types.get(kind)!.table.parent
  if (parent === undefined) return null
  const [id] = idsIn(data[parent.id])
  return id === undefined ? null : { kind: parent.kind, id }
}

/**
 * Decides an event. `row` is the resource's row, or a fresh `emptyRow` for an operation from `new`;
 * `related` holds what `relatedRefs` asked for. Pure and total, but for a user's guard or change that
 * throws: that error comes through.
 */
export function decide(types: Types, row: ResourceRow, related: Rows, event: ResourceEvent): Decision {
  return new Deciding(types, related).decide(row, event)
}

class Deciding {
  readonly #types: Types
  readonly #related: Rows
  /** Rows after the steps so far, in the order of their first change. */
  readonly #next = new Map<string, RowStep>()
  readonly #commands: { type: string; before: ResourceRow; row: ResourceRow }[] = []
  #refused: Refused | null = null

  constructor(types: Types, related: Rows) {
    this.#types = types
    this.#related = related
  }

  decide(row: ResourceRow, event: ResourceEvent): Decision {
    const operation = this.#types.get(row.kind)!.table.operations[event.type]
    const missing = operation === undefined ? null : this.#missing(row, event)
    if (missing !== null) return missing
    this.#step(row, operation === undefined ? event : { ...event, related: this.#relatedByKind(row, event) })
    if (this.#refused !== null) return this.#refused
    const steps = [...this.#next.values()]
    const changes = steps.map(({ after }) => after)
    const read: ResourceRow[] = []
    // Only an accept's guards look at related rows; elsewhere an unchanged one need not bind.
    if (operation !== undefined)
      for (const [key, related] of this.#related)
        if (related !== undefined && !this.#next.has(key)) read.push(related)
    return { accepted: true, row: changes[0]!, changes, steps, read, commands: this.#commands }
  }

  /** A parent or a row to hold that is not there, or not any more, or belongs to another cluster. */
  #missing(row: ResourceRow, event: ResourceEvent): Refused | null {
    for (const ref of askedRefs(this.#types, row, event)) {
      const found = this.#related.get(keyOf(ref))
      // Nothing new belongs to what is gone; what does already may still be deleted.
      if (found === undefined || (row.version === 0 && isGone(found)))
        return {
          accepted: false,
          resource: ref,
          expected: [`a ${ref.kind} that is there`],
          found: found?.status ?? 'absent',
          guard: null,
        }
      if (found.cluster !== row.cluster)
        return {
          accepted: false,
          resource: ref,
          expected: [`cluster ${row.cluster}`],
          found: `cluster ${found.cluster}`,
          guard: null,
        }
    }
    return this.#unusable(row, event)
  }

  /** A row to use that is in a status in which it can't be read. */
  #unusable(row: ResourceRow, event: ResourceEvent): Refused | null {
    const { uses } = this.#types.get(row.kind)!.table.operations[event.type]!
    const { input } = event as { input: ResourceRow['data'] }
    for (const ref of refsNamed(uses, input)) {
      const { from } = uses![ref.kind]!
      const { status } = this.#related.get(keyOf(ref))!
      if (!from.includes(status))
        return { accepted: false, resource: ref, expected: from, found: status, guard: null }
    }
    return null
  }

  #relatedByKind(row: ResourceRow, event: ResourceEvent): { [kind: string]: ResourceRow } {
    const byKind: { [kind: string]: ResourceRow } = {}
    for (const ref of askedRefs(this.#types, row, event)) byKind[ref.kind] = this.#related.get(keyOf(ref))!
    return byKind
  }

  /** Steps one row's chart; false (and refused) where it does not accept the event. */
  #step(before: ResourceRow, event: ResourceEvent): boolean {
    const type = this.#types.get(before.kind)!
    const step = type.stepper.step({ path: statePathOf(before), context: before }, event)
    if (step === null) {
      this.#refused ??= refusal(type, before, event)
      return false
    }
    const row = {
      ...(step.context as ResourceRow),
      version: before.version + 1,
      updated_at: (event as { at: number }).at,
    }
    assertAgrees(step, row)
    const key = keyOf(before)
    const earlier = this.#next.get(key)
    // A row stepped twice in one decision is still one swap.
    this.#next.set(key, {
      before: earlier?.before ?? before,
      after: earlier ? { ...row, version: earlier.after.version } : row,
    })
    for (const command of step.commands) if (!this.#askOthers(command, before, row, event)) return false
    return true
  }

  /** Commands that concern other rows are carried out here, in the same decision; the rest is the runtime's. */
  #askOthers(command: Command, before: ResourceRow, row: ResourceRow, event: ResourceEvent): boolean {
    const { at } = event as { at: number }
    const { operation } = row
    switch (command.type) {
      case 'holdRelated': {
        const holds = this.#types.get(row.kind)!.table.operations[operation!.name]!.holds ?? {}
        const holder = { ...refOf(row), fence: row.fence }
        return Object.entries(holds).every(([kind, { as, id }]) => {
          const hold = { type: 'hold', as, holder, at } as ResourceEvent
          return idsIn(operation!.input[id]).every((id) => this.#tell({ kind, id }, hold))
        })
      }
      case 'useRelated':
        return this.#tellUsed(row, 'child.added', at)
      case 'renewRelated':
        return this.#tellHeld(row, { type: 'renew', holder: { ...refOf(row), fence: row.fence }, at })
      case 'releaseRelated': {
        const ending = command.params.ending as Ending
        const error = ending === 'done' ? null : endingError(row, before, ending, at)
        const release = { type: `release.${ending}`, holder: refOf(row), error, at } as ResourceEvent
        return this.#tellHeld(before, release) && this.#tellUsed(before, 'child.removed', at)
      }
      case 'dropHolder':
        return this.#dropHolder(before, at)
      case 'addChild':
        return this.#tellParent(row, 'child.added', at)
      case 'removeChild':
        return this.#tellParent(before, 'child.removed', at)
      default:
        this.#commands.push({ type: command.type, before, row })
        return true
    }
  }

  #tell(ref: Ref, event: ResourceEvent): boolean {
    const row = this.#next.get(keyOf(ref))?.after ?? this.#related.get(keyOf(ref))
    // A parent or held row can't vanish while it is counted on: it has a child or a holder.
    if (row === undefined) throw new BrokenInvariant(`${event.type} needs ${keyOf(ref)}, which is absent`)
    return this.#step(row, event)
  }

  #tellParent(row: ResourceRow, type: 'child.added' | 'child.removed', at: number): boolean {
    const parent = parentRef(this.#types, row.kind, row.data)
    return parent === null || this.#tell(parent, { type, kind: row.kind, at })
  }

  #tellUsed(row: ResourceRow, type: 'child.added' | 'child.removed', at: number): boolean {
    const { name, input } = row.operation!
    return useRefs(this.#types, row.kind, name, input).every((ref) =>
      this.#tell(ref, { type, kind: USED, at }),
    )
  }

  #tellHeld(row: ResourceRow, event: ResourceEvent): boolean {
    if (row.operation === null) return true
    return holdRefs(this.#types, row.kind, row.operation.name, row.operation.input).every((ref) => {
      const held = this.#next.get(keyOf(ref))?.after ?? this.#related.get(keyOf(ref))
      // A force operation took the row away: this operation holds it no longer.
      if (held?.held_by?.kind !== row.kind || held.held_by.id !== row.id) return true
      return this.#tell(ref, event)
    })
  }

  /** A force operation took `row` from the operation that held it: that operation fails, in one piece with this. */
  #dropHolder(row: ResourceRow, at: number): boolean {
    const holder = this.#related.get(keyOf(row.held_by!))
    if (holder?.operation == null) return true
    return this.#tell(refOf(holder), { type: 'drop', by: refOf(row), at })
  }
}

function endingError(row: ResourceRow, before: ResourceRow, ending: Ending, at: number): RowError {
  const name = before.operation?.name ?? 'an operation'
  const why = row.error === null ? ending : row.error.message
  return {
    code: ending === 'cleanup' ? 'interrupted' : ending,
    message: `${name} of ${row.kind} ${row.id}: ${why}`,
    at,
  }
}

/** The status in the row and the state of the chart are one fact; a difference is a broken invariant. */
function assertAgrees(step: Step, row: ResourceRow): void {
  const { path } = step
  const said = statePathOf(row)
  if (path !== said) throw new BrokenInvariant(`${row.kind} ${row.id} is in ${path}, its row says ${said}`)
}

function refusal(type: ResourceType, row: ResourceRow, event: ResourceEvent): Refused {
  const operation = type.table.operations[event.type]
  const found = row.version === 0 ? 'absent' : row.status
  const resource = refOf(row)
  if (operation === undefined) {
    const expected =
      event.type === 'hold'
        ? [...heldFrom(type, (event as { as: string }).as)]
        : [`a state that takes ${event.type}`]
    return {
      accepted: false,
      resource,
      expected,
      found: event.type === 'hold' ? found : statePathOf(row),
      guard: event.type === 'hold' && row.children[USED] !== undefined ? 'isUnused' : null,
    }
  }
  const expected = startsOf(type.table, operation)
  if (!expected.includes(row.status)) return { accepted: false, resource, expected, found, guard: null }
  const { input, related, cluster } = event as AcceptEvent
  if (operation.unless_frozen === true && cluster?.frozen === true)
    return {
      accepted: false,
      resource,
      expected: ['a cluster that is not frozen'],
      found: 'frozen',
      guard: 'isThawed',
      why: `its cluster ${cluster.id} is frozen${reasonOf(cluster.frozen_reason)}`,
    }
  const guard =
    (operation.guards ?? []).find((name) => !type.table.guards![name]!({ row, input, related })) ?? null
  const isUsed = operation.via !== undefined && row.children[USED] !== undefined
  return { accepted: false, resource, expected, found, guard: guard ?? (isUsed ? 'isUnused' : null) }
}

function heldFrom(type: ResourceType, as: string): readonly string[] {
  const from = type.table.held?.[as]?.from ?? []
  return typeof from === 'string' ? [from] : from
}
