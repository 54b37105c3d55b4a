// What concurrent callers asked and were told, with the times of asking and of telling, and whether one order
// explains it all (linearizability), resource by resource. It records and judges; it calls nobody by itself.

import { createHash } from 'node:crypto'
import type { ResourceType } from '../../machines/definition.ts'
import type { ResourceRow } from '../../machines/row.ts'
import type { Refusal } from '../../runtime/accept.ts'
import type { Answer, Runtime } from '../../runtime/api.ts'
import { type Linearization, linearize, type Model } from './linearizable.ts'
import {
  type Answered,
  type Asked,
  absent,
  type Look,
  type RegisterCall,
  type RegisterState,
  registerOf,
  unknown,
} from './register.ts'

/** One call of a caller. Without an answer it may have taken effect, or may yet. */
export interface Call extends RegisterCall {
  /** In the order of asking, from 1. */
  readonly number: number
  readonly client: string
  /** `kind/id`; null for a create that was not answered: nobody knows its id. */
  readonly key: string | null
  readonly asked: Asked
  readonly invoked: number
  readonly answered: number | null
  readonly answer: Answered | null
}

/** A call under way. Answered at most once; a call of which nothing is known is left as it is. */
export interface OpenCall {
  readonly invoked: number
  /** The row as it was told; of an accept the row of that accept. */
  row(row: ResourceRow): void
  /** An accept was taken, but which version it made is not known (a repeated request). */
  accepted(key: string): void
  /** There is nothing under this id. */
  absent(): void
  /** As the runtime and its HTTP door tell it. */
  refusal(told: Pick<Refusal, 'resource' | 'found' | 'guard'>): void
  /** The call certainly did nothing: its input was bad, or nothing could be written. */
  withdrawn(): void
}

export type HistoryVerdict =
  | { readonly verdict: 'linearizable'; readonly resources: number; readonly calls: number }
  | {
      readonly verdict: 'not_linearizable'
      readonly key: string
      /** The shortest story that no order explains, as text. */
      readonly explanation: string
      readonly calls: readonly Call[]
    }
  /** The search would have been too long for these resources, and nothing else was found. */
  | { readonly verdict: 'undecided'; readonly keys: readonly string[] }

type Writable<T> = { -readonly [field in keyof T]: T[field] }

export class History {
  readonly #clock: () => number
  readonly #calls: Writable<Call>[] = []
  readonly #withdrawn = new Set<Call>()
  readonly #requests = new Map<string, Request>()

  /** `clock` never goes back: monotonic time, or the number of the step. */
  constructor(clock: () => number) {
    this.#clock = clock
  }

  get calls(): readonly Call[] {
    return this.#calls.filter((call) => !this.#withdrawn.has(call))
  }

  /**
   * `key` is `kind/id`, or the kind alone where the call makes a new resource. `since`: when it was asked, if
   * not now.
   */
  invoke(client: string, key: string, asked: Asked, since = this.#clock()): OpenCall {
    const call: Writable<Call> = {
      ...{ number: this.#calls.length + 1, client, asked, invoked: since },
      ...{ key: key.includes('/') ? key : null, answered: null, answer: null },
    }
    this.#calls.push(call)
    const answer = (found: Answered, told: string | null = call.key) => {
      if (call.answered !== null || this.#withdrawn.has(call)) return
      call.answered = this.#clock()
      call.answer = found
      call.key = told
    }
    return {
      invoked: since,
      row: (row) => answer(answerOf(row), `${row.kind}/${row.id}`),
      accepted: (told) => answer({ type: 'accepted' }, told),
      absent: () => answer({ type: 'absent' }),
      refusal: ({ resource, found, guard }) => {
        const told = `${resource.kind}/${resource.id}`
        // A new resource that was not made was never anywhere; a cluster is no status.
        const isNowhere = call.key === null && told.startsWith(`${key}/`)
        if (isNowhere || found.startsWith('cluster ')) this.#withdrawn.add(call)
        // Another resource said no: of the one that was asked nothing is known.
        if (told !== call.key) call.asked = { type: 'read' }
        // Where an operation is half-way is told with the status, as in `deleting.working`.
        const status = found.split('.')[0]!
        answer(found === 'absent' ? { type: 'absent' } : { type: 'refused', status, guard }, told)
      },
      withdrawn: () => this.#withdrawn.add(call),
    }
  }

  /** The calls that were made under this request id, this one included: one of them is taken at most. */
  requestOf(request_id: string, call: OpenCall): Request {
    const request = this.#requests.get(request_id) ?? new Request()
    this.#requests.set(request_id, request)
    request.calls.push(call)
    return request
  }

  /** Checks every resource apart. `most` bounds the search for each. */
  check(types: readonly ResourceType[], most?: number): HistoryVerdict {
    const byKey = new Map<string, Call[]>()
    for (const call of this.calls)
      if (call.key !== null) byKey.set(call.key, [...(byKey.get(call.key) ?? []), call])
    const undecided: string[] = []
    let checked = 0
    for (const [key, calls] of byKey) {
      const type = types.find(({ kind }) => key.startsWith(`${kind}/`))
      if (type === undefined) throw new Error(`the history has ${key}, whose type is not among those given`)
      const result = linearize(calls, initialOf(type, calls), modelOf(type, calls), most)
      if (result.verdict === 'undecided') undecided.push(key)
      if (result.verdict === 'not_linearizable') return explained(type, key, calls, result)
      checked += calls.length
    }
    if (undecided.length > 0) return { verdict: 'undecided', keys: undecided }
    return { verdict: 'linearizable', resources: byKey.size, calls: checked }
  }
}

/** Calls under one request id. Which of them was taken may be told late, or never. */
class Request {
  readonly calls: OpenCall[] = []
  #isTaken = false

  /** This one was. */
  taken(call: OpenCall): void {
    this.#isTaken = true
    for (const other of this.calls) if (other !== call) other.withdrawn()
  }

  /** One of them was, and not this one; it lay within the time from the first of them until now. */
  repeated(call: OpenCall, key: string): void {
    const [first] = this.calls as [OpenCall]
    if (this.#isTaken || call !== first) call.withdrawn()
    if (!this.#isTaken) first.accepted(key)
  }
}

/**
 * The calls of one client of a runtime, written down as they are made and answered.
 *
 * @example
 * ```ts
 * const history = new History(() => performance.now())
 * const client = recordedClient(runtime, history, 'client 1')
 * await client.accept('volume', null, 'create', { name: 'v', size: 1 })
 * history.check([volume]).verdict // 'linearizable'
 * ```
 */
export function recordedClient(
  runtime: Pick<Runtime, 'accept' | 'cancel' | 'get'>,
  history: History,
  client: string,
): Pick<Runtime, 'accept' | 'cancel' | 'get'> {
  const told = (call: OpenCall, answer: Answer) => {
    if (answer.ok) call.row(answer.row)
    else call.refusal(answer)
  }
  const end = (since: number, answer: Answer & { ok: true }) => {
    // The end may have been long before the answer to the accept arrived.
    const call = history.invoke(client, `${answer.row.kind}/${answer.id}`, { type: 'settled' }, since)
    answer.settled().then(
      ({ row }) => call.row(row),
      () => {},
    )
  }
  return {
    async accept(kind, id, operation, input, options) {
      const status = (input as { status?: unknown } | undefined)?.status
      const asked: Asked = {
        ...{ type: 'accept', operation },
        ...(typeof status === 'string' && { to: status }),
      }
      const call = history.invoke(client, id === null ? kind : `${kind}/${id}`, asked)
      const request_id = options?.request_id
      const request = request_id === undefined ? null : history.requestOf(request_id, call)
      const answer = await unlessThrown(call, runtime.accept(kind, id, operation, input, options))
      if (answer.ok && answer.repeated) request!.repeated(call, `${answer.row.kind}/${answer.id}`)
      else {
        if (answer.ok) request?.taken(call)
        told(call, answer)
        if (answer.ok) end(call.invoked, answer)
      }
      return answer
    },
    async cancel(kind, id) {
      const call = history.invoke(client, `${kind}/${id}`, { type: 'cancel' })
      const answer = await unlessThrown(call, runtime.cancel(kind, id))
      told(call, answer)
      return answer
    },
    async get(kind, id) {
      const call = history.invoke(client, `${kind}/${id}`, { type: 'read' })
      const row = await unlessThrown(call, runtime.get(kind, id))
      if (row === undefined) call.absent()
      else call.row(row)
      return row
    },
  }
}

/** Errors after which nothing can have happened; after any other nobody knows. */
export const withoutEffect: readonly string[] = [
  ...['bad_input', 'unknown_kind', 'unknown_operation', 'unknown_cluster', 'no_cluster', 'request_reused'],
  'store_refused',
]

async function unlessThrown<T>(call: OpenCall, promise: Promise<T>): Promise<T> {
  try {
    return await promise
  } catch (error) {
    const code = (error as { code?: unknown } | null)?.code
    if (code === 'unknown_id') call.absent()
    else if (typeof code === 'string' && withoutEffect.includes(code)) call.withdrawn()
    throw error
  }
}

function answerOf(row: ResourceRow): Answered {
  return { type: 'row', version: row.version, look: lookOf(row), value: textOf(row) }
}

function lookOf({ status, operation, held_by, previous_status: previous }: ResourceRow): Look {
  if (operation !== null)
    return { at: 'busy', status, operation: operation.name, accepted: operation.accepted_version, previous }
  return held_by === null ? { at: 'rest', status } : { at: 'held', status, previous }
}

/** Two looks at one version must have seen the same row; progress alone is told fresher than it is stored. */
function textOf(row: ResourceRow): string {
  const operation = row.operation === null ? null : { ...row.operation, progress: null }
  return createHash('sha256')
    .update(JSON.stringify({ ...row, operation }))
    .digest('base64')
    .slice(0, 12)
}

function modelOf(type: ResourceType, calls: readonly Call[]): Model<RegisterState, Call> {
  return registerOf(type, { cancels: calls.some(({ asked }) => asked.type === 'cancel') })
}

/** A create that is not in the history was made by others. */
function initialOf(type: ResourceType, calls: readonly Call[]): RegisterState {
  return calls.some((call) => isCreateOf(type, call)) ? absent : unknown
}

function isCreateOf(type: ResourceType, { asked }: Call): boolean {
  return asked.type === 'accept' && type.table.operations[asked.operation]?.from === 'new'
}

type Failure = Extract<Linearization<RegisterState, Call>, { verdict: 'not_linearizable' }>

function explained(type: ResourceType, key: string, all: readonly Call[], failure: Failure): HistoryVerdict {
  const end = failure.call.answered!
  const known = all.filter(({ invoked }) => invoked <= end)
  const { calls, call, before } = shortest(type, known, failure)
  const states = [...new Set(before.map(({ state }) => stateInWords(state)))]
  const explanation = [
    `${key}: no order of these calls explains the answer of #${call.number}.`,
    'Each stands with the time it was asked and the time it was answered; calls whose times overlap or touch',
    'may stand in any order, and one without an answer may have taken effect or not.',
    ...calls.map((other) => `${other === call ? '>' : ' '} ${callInWords(other)}`),
    `Before #${call.number} the row was: ${states.slice(0, 6).join('; or ')}${states.length > 6 ? '; or …' : ''}.`,
  ].join('\n')
  return { verdict: 'not_linearizable', key, explanation, calls }
}

/**
 * Fewer calls that are still not linearizable. Looks can be left out of any history, and so can all that was
 * answered before some moment where the row is taken as unknown then: neither makes a fault where there was none.
 */
function shortest(
  type: ResourceType,
  all: readonly Call[],
  failure: Failure,
): Failure & { readonly calls: readonly Call[] } {
  const model = modelOf(type, all)
  let initial = initialOf(type, all)
  let found = { ...failure, calls: all }
  const fails = (calls: readonly Call[], from: RegisterState): boolean => {
    const result = linearize(calls, from, model, 20_000)
    if (result.verdict !== 'not_linearizable') return false
    initial = from
    found = { ...result, calls }
    return true
  }
  const cuts = [...new Set(all.map(({ invoked }) => invoked))].sort((a, b) => b - a)
  for (const cut of cuts) {
    // A call that was under way then may have come before what is left out, so nothing can be.
    if (all.some(({ invoked, answered }) => invoked < cut && answered !== null && answered >= cut)) continue
    const calls = all.filter(({ answered }) => answered === null || answered >= cut)
    if (calls.length < all.length && fails(calls, unknown)) break
  }
  for (const call of found.calls)
    if (isLook(call))
      fails(
        found.calls.filter((other) => other !== call),
        initial,
      )
  return { ...found, calls: found.calls.toSorted((a, b) => a.number - b.number) }
}

function isLook({ asked, answer }: Call): boolean {
  return asked.type === 'read' || asked.type === 'settled' || answer?.type === 'refused'
}

function callInWords({ number, client, asked, invoked, answered, answer }: Call): string {
  const what =
    asked.type === 'accept' ? `asks ${asked.operation}` : asked.type === 'cancel' ? 'asks cancel' : asked.type
  const times = `[${timeOf(invoked)} .. ${answered === null ? '' : timeOf(answered)}]`
  return `#${number} ${client} ${what} ${times}: ${answer === null ? 'no answer' : answerInWords(asked, answer)}`
}

function answerInWords(asked: Asked, answer: Answered): string {
  if (answer.type === 'row')
    return `${asked.type === 'accept' ? 'accepted, ' : ''}version ${answer.version} ${lookInWords(answer.look)}`
  if (answer.type === 'refused')
    return `refused, ${answer.status}${answer.guard === null ? '' : ` and ${answer.guard} says no`}`
  return answer.type
}

function lookInWords(look: Look): string {
  if (look.at === 'absent') return 'absent'
  if (look.at !== 'busy') return look.status
  const { accepted } = look
  const at = accepted < 0 ? `some version from ${-accepted} on` : `version ${accepted}`
  return `${look.status} (${look.operation} accepted at ${at})`
}

function stateInWords({ version, isExact, look }: RegisterState): string {
  if (look === null) return 'unknown'
  if (look.at === 'absent') return 'absent'
  const at = isExact ? `version ${version}` : `version ${version} or later`
  return `${at} ${lookInWords(look)}${look.at === 'busy' ? ', or on its way to an end' : ''}`
}

function timeOf(time: number): string {
  return String(Math.round(time * 1_000) / 1_000)
}
