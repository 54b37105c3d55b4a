// Walks the steps of a path in a running runtime: operations through its public door, claims by the node
// that is to have them, ends by a driver whose calls wait, cleanups by nodes that are killed. After every
// step the durable row is compared with what `decide` makes of the step. Time is virtual; nothing sleeps.

import assert from 'node:assert/strict'
import { decide, type Rows, relatedRefs } from '../../machines/decision.ts'
import { isCreate, type ResourceType } from '../../machines/definition.ts'
import { emptyRow } from '../../machines/resource.ts'
import type { JsonObject, Ref, ResourceRow } from '../../machines/row.ts'
import type { Answer, Runtime } from '../../runtime/api.ts'
import { type Driver, type DriverContext, DriverError, type DriverMethod } from '../../runtime/driver.ts'
import { Mailbox } from '../../runtime/mailbox.ts'
import { createRuntime } from '../../runtime/runtime.ts'
import { keyOf, type Store, type StoreSource } from '../../store/store.ts'
import { type CheckedInput, withIds } from './inputs.ts'
import {
  BACKEND,
  type Circumstances,
  CLUSTER,
  eventOf,
  forceOf,
  HOSTS,
  isCancelledBefore,
  LIMITS,
  operationsOver,
  type PathStep,
  type StepContext,
  stepText,
  TOPIC,
} from './path_steps.ts'
import { shortestPath } from './paths.ts'
import { VirtualEnvironment } from './virtual_environment.ts'

const settings = {
  ...{ heartbeat_ms: 1_000, fence_after_ms: 2_500, down_after_ms: 4_000, sweep_ms: 500, schedulers: 1 },
  ...{ abort_grace_ms: 1_000_000_000, operation_timeout_ms: 1_000_000_000, progress_ms: 100 },
  ...{ restarts: 1_000_000, attempts: LIMITS.attempts, cleanups: LIMITS.cleanups },
} as const

/** A doorbell that is not let through is lost: the sweep rings again. */
class GatedMailbox extends Mailbox {
  readonly open = new Set<string>()

  override put(key: string): void {
    if (this.open.has(key)) super.put(key)
  }
}

interface WaitingCall {
  readonly key: string
  readonly fence: number
  readonly signal: AbortSignal
  readonly context: DriverContext | null
  done(): void
  fail(error: unknown): void
}

/** Every call waits until the walk settles it; at the backend a cleanup waits for its mark. */
class WaitingDriver implements Driver {
  readonly calls = new Set<WaitingCall>()
  readonly operations: Driver['operations']
  readonly fence?: (row: ResourceRow, fence: number) => Promise<void>
  readonly undo?: DriverMethod

  constructor(at_backend: boolean) {
    const methods = new Proxy({}, { get: () => (context: DriverContext) => this.#call(context) })
    this.operations = new Proxy({}, { get: () => methods }) as Driver['operations']
    if (!at_backend) return
    this.undo = async () => {}
    this.fence = async (row, fence) => {
      if (row.operation?.cleanup) await this.#wait(row, fence, new AbortController().signal, null)
    }
  }

  async #call(context: DriverContext): Promise<JsonObject> {
    await this.#wait(context.row, context.fence, context.signal, context)
    return {}
  }

  #wait(row: ResourceRow, fence: number, signal: AbortSignal, context: DriverContext | null): Promise<void> {
    return new Promise((resolve, reject) => {
      const call: WaitingCall = {
        ...{ key: keyOf(row), fence, signal, context },
        done: () => {
          this.calls.delete(call)
          resolve()
        },
        fail: (error) => {
          this.calls.delete(call)
          reject(error)
        },
      }
      this.calls.add(call)
    })
  }
}

/** A resource that is walked. */
interface Walked {
  readonly kind: string
  id: string | null
  /** What counts on it, by the key under which it is counted. */
  readonly takers: Map<string, Ref>
}

/** What a step came to in the runtime. */
interface Happened {
  readonly circumstances: Partial<Circumstances>
  readonly answer: Answer | null
}

/** A step at which the runtime did not do as its charts say. */
export class PathFailure extends Error {
  readonly steps: readonly PathStep[]
  constructor(kind: string, steps: readonly PathStep[], cause: unknown) {
    const said = cause instanceof Error ? cause.message : String(cause)
    super(`${kind}: ${steps.map(stepText).join(' -> ')}: ${said}`, { cause })
    this.name = 'PathFailure'
    this.steps = steps
  }
}

export class PathRun {
  /** Steps that were compared. */
  compared = 0
  readonly #context: StepContext
  readonly #environment = new VirtualEnvironment()
  readonly #driver: WaitingDriver
  #mailbox!: GatedMailbox
  #runtime!: Runtime
  readonly #pool: Ref[] = []
  /** Resources whose operation the walk cancelled while it was under way. */
  readonly #cancelled = new Set<string>()
  /** Claims of operations that were cancelled before: the node looks at the row when the walk lets it. */
  #downs = 0
  readonly #looked = new Set<string>()
  readonly #looks = new Map<string, (() => void)[]>()
  readonly #ways = new Map<string, readonly PathStep[]>()

  private constructor(context: StepContext) {
    this.#context = context
    this.#driver = new WaitingDriver(context.at_backend)
  }

  /** A runtime with two nodes of one cluster on this store. */
  static async start(
    context: StepContext,
    types: readonly ResourceType[],
    store: StoreSource,
  ): Promise<PathRun> {
    const run = new PathRun(context)
    run.#runtime = await run.#environment.until(
      createRuntime(
        {
          store,
          resources: types,
          nodes: HOSTS.map((host) => ({ cluster: CLUSTER, backend: BACKEND, host, driver: run.#driver })),
          settings,
          environment: run.#environment,
        },
        {
          mailboxFor: (_, capacity) => {
            run.#mailbox = new GatedMailbox(capacity)
            return run.#mailbox
          },
          storeFor: (actor, opened) => (actor.includes('@') ? run.#patient(opened) : opened),
        },
      ),
    )
    return run
  }

  /** The store as a node sees it: after the claim of what was cancelled before, its look waits for the walk. */
  #patient(store: Store): Store {
    const get: Store['get'] = async (key) => {
      const row = (await store.get(key)) as ResourceRow | undefined
      if (row !== undefined && isCancelledBefore(row) && !this.#looked.has(`${key} ${row.fence}`))
        await new Promise<void>((resolve) => this.#looks.set(key, [...(this.#looks.get(key) ?? []), resolve]))
      return store.get(key)
    }
    return new Proxy(store, {
      get: (_, name) => {
        const member = Reflect.get(store, name)
        return name === 'get' ? get : typeof member === 'function' ? member.bind(store) : member
      },
    })
  }

  async stop(): Promise<void> {
    for (const key of this.#looks.keys()) this.#letLook(key)
    for (const call of this.#driver.calls) call.fail(new Error('the walk is over'))
    await this.#environment.until(this.#runtime.stop({ within_ms: 0 }))
  }

  /** Walks from `new`. `refused` is what callers are refused before each step, by its place. */
  async walk(
    kind: string,
    steps: readonly PathStep[],
    refused: (at: number) => readonly PathStep[] = () => [],
  ): Promise<void> {
    const walked: Walked = { kind, id: null, takers: new Map() }
    for (let at = 0; at <= steps.length; at++)
      try {
        for (const step of refused(at)) await this.#take(walked, step, false)
        if (at < steps.length) await this.#take(walked, steps[at]!, true)
      } catch (error) {
        throw new PathFailure(kind, steps.slice(0, at + 1), error)
      }
  }

  async #take(walked: Walked, step: PathStep, isAccepted: boolean): Promise<void> {
    const { types } = this.#context
    const text = stepText(step)
    // No two steps at one time, so that which came first can be told.
    await this.#environment.advance(1)
    const before = await this.#row(walked)
    const ids = await this.#partners(walked, step)
    const idOf = (kind: string) => ids.get(kind) ?? ''
    const early = { at: this.#environment.now(), incarnation: 1, holder: holderOf(before), idOf }
    const related = await this.#related(before, eventOf(this.#context, before, step, early))
    const { circumstances, answer } = await this.#do(walked, before, step, idOf)
    const at = answer?.ok === false ? early.at : await this.#timeOf(walked, before, text)
    const event = eventOf(this.#context, before, step, { ...early, at, ...circumstances })
    const decision = decide(types, before, related, event)
    this.compared++
    if (!isAccepted) {
      assert.ok(!decision.accepted, `${text} was to be refused`)
      assert.ok(answer !== null && !answer.ok, `${text} was let through`)
      assert.deepEqual(answer.guard, decision.guard, `${text} is refused by another guard`)
      assert.deepEqual(await this.#row(walked), before, `${text} was refused and changed the row`)
      return
    }
    if (answer !== null) assert.ok(answer.ok, answer.ok ? '' : answer.message)
    assert.ok(decision.accepted, `${text} is refused by the chart`)
    assert.deepEqual(seen(await this.#row(walked)), seen(decision.row), text)
  }

  /** When the step was made durable. */
  async #timeOf(walked: Walked, before: ResourceRow, text: string): Promise<number> {
    await this.#until(async () => (await this.#row(walked)).version > before.version, text)
    return (await this.#row(walked)).updated_at
  }

  // ---- doing ----

  async #do(
    walked: Walked,
    before: ResourceRow,
    step: PathStep,
    idOf: Circumstances['idOf'],
  ): Promise<Happened> {
    const none = { circumstances: {}, answer: null }
    switch (step.do) {
      case 'ask':
        return { circumstances: {}, answer: await this.#ask(walked, step.operation, step.input, idOf) }
      case 'cancel':
        this.#cancelled.add(keyOf(before))
        return { circumstances: {}, answer: await this.#soon(this.#runtime.cancel(walked.kind, walked.id!)) }
      case 'claim':
        return { circumstances: { incarnation: await this.#claim(before, step.by) }, answer: null }
      case 'progress':
        await this.#environment.advance(2 * settings.progress_ms)
        ;(await this.#callOf(before)).context!.progress(0.5, 'half')
        return none
      case 'end':
        await this.#end(before, step.outcome, step.code)
        return none
      case 'cleanup':
        await this.#down(before)
        return none
      case 'hold':
        return { circumstances: { holder: await this.#hold(walked, before, step) }, answer: null }
      case 'release':
      case 'renew': {
        const held = before.held_by!
        await this.#release(held, step.do === 'renew' ? 'cleanup' : step.ending)
        const { held_by, error } = await this.#row(walked)
        // The holder's own ending words it.
        if (step.do === 'release') assert.equal(error === null, step.ending === 'done', stepText(step))
        return { circumstances: { holder: held_by ?? held, error }, answer: null }
      }
      case 'count':
        await this.#count(walked, before, step)
        return none
      case 'drop':
        await this.#drop(step.kind, idOf(step.kind))
        return none
    }
  }

  async #ask(
    walked: Walked,
    operation: string,
    input: CheckedInput,
    idOf: Circumstances['idOf'],
  ): Promise<Answer> {
    const { kind, id } = walked
    const given = withIds(input, 'given', idOf)
    // An operation without a schema takes no input at all.
    const answer = await this.#soon(
      this.#runtime.accept(kind, id, operation, Object.keys(given).length === 0 ? undefined : given),
    )
    if (!answer.ok) return answer
    walked.id = answer.id
    // A force operation is about what it interrupts, whatever was to become of that.
    this.#cancelled.delete(keyOf({ kind, id: answer.id }))
    this.#letLook(keyOf({ kind, id: answer.id }))
    this.#settleAborted()
    return answer
  }

  /** Only this node may take it, and only this doorbell is let through. */
  async #claim(row: ResourceRow, host: string): Promise<number> {
    const key = keyOf(row)
    for (const other of HOSTS) if (other !== host) this.#runtime.node(other).drain()
    this.#mailbox.open.add(key)
    const ref = { kind: row.kind, id: row.id }
    await this.#until(async () => {
      this.#mailbox.put(key)
      await this.#environment.settle()
      return (await this.#found(ref))!.incarnation !== null
    }, `claim by ${host}`)
    this.#mailbox.open.delete(key)
    for (const other of HOSTS) if (other !== host) this.#runtime.node(other).start()
    return (await this.#found(ref))!.incarnation!
  }

  async #callOf(row: ResourceRow): Promise<WaitingCall> {
    const find = () =>
      [...this.#driver.calls].find((call) => call.key === keyOf(row) && call.fence === row.fence)
    await this.#until(async () => find() !== undefined, `the driver's call for ${keyOf(row)}`)
    return find()!
  }

  async #end(row: ResourceRow, outcome: 'done' | 'failed', code: string): Promise<void> {
    const key = keyOf(row)
    if (isCancelledBefore(row)) {
      await this.#until(async () => this.#looks.has(key), `the node's look at ${key}`)
      this.#looked.add(`${key} ${row.fence}`)
      this.#letLook(key)
    } else {
      const call = await this.#callOf(row)
      if (outcome === 'done') call.done()
      else call.fail(new DriverError(code, 'it failed'))
    }
    await this.#changed(row)
    this.#cancelled.delete(key)
  }

  /** The node that has the row is killed; when the row is put right it starts again. */
  async #down(row: ResourceRow): Promise<void> {
    const host = row.host!
    this.#runtime.node(host).kill()
    this.#cancelled.delete(keyOf(row))
    this.#looked.add(`${keyOf(row)} ${row.fence}`)
    this.#letLook(keyOf(row))
    this.#settleAborted()
    for (const call of this.#driver.calls)
      if (call.key === keyOf(row)) call.fail(new Error('its node is over'))
    // Put right by a scheduler that sees it down, or, sooner, by its own next life.
    const byItself = this.#downs++ % 8 !== 0
    if (!byItself) await this.#changed(row)
    this.#runtime.node(host).start()
    const isUp = () => this.#runtime.nodes().some((node) => node.host === host && node.here?.state === 'up')
    await this.#until(async () => isUp(), `${host} is up again`)
    await this.#changed(row)
  }

  async #hold(
    walked: Walked,
    before: ResourceRow,
    step: Extract<PathStep, { do: 'hold' }>,
  ): Promise<Circumstances['holder']> {
    await this.#over(walked, before, step.kind, step.operation)
    return (await this.#row(walked)).held_by!
  }

  /** Asks an operation of another resource that names this one. */
  async #over(walked: Walked, before: ResourceRow, kind: string, operation: string): Promise<Ref> {
    const { inputs, shape } = operationsOver(this.#context, before.kind).find(
      (one) => one.kind === kind && one.operation === operation,
    )!
    const asked: Walked = { kind, id: null, takers: new Map() }
    if (!isCreate(shape)) asked.id = (await this.#partner(kind, [shape.from].flat()[0]!, walked)).id
    let refused = ''
    for (const input of inputs) {
      const ids = new Map<string, string>([[before.kind, walked.id!]])
      for (const id of input.ids)
        if (!ids.has(id.kind)) {
          const status = this.#context.types.get(id.kind)!.statuses.rest[0]!
          ids.set(id.kind, (await this.#partner(id.kind, status, walked)).id)
        }
      const answer = await this.#ask(asked, operation, input, (of) => ids.get(of)!)
      if (answer.ok) return { kind, id: answer.id }
      refused = answer.message
    }
    throw new Error(refused)
  }

  async #release(held_by: Ref, ending: string): Promise<void> {
    const holder = (await this.#found(held_by))!
    if (ending === 'cancelled') {
      await this.#soon(this.#runtime.cancel(holder.kind, holder.id))
      return
    }
    await this.#claim(holder, HOSTS[0])
    const taken = (await this.#found(held_by))!
    // A cleanup that was queued at the backend ends by its mark.
    if (taken.operation!.cleanup !== null) await this.#end(taken, 'done', '')
    else if (ending === 'cleanup') await this.#down(taken)
    else await this.#end(taken, ending as 'done' | 'failed', 'driver_failed')
  }

  async #count(walked: Walked, before: ResourceRow, step: Extract<PathStep, { do: 'count' }>): Promise<void> {
    if (step.by === 1) {
      walked.takers.set(step.under, await this.#over(walked, before, step.kind, step.operation))
      return
    }
    const taker = walked.takers.get(step.under)!
    await this.#soon(this.#runtime.cancel(taker.kind, taker.id))
  }

  async #drop(kind: string, id: string): Promise<void> {
    const operation = forceOf(this.#context, kind)!
    for (const input of this.#context.inputs.get(kind)!.get(operation)!) {
      const answer = await this.#ask({ kind, id, takers: new Map() }, operation, input, () => '')
      if (answer.ok) return
    }
    throw new Error(`${operation} of ${kind} was refused`)
  }

  #letLook(key: string): void {
    for (const look of this.#looks.get(key) ?? []) look()
    this.#looks.delete(key)
  }

  /** Aborts are honoured, but for a cancel's, whose end the walk decides. */
  #settleAborted(): void {
    for (const call of this.#driver.calls)
      if (call.signal.aborted && !this.#cancelled.has(call.key)) call.fail(call.signal.reason)
  }

  // ---- other rows ----

  /** Rows that take part, made to order where none is at hand. */
  async #partners(walked: Walked, step: PathStep): Promise<Map<string, string>> {
    const ids = new Map<string, string>()
    if (step.do === 'drop') {
      const row = await this.#row(walked)
      const holds = this.#context.types.get(row.kind)!.table.operations[row.operation!.name]!.holds!
      ids.set(step.kind, String([row.operation!.input[holds[step.kind]!.id]].flat()[0]))
    }
    if (step.do === 'ask')
      for (const [kind, status] of Object.entries(step.partners)) {
        const together = await this.#belonging(step.input, ids, kind, status)
        ids.set(kind, together ?? (await this.#partner(kind, status, walked)).id)
      }
    return ids
  }

  /** Of rows that are named together one may belong to the other: then it is that one. */
  async #belonging(
    input: CheckedInput,
    ids: ReadonlyMap<string, string>,
    kind: string,
    status: string,
  ): Promise<string | undefined> {
    const field = input.ids.find((id) => id.kind === kind)!.field
    for (const [other, id] of ids) {
      const named = (await this.#found({ kind: other, id }))?.data[field]
      if (typeof named !== 'string') continue
      const row = await this.#found({ kind, id: named })
      if (row?.status === status) return named
    }
    return undefined
  }

  async #partner(kind: string, status: string, walked: Walked): Promise<Ref> {
    const fits = (row: ResourceRow) =>
      row.status === status &&
      row.operation === null &&
      row.held_by === null &&
      Object.keys(row.children).length === 0
    for (const ref of this.#pool) {
      if (ref.kind !== kind || ref.id === walked.id) continue
      const row = await this.#found(ref)
      if (row !== undefined && fits(row)) return ref
    }
    const name = `${kind} ${status}`
    const way = this.#ways.get(name) ?? shortestPath(this.#context, kind, fits)
    if (way === null) throw new Error(`no path leads to a ${kind} that is ${status}`)
    this.#ways.set(name, way)
    const made: Walked = { kind, id: null, takers: new Map() }
    for (const step of way) await this.#take(made, step, true)
    const ref = { kind, id: made.id! }
    this.#pool.push(ref)
    return ref
  }

  async #related(row: ResourceRow, event: Parameters<typeof relatedRefs>[2]): Promise<Rows> {
    const rows = new Map<string, ResourceRow | undefined>()
    for (;;) {
      const missing = relatedRefs(this.#context.types, row, event, rows).filter(
        (ref) => !rows.has(keyOf(ref)),
      )
      if (missing.length === 0) return rows
      for (const ref of missing) rows.set(keyOf(ref), await this.#found(ref))
    }
  }

  // ---- looking ----

  #found(ref: Ref): Promise<ResourceRow | undefined> {
    return this.#runtime.get(ref.kind, ref.id)
  }

  async #row({ kind, id }: Walked): Promise<ResourceRow> {
    return (id === null ? undefined : await this.#found({ kind, id })) ?? emptyRow(kind, id ?? '', TOPIC)
  }

  #soon<T>(promise: Promise<T>): Promise<T> {
    return this.#environment.until(promise)
  }

  #changed(row: ResourceRow): Promise<void> {
    return this.#until(
      async () => {
        this.#settleAborted()
        return (await this.#found(row))!.version > row.version
      },
      `a change of ${keyOf(row)}`,
    )
  }

  async #until(isTrue: () => Promise<boolean>, what: string): Promise<void> {
    let step_ms = 1
    for (let passed = 0; passed < 30_000; passed += step_ms) {
      await this.#environment.settle()
      if (await isTrue()) return
      if (passed > 20) step_ms = 100
      await this.#environment.advance(step_ms)
    }
    throw new Error(`not so within 30 s of virtual time: ${what}`)
  }
}

function holderOf(row: ResourceRow): Circumstances['holder'] {
  return row.held_by ?? { kind: '', id: '', fence: 0 }
}

/** What a step decides of a row: all but times, texts and the names that ids are. */
function seen(row: ResourceRow) {
  const { status, previous_status, worker, incarnation, version, fence, attempts, children, data } = row
  const { operation, held_by, error } = row
  return {
    ...{ status, previous_status, worker, incarnation, version, fence, attempts, children, data },
    held_by,
    error: error?.code ?? null,
    operation: operation && {
      name: operation.name,
      cancelled: operation.cancel_requested_at !== null,
      progress: operation.progress?.fraction ?? null,
      cleanup: operation.cleanup && [operation.cleanup.policy, operation.cleanup.failures],
    },
  }
}
