// What the runtime counts of itself: how often each thing happened and how long it took. Everything that can be
// counted is known from the tables at the start, so counting is a look-up and an addition, and no label
// grows with what callers send. It decides nothing and is read, never waited for.

import type { Refused, Types } from '../machines/decision.ts'
import type { ResourceRow } from '../machines/row.ts'
import { USED_UP } from '../machines/vocabulary.ts'
import { StoreError } from '../store/error.ts'
import type { Key } from '../store/store.ts'
import { RekindleError } from './error.ts'

/** Every measure by its name: what it is, and the labels of its samples. Counters and durations are of this process. */
export const MEASURES = {
  accepted: ['counter', 'operations accepted', ['kind', 'operation']],
  repeated: ['counter', 'accepts answered again for a request id that was given before', []],
  refused: [
    'counter',
    'events refused by a row: `reason` is its guard, `status`, `quota` or `absent`; a claim refused was another node’s, a finish refused came too late',
    ['kind', 'operation', 'step', 'reason'],
  ],
  errors: ['counter', 'calls that ended in an error, by its code', ['code']],
  conflicts: ['counter', 'swaps that lost a race and were decided again', ['step']],
  claims: ['counter', 'operations claimed by nodes of this process', ['kind', 'operation']],
  cleanups: [
    'counter',
    'operations of lives that are over put right: `ended`, `requeued`, or handed `to_backend` for a node to clean up',
    ['kind', 'operation', 'outcome'],
  ],
  attempts_used_up: ['counter', 'operations given up after their last attempt', ['kind', 'operation']],
  lives_ended: [
    'counter',
    'lives of nodes that are over, by their last state: a node that stopped its own work is `fenced`',
    ['node', 'state'],
  ],
  nodes_downed: ['counter', 'nodes that a scheduler of this process declared down', ['node']],
  doorbells_dropped: [
    'counter',
    'doorbells dropped by a full mailbox; the next sweep rings again',
    ['topic'],
  ],
  store_losses: ['counter', 'times that the store was lost', []],
  operation_seconds: [
    'histogram',
    'from accept to end, by how it ended: done, failed, cancelled, interrupted, forced, attempts_used_up',
    ['kind', 'operation', 'outcome'],
  ],
  queued_seconds: ['histogram', 'from accept to the first claim', ['kind', 'operation']],
  commit_seconds: [
    'histogram',
    'one swap, its flush included: `committed` or `conflict`',
    ['step', 'outcome'],
  ],
  queued: ['gauge', 'operations queued', ['topic']],
  mailbox: ['gauge', 'doorbells in the mailbox', ['topic']],
  in_flight: ['gauge', 'operations that a node of this process works on', ['node']],
  nodes: ['gauge', 'nodes, by the state of their service row', ['state']],
  heartbeat_age_seconds: ['gauge', 'since the last heartbeat that was seen here', ['node']],
  calls: ['gauge', 'calls of callers that are under way', []],
  waits: ['gauge', 'operations whose end somebody waits for', []],
  leftover_calls: ['gauge', "drivers' calls that were aborted and have not settled", []],
  store_open: ['gauge', '1 while the store is open, 0 while it is lost', []],
  store_offset: ['gauge', 'the last durable change', []],
} as const satisfies Readonly<
  Record<string, readonly ['counter' | 'gauge' | 'histogram', string, readonly string[]]>
>

export type MeasureName = keyof typeof MEASURES

export type Labels = Readonly<Record<string, string>>

export type Sample =
  | { readonly labels: Labels; readonly value: number }
  | {
      readonly labels: Labels
      readonly sum: number
      readonly count: number
      /** How many were at most so many seconds; the last is `Infinity` and counts all. */
      readonly buckets: readonly { readonly le: number; readonly count: number }[]
    }

/** What was counted up to now. A measure of which there is nothing to say has no samples. */
export type Measured = { readonly [N in MeasureName]: readonly Sample[] }

/** `host@backend` of a service's id, `cluster@backend@host`. */
function addressOf(service: string): string {
  const [, backend, host] = service.split('@')
  return `${host}@${backend}`
}

/** What an event does to a row, whatever the kind. */
export type CommitStep = 'accept' | 'claim' | 'progress' | 'finish' | 'cancel' | 'cleanup'

const STEPS: readonly CommitStep[] = ['accept', 'claim', 'progress', 'finish', 'cancel', 'cleanup']
const OUTCOMES = ['done', 'failed', 'cancelled', 'interrupted', 'forced', USED_UP] as const
type Outcome = (typeof OUTCOMES)[number]

const COMMIT_BOUNDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
const OPERATION_BOUNDS = [
  0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800, 7_200,
]

/** Durations in seconds, counted by upper bound. */
export class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0
  count = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  add(seconds: number): void {
    let at = 0
    while (at < this.#bounds.length && seconds > this.#bounds[at]!) at++
    this.#counts[at]!++
    this.#sum += seconds
    this.count++
  }

  sample(labels: Labels): Sample {
    let below = 0
    const buckets = [...this.#bounds, Number.POSITIVE_INFINITY].map((le, i) => {
      below += this.#counts[i]!
      return { le, count: below }
    })
    return { labels, sum: this.#sum, count: this.count, buckets }
  }
}

/** Counts by a few words each, in the order of its measure's labels. */
class Tally {
  readonly #counts = new Map<string, number>()

  add(words: string, amount = 1): void {
    this.#counts.set(words, (this.#counts.get(words) ?? 0) + amount)
  }

  samples(names: readonly string[]): Sample[] {
    return [...this.#counts].map(([words, value]) => {
      const parts = words.split('\n')
      return { labels: Object.fromEntries(names.map((name, i) => [name, parts[i]!])), value }
    })
  }
}

/** What is counted of one operation of one kind. */
class OfOperation {
  accepted = 0
  claims = 0
  used_up = 0
  readonly cleanups = { ended: 0, requeued: 0, to_backend: 0 }
  readonly queued = new Histogram(OPERATION_BOUNDS)
  readonly ended: Readonly<Record<Outcome, Histogram>>
  constructor() {
    this.ended = Object.fromEntries(OUTCOMES.map((o) => [o, new Histogram(OPERATION_BOUNDS)])) as never
  }
}

class OfStep {
  readonly committed = new Histogram(COMMIT_BOUNDS)
  readonly conflict = new Histogram(COMMIT_BOUNDS)
}

/** One row of a swap. */
interface Changed {
  readonly before: ResourceRow
  readonly after: ResourceRow
}

export class Measures {
  readonly #monotonic: () => number
  readonly #operations = new Map<string, Map<string, OfOperation>>()
  /** What each event of a kind is: its operations' names, and the ends of those. */
  readonly #steps = new Map<string, Map<string, CommitStep>>()
  readonly #ofStep: Readonly<Record<CommitStep, OfStep>>
  readonly #refused = new Tally()
  readonly #errors = new Tally()
  readonly #lives = new Tally()
  readonly #downed = new Tally()
  /** When the last heartbeat of a service was seen, by the monotonic clock. */
  readonly #beats = new Map<string, number>()
  repeated = 0
  store_losses = 0

  /** `monotonic`: milliseconds on a clock that never goes back. */
  constructor(types: Types, monotonic: () => number) {
    this.#monotonic = monotonic
    this.#ofStep = Object.fromEntries(STEPS.map((step) => [step, new OfStep()])) as never
    for (const [kind, { table }] of types) {
      const operations = new Map<string, OfOperation>()
      const steps = new Map<string, CommitStep>([
        ['claim', 'claim'],
        ['progress', 'progress'],
        ['cancel', 'cancel'],
        ['cleanup', 'cleanup'],
        ['cleanup.done', 'finish'],
        ['cleanup.failed', 'finish'],
      ])
      for (const name of Object.keys(table.operations)) {
        operations.set(name, new OfOperation())
        steps.set(name, 'accept')
        for (const end of ['done', 'failed', 'elsewhere']) steps.set(`${name}.${end}`, 'finish')
      }
      this.#operations.set(kind, operations)
      this.#steps.set(kind, steps)
    }
  }

  /** Milliseconds, to be given back as `since`. */
  now(): number {
    return this.#monotonic()
  }

  // ---- what happened to rows ----

  /** Changes that are durable, in one swap: the row that the event was for first, then those that took part. */
  committed(type: string, changes: readonly Changed[], since: number): void {
    const { before, after } = changes[0]!
    const step = this.#stepOf(before.kind, type)
    this.#ofStep[step].committed.add((this.#monotonic() - since) / 1_000)
    if (step === 'progress') return
    if (step === 'claim') {
      this.#claimed(before, after)
      return
    }
    const operations = this.#operations.get(before.kind)!
    if (step === 'accept') operations.get(type)!.accepted++
    for (const changed of changes) this.#ended(changed, step, type)
    if (step !== 'cleanup' || before.operation === null) return
    const { cleanups } = operations.get(before.operation.name)!
    if (after.operation === null) cleanups.ended++
    else if (after.operation.cleanup === null) cleanups.requeued++
    else cleanups.to_backend++
  }

  /** The operation that stood in a row may be over with the change, whoever's event it was. */
  #ended({ before, after }: Changed, step: CommitStep, type: string): void {
    const running = before.operation
    if (running === null) return
    if (after.operation !== null && after.operation.accepted_version === running.accepted_version) return
    const operations = this.#operations.get(before.kind)!
    // Begun by the success of the one before, in the same swap.
    if (step === 'finish' && after.operation !== null) operations.get(after.operation.name)!.accepted++
    const of = operations.get(running.name)!
    const outcome = outcomeOf(after, step, type)
    if (outcome === USED_UP) of.used_up++
    of.ended[outcome].add(Math.max(0, after.updated_at - running.accepted_at) / 1_000)
  }

  #claimed(before: ResourceRow, after: ResourceRow): void {
    const running = before.operation
    if (running === null) return
    const of = this.#operations.get(before.kind)!.get(running.name)!
    of.claims++
    if (after.attempts === 1 && running.cleanup === null)
      of.queued.add(Math.max(0, after.updated_at - running.accepted_at) / 1_000)
  }

  conflict(kind: string, type: string, since: number): void {
    this.#ofStep[this.#stepOf(kind, type)].conflict.add((this.#monotonic() - since) / 1_000)
  }

  /** Decided, and nothing was changed. */
  refused(row: ResourceRow, type: string, { resource, found, guard }: Refused): void {
    const step = this.#stepOf(row.kind, type)
    const reason = guard ?? (resource.kind === 'quota' ? 'quota' : found === 'absent' ? 'absent' : 'status')
    const operation = step === 'accept' ? type : (row.operation?.name ?? '')
    this.#refused.add(`${row.kind}\n${operation}\n${step}\n${reason}`)
  }

  #stepOf(kind: string, type: string): CommitStep {
    return this.#steps.get(kind)?.get(type) ?? 'finish'
  }

  // ---- what happened besides ----

  /** A call that ended in an error is counted by the code of its table. */
  error(error: unknown): void {
    const isKnown = error instanceof RekindleError || error instanceof StoreError
    this.#errors.add(isKnown ? error.code : 'internal')
  }

  lifeEnded(node: string, state: string): void {
    this.#lives.add(`${node}\n${state}`)
  }

  downed(node: string): void {
    this.#downed.add(node)
  }

  /** A service's heartbeat is on disk. */
  beat(service: string): void {
    this.#beats.set(service, this.#monotonic())
  }

  /** A row was removed. */
  forget(key: Key): void {
    if (key.startsWith('beat/')) this.#beats.delete(key.slice('beat/'.length))
  }

  // ---- reading ----

  /** All that is counted here; what only a look around can tell is given. */
  read(seen: Partial<Measured>): Measured {
    const operations = [...this.#operations].flatMap(([kind, all]) =>
      [...all].map(([operation, of]) => ({ labels: { kind, operation }, of })),
    )
    const counted = (pick: (of: OfOperation) => number): Sample[] =>
      operations.map(({ labels, of }) => ({ labels, value: pick(of) })).filter(({ value }) => value > 0)
    const now = this.#monotonic()
    const nothing = Object.fromEntries(Object.keys(MEASURES).map((name) => [name, []])) as unknown as Measured
    return {
      ...nothing,
      accepted: counted((of) => of.accepted),
      repeated: [{ labels: {}, value: this.repeated }],
      refused: this.#refused.samples(MEASURES.refused[2]),
      errors: this.#errors.samples(MEASURES.errors[2]),
      conflicts: STEPS.map((step) => ({ labels: { step }, value: this.#ofStep[step].conflict.count })),
      claims: counted((of) => of.claims),
      cleanups: operations.flatMap(({ labels, of }) =>
        Object.entries(of.cleanups)
          .filter(([, value]) => value > 0)
          .map(([outcome, value]) => ({ labels: { ...labels, outcome }, value })),
      ),
      attempts_used_up: counted((of) => of.used_up),
      lives_ended: this.#lives.samples(MEASURES.lives_ended[2]),
      nodes_downed: this.#downed.samples(MEASURES.nodes_downed[2]),
      store_losses: [{ labels: {}, value: this.store_losses }],
      operation_seconds: operations.flatMap(({ labels, of }) =>
        OUTCOMES.filter((outcome) => of.ended[outcome].count > 0).map((outcome) =>
          of.ended[outcome].sample({ ...labels, outcome }),
        ),
      ),
      queued_seconds: operations
        .filter(({ of }) => of.queued.count > 0)
        .map(({ labels, of }) => of.queued.sample(labels)),
      commit_seconds: STEPS.flatMap((step) =>
        (['committed', 'conflict'] as const)
          .filter((outcome) => this.#ofStep[step][outcome].count > 0)
          .map((outcome) => this.#ofStep[step][outcome].sample({ step, outcome })),
      ),
      heartbeat_age_seconds: [...this.#beats].map(([service, at]) => ({
        labels: { node: addressOf(service) },
        value: (now - at) / 1_000,
      })),
      ...seen,
    }
  }
}

function outcomeOf({ error }: ResourceRow, step: CommitStep, type: string): Outcome {
  if (step === 'accept') return 'forced'
  const isCleanup = step === 'cleanup' || type.startsWith('cleanup.')
  if (type.endsWith('.done') && !isCleanup) return 'done'
  return OUTCOMES.find((outcome) => outcome === error?.code) ?? (isCleanup ? 'interrupted' : 'failed')
}
