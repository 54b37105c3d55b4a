// What the row of one resource may do, seen from outside: a compare-and-swap register of a table. An accept
// succeeds only from its statuses; between the callers' operations the row moves on by itself, a version a
// step: claimed, held by another's operation, finished, cleaned up. Pure; it says what may be, never what is.

import type { ResourceType } from '../../machines/definition.ts'
import { asList, type OperationShape, startsOf, type TableShape } from '../../machines/table.ts'
import type { Interval, Model } from './linearizable.ts'

/** What a caller can see of a row. */
export type Look =
  | { readonly at: 'absent' }
  | { readonly at: 'rest'; readonly status: string }
  /** `accepted` is the version at which the operation stands there. */
  | {
      readonly at: 'busy'
      readonly status: string
      readonly operation: string
      readonly accepted: number
      readonly previous: string | null
    }
  | { readonly at: 'held'; readonly status: string; readonly previous: string | null }

/** What a call asked of the resource. */
export type Asked =
  | { readonly type: 'read' }
  /** How an operation ended: a look at the row at some time before the answer. */
  | { readonly type: 'settled' }
  | { readonly type: 'accept'; readonly operation: string; readonly to?: string }
  | { readonly type: 'cancel' }

/** How it was answered. `value` is equal for equal rows, null where the row was not told. */
export type Answered =
  | { readonly type: 'row'; readonly version: number; readonly look: Look; readonly value: string | null }
  /** Accepted, though the answer does not tell the version of the accept. */
  | { readonly type: 'accepted' }
  | { readonly type: 'absent' }
  | { readonly type: 'refused'; readonly status: string; readonly guard: string | null }

export interface RegisterCall extends Interval {
  readonly asked: Asked
  /** Null where no answer came. */
  readonly answer: Answered | null
}

export interface RegisterState {
  /** The version, exactly or at least. */
  readonly version: number
  readonly isExact: boolean
  /** Null: nothing is known yet. */
  readonly look: Look | null
  readonly value: string | null
}

/** Nothing has been made under this id. */
export const absent: RegisterState = { version: 0, isExact: true, look: { at: 'absent' }, value: null }
/** Whatever was before, nobody looked. */
export const unknown: RegisterState = { version: 0, isExact: false, look: null, value: null }

/** `cancels`: somebody may have cancelled, so an operation may also end where it began. */
export function registerOf(
  type: ResourceType,
  { cancels }: { readonly cancels: boolean },
): Model<RegisterState, RegisterCall> {
  return new Register(type.table, cancels)
}

class Register implements Model<RegisterState, RegisterCall> {
  readonly #table: TableShape
  readonly #cancels: boolean
  readonly #ways = new Map<string, readonly Way[]>()

  constructor(table: TableShape, cancels: boolean) {
    this.#table = table
    this.#cancels = cancels
  }

  groupOf({ look }: RegisterState): string {
    return groupOf(look)
  }

  /** A lower version comes to every higher one by itself. */
  covers(state: RegisterState, other: RegisterState): boolean {
    if (!coversLook(state.look, other.look) || state.version > other.version) return false
    if (state.version < other.version || !state.isExact) return true
    return other.isExact && (state.value === null || state.value === other.value)
  }

  nameOf({ asked }: RegisterCall): string {
    return asked.type === 'accept' ? `${asked.operation} ${asked.to ?? ''}` : asked.type
  }

  /** Whoever saw a version came before whoever saw a later one; an accept is the first to see its own. */
  rankOf({ asked, answer }: RegisterCall): number | null {
    if (answer?.type !== 'row') return null
    return asked.type === 'accept' || asked.type === 'cancel' ? answer.version - 0.5 : answer.version
  }

  step(state: RegisterState, { asked, answer }: RegisterCall): readonly RegisterState[] {
    if (answer === null || answer.type === 'accepted')
      return asked.type === 'accept' ? this.#mayAccept(state, asked.operation, asked.to) : [state]
    if (answer.type === 'refused') return this.#refuse(state, asked, answer)
    if (answer.type === 'absent') return this.#missing(state)
    const { version, look, value } = answer
    const after: RegisterState = { version, isExact: true, look, value }
    if (asked.type === 'accept') return this.#accepts(state, asked.operation, version, look) ? [after] : []
    // A cancel that was taken wrote something.
    const isLater = asked.type !== 'cancel' || !state.isExact || version > state.version
    if (!isLater || !this.#leadsTo(state, version, look, value)) return []
    return [value === null && version === state.version ? { ...after, value: state.value } : after]
  }

  /** Can the row be seen like this by now? */
  #leadsTo(state: RegisterState, version: number, look: Look, value: string | null): boolean {
    if (state.look === null) return version >= state.version
    if (version < state.version) return false
    const isSameRow = state.isExact && version === state.version
    if (isSameRow && value !== null && state.value !== null && value !== state.value) return false
    return this.#waysFrom(state.look).some(
      ({ look: reached, steps }) => matches(reached, look) && state.version + steps <= version,
    )
  }

  #accepts(state: RegisterState, name: string, version: number, look: Look): boolean {
    const operation = this.#operation(name)
    if (!isOutcomeOf(operation, name, version, look)) return false
    if (operation.from === 'new') return version === 1 && (state.look === null || state.look.at === 'absent')
    if (state.look === null) return version > state.version
    const previous = look.at === 'busy' ? look.previous : null
    return this.#waysFrom(state.look).some(
      (way) =>
        this.#isStart(operation, way.look) &&
        // The last rest status is told in the row.
        (operation.force === true || previous === null || statusOf(way.look) === previous) &&
        state.version + way.steps <= version - 1,
    )
  }

  /** An accept of which nobody knows the version. */
  #mayAccept(state: RegisterState, name: string, to: string | undefined): readonly RegisterState[] {
    const operation = this.#operation(name)
    if (state.look === null) return [state]
    const starts =
      operation.from === 'new'
        ? state.look.at === 'absent' && state.version === 0
          ? [{ look: state.look, steps: 0 }]
          : []
        : this.#waysFrom(state.look).filter(({ look }) => this.#isStart(operation, look))
    return starts.flatMap(({ look, steps }) => {
      const version = state.version + steps + 1
      const isExact = operation.from === 'new'
      return outcomesOf(operation, name, version, look, to).map((outcome) => ({
        version,
        isExact,
        look: outcome,
        value: null,
      }))
    })
  }

  #refuse(
    state: RegisterState,
    asked: Asked,
    { status, guard }: Answered & { type: 'refused' },
  ): readonly RegisterState[] {
    if (asked.type === 'accept' && guard === null) {
      const operation = this.#operation(asked.operation)
      // It should have been taken.
      if (operation.from !== 'new' && startsOf(this.#table, operation).includes(status)) return []
    }
    if (state.look === null) return [state]
    return this.#waysFrom(state.look)
      .filter(({ look }) => statusOf(look) === status)
      .map(({ look, steps }) =>
        steps === 0 ? state : { version: state.version + steps, isExact: false, look, value: null },
      )
  }

  /** Nothing is there: never made, or gone and forgotten. */
  #missing(state: RegisterState): readonly RegisterState[] {
    const forgotten: RegisterState = {
      version: Number.MAX_SAFE_INTEGER,
      isExact: true,
      look: { at: 'absent' },
      value: null,
    }
    if (state.look === null) return [absent, forgotten]
    if (state.look.at === 'absent') return [state]
    return this.#waysFrom(state.look).some(({ look }) => statusOf(look) === 'gone') ? [forgotten] : []
  }

  #isStart(operation: OperationShape, look: Look): boolean {
    if (look.at === 'absent') return false
    if (operation.force !== true && look.at !== 'rest') return false
    return startsOf(this.#table, operation).includes(look.status)
  }

  #operation(name: string): OperationShape {
    const operation = this.#table.operations[name]
    if (operation === undefined) throw new Error(`${this.#table.kind} has no operation '${name}'`)
    return operation
  }

  /** Everything the row may become by itself, with the fewest steps to it. */
  #waysFrom(look: Look): readonly Way[] {
    const text = textOf(look)
    const known = this.#ways.get(text)
    if (known !== undefined) return known
    const ways: Way[] = [{ look, steps: 0 }]
    const seen = new Set([text])
    for (const way of ways)
      for (const next of this.#movesOf(way.look)) {
        if (seen.has(textOf(next))) continue
        seen.add(textOf(next))
        ways.push({ look: next, steps: way.steps + 1 })
      }
    this.#ways.set(text, ways)
    return ways
  }

  #movesOf(look: Look): readonly Look[] {
    const { held = {} } = this.#table
    if (look.at === 'absent') return []
    if (look.at === 'rest')
      return Object.entries(held)
        .filter(([, shape]) => asList(shape.from).includes(look.status))
        .map(([status]) => ({ at: 'held', status, previous: look.status }))
    const ends = look.at === 'held' ? heldEnds(held[look.status]) : endsOf(this.#operation(look.operation))
    const rests = ends.map((end) => (isPrevious(end) ? look.previous : end))
    // A cancelled operation leaves everything as it was; a cancelled create leaves nothing.
    if (look.at === 'busy' && this.#cancels) rests.push(look.previous ?? 'gone')
    return [...new Set(rests)].filter((status) => status !== null).map((status) => ({ at: 'rest', status }))
  }
}

interface Way {
  readonly look: Look
  readonly steps: number
}

const isPrevious = (end: string) => end === 'previous' || end === 'restore'

function endsOf({ to, failed, ends = {}, cleanup }: OperationShape): readonly string[] {
  return [...asList(to), ...Object.values(ends), failed, cleanup].filter(
    (end) => end !== undefined && end !== 'requeue',
  ) as string[]
}

function heldEnds(shape: { to: string; failed: string; cleanup: string } | undefined): readonly string[] {
  return shape === undefined ? [] : [shape.to, shape.failed, shape.cleanup]
}

/** May an accept of this operation leave the row like this, at this version? */
function isOutcomeOf(operation: OperationShape, name: string, version: number, look: Look): boolean {
  if (operation.via === undefined) return look.at === 'rest' && mayEndIn(operation, look.status)
  return look.at === 'busy' && look.operation === name && look.accepted === version
}

function mayEndIn({ to }: OperationShape, status: string): boolean {
  return asList(to).some((end) => end === status || isPrevious(end))
}

function outcomesOf(
  operation: OperationShape,
  name: string,
  version: number,
  before: Look,
  to: string | undefined,
): readonly Look[] {
  const previous = before.at === 'rest' ? before.status : before.at === 'absent' ? null : before.previous
  if (operation.via !== undefined)
    return [{ at: 'busy', status: operation.via, operation: name, accepted: -version, previous }]
  const all = asList(operation.to)
  const ends = to !== undefined && operation.choose === undefined && all.includes(to) ? [to] : all
  return ends
    .map((end) => (isPrevious(end) ? previous : end))
    .filter((status) => status !== null)
    .map((status) => ({ at: 'rest', status }))
}

export function statusOf(look: Look): string | null {
  return look.at === 'absent' ? null : look.status
}

/** A negative version: that one or a later one, since nobody was told. */
function matches(reached: Look, seen: Look): boolean {
  if (reached.at !== seen.at || statusOf(reached) !== statusOf(seen)) return false
  if (reached.at === 'held' && seen.at === 'held') return reached.previous === seen.previous
  if (reached.at !== 'busy' || seen.at !== 'busy') return true
  if (reached.operation !== seen.operation || reached.previous !== seen.previous) return false
  return reached.accepted < 0 ? seen.accepted >= -reached.accepted : seen.accepted === reached.accepted
}

/** Both of one group: which version an operation was accepted at is all they may differ in. */
function coversLook(look: Look | null, other: Look | null): boolean {
  if (look?.at !== 'busy' || other?.at !== 'busy') return true
  if (look.accepted >= 0) return look.accepted === other.accepted
  return -look.accepted <= Math.abs(other.accepted)
}

function groupOf(look: Look | null): string {
  return look?.at === 'busy' ? textOf({ ...look, accepted: 0 }) : textOf(look)
}

function textOf(look: Look | null): string {
  if (look === null) return '?'
  if (look.at === 'absent') return 'absent'
  if (look.at === 'rest') return look.status
  if (look.at === 'held') return `${look.status} from ${look.previous}`
  return `${look.status} ${look.operation}@${look.accepted} from ${look.previous}`
}
