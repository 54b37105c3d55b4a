// One life of a volume node: runs what its chart asks for (register, beat, claim, drive, finish) against
// the store and the driver, and feeds back what happened. It decides nothing itself. A life that is over
// is thrown away; the supervisor makes a new one.

import { type Actor, createActor } from 'xstate'
import type { Types } from '../machines/decision.ts'
import { live } from '../machines/live.ts'
import { isFreshAt, type NodeContext, type NodeEvent, type nodeChart, tickEvery } from '../machines/node.ts'
import type { Claimant, ResourceEvent } from '../machines/resource.ts'
import type { Progress, ResourceRow, ServiceRow } from '../machines/row.ts'
import { joined } from '../machines/service.ts'
import { StoreError } from '../store/error.ts'
import { type Key, keyOf, type Store, type StoredRow } from '../store/store.ts'
import { Abort, type Call, type Calls, touchedBy } from './calls.ts'
import { checkedCapabilities } from './capabilities.ts'
import { cleanClaims, type Spared } from './cleanup.ts'
import type { Clock } from './clock.ts'
import { commit, type Runner } from './commit.ts'
import type { Driver } from './driver.ts'
import type { Environment, Timer } from './environment.ts'
import { messageOf } from './error.ts'
import { fieldsOf, type Logger } from './log.ts'
import type { Mailbox } from './mailbox.ts'
import { Registration, type RegistrationPorts, type Report } from './registration.ts'
import { limitsOf, type Settings } from './settings.ts'
import { Aborted, type Ending, work } from './work.ts'

/** What a cluster, a backend or a host may be called. */
export function isPlaceName(name: unknown): name is string {
  return typeof name === 'string' && /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(name)
}

/** Something a node can't work without, besides the store: a lock manager, a mount. */
export interface Probe {
  readonly name: string
  /** Rejects when it is lost: the node stops everything and its heartbeats, as when the store is lost. */
  check(): Promise<void>
}

export interface NodeConfig {
  /** Default: the host's own name, a cluster of one that others may join. */
  readonly cluster?: string
  readonly backend: string
  readonly host: string
  readonly driver: Driver
  readonly probes?: readonly Probe[]
}

/** Where a create goes on, with the room kept for it there until it is `forget`; or why it goes nowhere. */
export type Elsewhere =
  | { readonly topic: string; readonly forget: () => void }
  | { readonly topic: null; readonly why: string }

export interface NodePorts {
  /** The driver of a node of this process that consumes this topic. */
  readonly driverAt: (topic: string) => Driver | null
  readonly environment: Environment
  readonly clock: Clock
  readonly store: Store
  readonly types: Types
  readonly calls: Calls
  readonly spared: Spared
  readonly settings: Settings
  readonly mailbox: Mailbox
  readonly runner: Runner
  readonly chart: typeof nodeChart
  /** The last incarnation of this host@backend that ended in this process; 0 for none. */
  readonly endedHere: number
  readonly onProgress: (row: ResourceRow, progress: Progress) => void
  /** Where a create goes whose driver said `not_here`; null where its caller chose the place. */
  readonly elsewhere: (row: ResourceRow, message: string) => Elsewhere | null
  readonly told: RegistrationPorts['told']
  /** What its service row says, as far as this process was told. */
  readonly isDisabled: () => boolean
  readonly onUp: (life: NodeLife) => void
  readonly onOver: (life: NodeLife) => void
  /** About this node. */
  readonly log: Logger
}

/** A microtask by a promise: queueMicrotask makes a resource each time, which costs three times as much. */
const soon = Promise.resolve()

class ProbeLost extends Error {}

/** A call of this process still runs on what the claim would touch, and nothing at the backend can stop it (rule R18). */
class Leftover extends Error {}

/** Names one claim: the resource and the claim's fence. */
type Claim = string

/** An operation in this life's hands, from its claim to the end of its finish. */
interface Held {
  readonly row: ResourceRow
  readonly call: Call
  /** Lets the prepared driver be called. */
  drive: () => void
  ending: Ending | null
  progress_at: number
}

export class NodeLife {
  readonly config: NodeConfig
  readonly registration: Registration
  readonly actor: Actor<typeof nodeChart>
  readonly #ports: NodePorts
  /** About this life, once it has an incarnation. */
  #log: Logger
  /** By claim: a force operation may bring a resource back to this life while its older claim still ends. */
  readonly #held = new Map<Claim, Held>()
  /** What waits for the next good beat. */
  readonly #waitingDrives = new Set<Claim>()
  readonly #waitingFinishes = new Set<Claim>()
  /** The store or a probe was lost, refused or silent at its end, which so counts against nobody (rule R14). */
  storeTrouble = false
  /** Beats that wait for a probe or the store. */
  #beating = 0
  #tick: Timer | null = null
  #report: Report | null = null
  #over = false
  /** Aborts a driver's set-up that is still running at the end of this life. */
  readonly #setup = new AbortController()
  /** Settles when a life that was stopped has signed off. */
  left: Promise<void> = Promise.resolve()

  constructor(config: NodeConfig, ports: NodePorts) {
    this.config = config
    this.#ports = ports
    this.#log = ports.log
    this.registration = new Registration(config, { ...ports, isOver: () => this.#over })
    const { concurrency, heartbeat_ms, fence_after_ms } = ports.settings
    const { cluster, backend, host } = config
    const commands = {
      register: () => this.#run(() => this.#register()),
      setUp: () => this.#run(() => this.#setUp()),
      cleanOwn: () => this.#run(() => this.#cleanOwn()),
      join: () => this.#run(() => this.#join()),
      beat: () => void this.#beat(),
      claim: (_: unknown, { key }: { key: Key }) => void this.#claim(key),
      drive: (_: unknown, { claim }: { claim: Claim }) => this.#held.get(claim)?.drive(),
      finish: (_: unknown, { claim }: { claim: Claim }) => void this.#finish(claim),
      holdDrive: (_: unknown, { claim }: { claim: Claim }) => void this.#waitingDrives.add(claim),
      holdFinish: (_: unknown, { claim }: { claim: Claim }) => void this.#waitingFinishes.add(claim),
      releaseHeld: () => this.#releaseHeld(),
      dropDoorbell: (_: unknown, { key }: { key: Key }) => this.#ports.mailbox.put(key),
      // After the step that asked for it, when the chart's own count is up to date.
      askNext: () => void soon.then(() => this.#askNext()),
      abortAll: ({ context }: { context: NodeContext }) => this.#abortAll(context.reason),
      leave: () => {
        this.left = this.registration.leave().catch((error: unknown) => {
          this.#log.warn(`could not sign off: ${messageOf(error)}`)
        })
      },
    }
    this.actor = createActor(live(ports.chart, commands), {
      input: { cluster: cluster ?? host, backend, host, concurrency, heartbeat_ms, fence_after_ms },
    })
    this.actor.subscribe({
      next: (snapshot) => {
        if (snapshot.hasTag('over')) this.#end()
      },
      // A broken invariant stops the node, never the process.
      error: (error) => {
        this.#log.error(messageOf(error))
        this.#abortAll(messageOf(error))
        this.#end()
      },
    })
  }

  /** `host@backend`. */
  get address(): string {
    return this.registration.address
  }

  get context(): NodeContext {
    return this.actor.getSnapshot().context as NodeContext
  }

  /** The state of the chart: `up`, `fenced`, ... */
  get state(): string {
    return this.actor.getSnapshot().value as string
  }

  /** Whether the supervisor is to start another life. */
  get restarts(): boolean {
    const snapshot = this.actor.getSnapshot()
    return snapshot.status === 'error' || snapshot.hasTag('restart')
  }

  /** What it works on now. */
  get held(): readonly ResourceRow[] {
    return [...this.#held.values()].map(({ row }) => row)
  }

  start(): void {
    this.actor.start()
    this.#armTick()
  }

  send(event: NodeEvent): void {
    if (!this.#over) this.actor.send(event)
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    if (this.state === 'fenced' && this.#beating > 0) this.storeTrouble = true
    this.#tick?.clear()
    this.#setup.abort()
    this.#ports.mailbox.leave(this.#wake)
    this.#ports.onOver(this)
  }

  #armTick(): void {
    const { environment, clock, settings } = this.#ports
    if (this.#over) return
    this.#tick = environment.timer(tickEvery(settings.heartbeat_ms), () => {
      if (this.context.incarnation !== null) this.send({ type: 'tick', at: clock.now() })
      this.#armTick()
    })
  }

  /** Runs one of the steps of a start; a step that can't be done ends this life. */
  #run(step: () => Promise<void>): void {
    step().catch((error: unknown) => {
      const reason = messageOf(error)
      this.storeTrouble = isStoreTrouble(error) || error instanceof ProbeLost
      this.send({ type: this.storeTrouble ? 'store.lost' : 'start.failed', reason })
    })
  }

  // ---- the start of a life ----

  async #register(): Promise<void> {
    const refused = await this.registration.register()
    if (refused !== null) return this.send({ type: 'register.refused', reason: refused })
    const incarnation = this.registration.incarnation!
    this.#log = this.#ports.log.about({ incarnation })
    this.send({ type: 'registered', incarnation, at: this.#ports.clock.now() })
    await this.#beat()
  }

  async #setUp(): Promise<void> {
    await this.#checkProbes()
    const { driver, cluster, host, backend } = this.config
    const setUp = driver.setup?.({
      cluster: cluster ?? host,
      backend,
      host,
      signal: this.#setup.signal,
      log: (message, level = 'info') => this.#log.tell(level, String(message).slice(0, 1000)),
    })
    if (setUp !== undefined) await this.#within(this.#ports.settings.operation_timeout_ms, setUp)
    await this.#askCapabilities()
    // Before it is up: what is placed here must find out what room there is.
    if (this.#report !== null) await this.#beat()
    this.send({ type: 'set_up.done' })
  }

  /** What a probe or driver promised, or a rejection: one that never settles must not hold a start for ever. */
  async #within<T>(ms: number, promise: Promise<T>): Promise<T> {
    let timer: Timer | undefined
    const late = new Promise<never>((_, reject) => {
      timer = this.#ports.environment.timer(ms, () => reject(new Error(`no answer within ${ms} ms`)))
    })
    return Promise.race([promise, late]).finally(() => timer?.clear())
  }

  /** The rows of its own earlier incarnations, and no others (rules R2, R17). */
  async #cleanOwn(): Promise<void> {
    const incarnation = this.context.incarnation!
    await cleanClaims(this.#ports, {
      worker: this.address,
      incarnation: incarnation - 1,
      at_backend: this.registration.cleansAtBackend,
      reason: `${this.address} was restarted`,
    })
    // What is left is taken up by the sweeps; a start does not wait for it (rule R14).
    this.send({ type: 'cleaned' })
  }

  async #join(): Promise<void> {
    const refused = await this.registration.swap(joined, 'starting')
    if (refused === null) {
      this.send({ type: 'joined', disabled: this.#ports.isDisabled() })
      this.#ports.onUp(this)
    } else this.send({ type: 'join.refused', reason: refused })
  }

  // ---- heartbeats ----

  async #beat(): Promise<void> {
    const sent_at = this.#ports.clock.now()
    this.#beating++
    try {
      await this.#checkProbes()
      const refused = await this.registration.beat(this.#report)
      this.storeTrouble = false
      this.send(refused === null ? { type: 'beat.done', sent_at } : { type: 'beat.refused', reason: refused })
    } catch (error) {
      this.storeTrouble = isStoreTrouble(error) || error instanceof ProbeLost
      this.#log.warn(`a heartbeat failed: ${messageOf(error)}`)
      if (error instanceof ProbeLost) return this.send({ type: 'probe.lost', reason: error.message })
      this.send({ type: 'beat.failed' })
    } finally {
      this.#beating--
    }
    void this.#askCapabilities()
  }

  /** A probe that is lost counts as a lost store. */
  async #checkProbes(): Promise<void> {
    for (const probe of this.config.probes ?? []) {
      try {
        await this.#within(this.#ports.settings.fence_after_ms, probe.check())
      } catch (error) {
        throw new ProbeLost(`${probe.name} is lost: ${messageOf(error)}`)
      }
    }
  }

  async #askCapabilities(): Promise<void> {
    try {
      const { environment, store, settings } = this.#ports
      const reported_at = environment.now()
      // What ended up to here has its space taken already, so the answer counts it.
      const reported_offset = store.offset()
      const asked = this.config.driver.capabilities?.()
      if (asked === undefined) return
      const said = await this.#within(settings.fence_after_ms, asked)
      // Another call, asked later, was answered sooner (behaviour 41).
      if (reported_offset < (this.#report?.reported_offset ?? 0)) return
      this.#report = { capabilities: checkedCapabilities(said), reported_at, reported_offset }
    } catch (error) {
      // Losing sight of the backend is not losing the store: the last report stands.
      this.#log.warn(`the driver could not say its capabilities: ${messageOf(error)}`)
    }
  }

  // ---- claims ----

  /** Woken by the mailbox; false where it can't take now, so that another node is woken. */
  readonly #wake = (): boolean => this.#mayTake() && this.#askNext()

  #mayTake(): boolean {
    const snapshot = this.actor.getSnapshot()
    const context = snapshot.context as NodeContext
    if (this.#over || !snapshot.hasTag('claims') || context.in_flight >= context.concurrency) return false
    // Not fresh: the next good beat asks again.
    return isFreshAt(context, this.#ports.clock.now())
  }

  /** Takes the next doorbell, or waits for one. */
  #askNext(): boolean {
    if (!this.#mayTake()) return false
    const { mailbox, clock } = this.#ports
    const key = mailbox.take()
    if (key === undefined) mailbox.wait(this.#wake)
    else this.send({ type: 'doorbell', key, at: clock.now() })
    return key !== undefined
  }

  #claimant(bound: StoredRow | undefined): Claimant {
    const service = (bound as ServiceRow | undefined) ?? null
    return { worker: this.address, host: this.config.host, incarnation: this.context.incarnation!, service }
  }

  async #claim(key: Key): Promise<void> {
    const { types, store, calls, runner, environment } = this.#ports
    try {
      const outcome = await commit(
        types,
        store,
        {
          ref: refFrom(key),
          binds: this.registration.serviceKey,
          event: (row, bound) => {
            if (touchedBy(types, row).some((touched) => calls.holds(touched))) throw new Leftover()
            return { type: 'claim', claimant: this.#claimant(bound), at: environment.now() }
          },
        },
        { ...runner, drive: (row) => this.#begin(row), clean: (row) => this.#begin(row) },
      )
      // Another node had it first, or the row no longer asks: that is how it should be.
      if (!outcome.ok) {
        // Disabled between the doorbell and the claim: another node takes it.
        if (this.#ports.isDisabled()) this.#ports.mailbox.put(key)
        this.send({ type: 'ended' })
      }
    } catch (error) {
      // Rung again when the call has ended, or by a sweep.
      if (!(error instanceof Leftover))
        this.#log.warn(`claim of ${key} failed: ${messageOf(error)}`, refFrom(key))
      this.send({ type: 'ended' })
    }
  }

  /** The claim is durable: the driver may start, if this life still may. */
  #begin(row: ResourceRow): void {
    const { calls, clock, types, store, environment, settings } = this.#ports
    const key = keyOf(row)
    if (!this.#over && !isFreshAt(this.context, clock.now())) this.send({ type: 'tick', at: clock.now() })
    // Over meanwhile: the row keeps its claim, and a cleaner finds it.
    if (this.#over) return
    const call = calls.begin({
      key,
      touches: touchedBy(types, row),
      fence: row.fence,
      worker: this.address,
      abort: new Abort(),
      can_fence: this.config.driver.fence !== undefined,
    })
    const log = this.#log.about(fieldsOf(row), `${key} ${row.operation!.name}: `)
    if (!log.isSilent) log.debug(`claimed with fence ${row.fence}, attempt ${row.attempts}`)
    const held: Held = { row, call, drive: () => {}, ending: null, progress_at: environment.now() }
    const claim = `${key} fence ${row.fence}`
    this.#held.set(claim, held)
    const bench = {
      types,
      store,
      driver: this.config.driver,
      calls,
      environment,
      worker: this.address,
      operation_timeout_ms: settings.operation_timeout_ms,
      abort_grace_ms: settings.abort_grace_ms,
      driverAt: this.#ports.driverAt,
      prepared: () =>
        new Promise<void>((resolve) => {
          held.drive = resolve
          this.send({ type: 'prepared', claim, at: clock.now() })
        }),
      isOver: () => this.#over,
      onProgress: (of: ResourceRow, progress: Progress) => this.#onProgress(held, of, progress),
      log,
    }
    void work(bench, row, call).then((ending) => {
      held.ending = ending
      this.send({ type: 'settled', claim, at: clock.now() })
    })
  }

  #onProgress(held: Held, row: ResourceRow, progress: Progress): void {
    const { types, store, environment, settings, runner } = this.#ports
    if (this.#over) return
    this.#ports.onProgress(row, progress)
    const now = environment.now()
    if (now - held.progress_at < settings.progress_ms) return
    held.progress_at = now
    const { fraction, note } = progress
    const event = (bound: StoredRow | undefined): ResourceEvent => ({
      type: 'progress',
      claimant: this.#claimant(bound),
      fence: row.fence,
      fraction,
      note,
      at: environment.now(),
    })
    // Progress that is lost or refused harms nobody.
    commit(
      types,
      store,
      { ref: row, binds: this.registration.serviceKey, event: (_, bound) => event(bound) },
      runner,
    ).catch(() => {})
  }

  // ---- finishes ----

  async #finish(claim: Claim): Promise<void> {
    const { types, store, runner, environment, settings } = this.#ports
    const held = this.#held.get(claim)
    if (held?.ending == null) return
    const { row, ending } = held
    const name = row.operation!.cleanup === null ? row.operation!.name : 'cleanup'
    const isElsewhere = !ending.ok && ending.code === 'not_here'
    const elsewhere = isElsewhere ? this.#ports.elsewhere(row, ending.message) : null
    const event = (bound: StoredRow | undefined): ResourceEvent => {
      const at = environment.now()
      const owned = { claimant: this.#claimant(bound), fence: row.fence, at }
      if (ending.ok) return { type: `${name}.done`, ...owned, changes: ending.changes } as ResourceEvent
      const { code, message } =
        elsewhere?.topic === null ? { code: 'no_cluster', message: elsewhere.why } : ending
      const failures = (row.operation!.cleanup?.failures ?? 0) + 1
      const not_before = at + Math.min(60_000, settings.sweep_ms * 2 ** failures)
      return {
        type: `${name}.failed`,
        ...owned,
        error: { code, message },
        not_before,
        limits: limitsOf(settings),
      } as ResourceEvent
    }
    const moving = (bound: StoredRow | undefined): ResourceEvent =>
      ({
        type: `${name}.elsewhere`,
        claimant: this.#claimant(bound),
        fence: row.fence,
        at: environment.now(),
        topic: elsewhere!.topic,
        error: { code: 'not_here', message: ending.ok ? '' : ending.message },
      }) as ResourceEvent
    const swap = (made: typeof event) =>
      commit(
        types,
        store,
        { ref: row, binds: this.registration.serviceKey, event: (_, bound) => made(bound) },
        runner,
      )
    try {
      // Nobody wants it any longer, or the claim is not ours: then it ends here like any other.
      const moved = elsewhere !== null && elsewhere.topic !== null && (await swap(moving)).ok
      // Refused: this claim is no longer ours, the late finish changes nothing (rules R1, R5).
      if (!moved) {
        const outcome = await swap(event)
        if (!this.#log.isSilent) this.#tellEnd(row, name, ending, outcome.ok ? outcome.row.status : null)
      }
      this.#held.delete(claim)
      this.send({ type: 'ended' })
    } catch (error) {
      this.#log.warn(`finish of ${claim} failed: ${messageOf(error)}`, fieldsOf(row))
      // The claim stays, so that nothing is lost: it is tried again while this life lasts, cleaned after it.
      if (isStoreTrouble(error)) {
        environment.timer(settings.heartbeat_ms / 2, () =>
          this.send({ type: 'settled', claim, at: this.#ports.clock.now() }),
        )
        return
      }
      this.send({ type: 'broken', reason: messageOf(error) })
    } finally {
      // By now the row itself counts where it is.
      if (elsewhere !== null && elsewhere.topic !== null) elsewhere.forget()
    }
  }

  #tellEnd(row: ResourceRow, name: string, ending: Ending, status: string | null): void {
    const what = `${keyOf(row)} ${row.operation!.name}: ${name === 'cleanup' ? 'its cleanup ' : ''}`
    const fields = { ...fieldsOf(row), ...(!ending.ok && { code: ending.code }) }
    if (status === null)
      this.#log.info(`${what}ended late; the claim is no longer this node's, nothing is changed`, fields)
    else if (ending.ok) this.#log.debug(`${what}done; it is ${status}`, { ...fields, status })
    else
      this.#log.warn(`${what}failed with ${ending.code}, it is ${status}: ${ending.message}`, {
        ...fields,
        status,
      })
  }

  #releaseHeld(): void {
    const { clock } = this.#ports
    for (const claim of this.#waitingDrives) this.send({ type: 'prepared', claim, at: clock.now() })
    this.#waitingDrives.clear()
    for (const claim of this.#waitingFinishes) this.send({ type: 'settled', claim, at: clock.now() })
    this.#waitingFinishes.clear()
  }

  // ---- the end of a life ----

  /** Aborts are advice: the calls stay known until they settle (rule R18). */
  #abortAll(reason: string | null): void {
    const why = reason ?? 'its node is over'
    for (const { call } of this.#held.values())
      this.#ports.calls.abort(call, new Aborted('node_over', `${this.address}: ${why}`))
    this.#held.clear()
  }
}

export function isStoreTrouble(error: unknown): boolean {
  return error instanceof StoreError && (error.code === 'store_lost' || error.code === 'store_refused')
}

/** `kind/id`; a kind holds no slash. */
export function refFrom(key: Key): { kind: string; id: string } {
  const slash = key.indexOf('/')
  return { kind: key.slice(0, slash), id: key.slice(slash + 1) }
}
