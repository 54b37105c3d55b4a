// The protocol as one pure `next(state, choice)`: rows, mailbox, backend, lives, executions and schedulers in
// one state, and every step of any of them one atomic choice. The decisions are those of the shipped charts
// and of machines/service.ts; what stands here mirrors what the runtime does around them. A swap whose
// decision is made anew after a conflict is one choice; what was read earlier and is not read again (the
// service row a sweep saw, the rows it listed, a claim's fence) is part of the state.

import type { ResourceEvent } from '../../../machines/resource.ts'
import type { JsonObject, ServiceRow } from '../../../machines/row.ts'
import { closed, declaredDown, joined, registered, runningLife, whyNotOf } from '../../../machines/service.ts'
import type { Configuration } from './configuration.ts'
import { type Group, Layout } from './layout.ts'
import { type Happening, LIFE_STATES, type LifeStep, Lives, Routing, Sweeps } from './lives.ts'
import { FIRST_HOST, NOBODY, numberOf, type Outcome, QUEUED, Rows, serviceRow, type World } from './rows.ts'

// ---- the numbers of a state ----

/** What is left of the budgets. */
export const LEFT = { operations: 0, crashes: 1, pauses: 2, lost: 3, duplicated: 4, failures: 5 } as const

/** A resource: its row, the backend's mark and object, its doorbell, and what it was last accepted for. */
export const RES = {
  body: 0,
  who: 1,
  incarnation: 2,
  fence: 3,
  host: 4,
  mark: 5,
  exists: 6,
  bell: 7,
  /** An administrator said what is true: the backend is not compared any more. */
  told: 8,
  asked: 9,
} as const
/** With R4 off: the row that the doorbell carries. */
export const CARRIED = { body: 0, who: 1, incarnation: 2, fence: 3, host: 4 } as const
export const SERVICE = { state: 0, incarnation: 1, cleaned: 2 } as const
/** `stands`: its beats stand still though it lives. `listed`: rows of its earlier lives still to clean. */
export const LIFE = { state: 0, incarnation: 1, stands: 2, listed: 3 } as const
/** A claim of a life, from the doorbell it took to the end of its finish. */
export const EXEC = { life: 0, incarnation: 1, resource: 2, phase: 3, fence: 4, what: 5 } as const
export const SCHEDULER = { busy: 0, listed: 1, left: 2, duties: 3 } as const
export const DUTY = { type: 0, host: 1, state: 2, incarnation: 3, cleaned: 4, over: 5 } as const
const DUTY_SIZE = 6
/** With R7 off: an accept that was decided and is not written yet. */
export const CLIENT = { asked: 0, resource: 1, body: 2, who: 3, incarnation: 4, fence: 5, host: 6 } as const

export const PHASE = {
  claiming: 1,
  claimed: 2,
  driving: 3,
  effected: 4,
  finishing_done: 5,
  finishing_failed: 6,
} as const
/** What a claim is for: its operation, a cleanup without a method of the driver, or an undo. */
export const WHAT = { operation: 0, cleanup: 1, undo: 2 } as const
export const MARK_DOWN = 1
export const CLEAN = 2
export const CLEAN_AND_CLOSE = 3
export const SERVICE_STATES = ['absent', 'starting', 'up', 'down'] as const
const STARTING = 1
const UP = 2
const DOWN = 3
const ABSENT_LIFE = LIFE_STATES.indexOf('absent')
const REGISTERING = LIFE_STATES.indexOf('registering')
const UP_LIFE = LIFE_STATES.indexOf('up')
const CLEANING_LIFE = LIFE_STATES.indexOf('cleaning')
const SETTING_UP = LIFE_STATES.indexOf('setting_up')

/** The kinds of choices. `a`, `b` of each: see `tell.ts`, which words them. */
export const CHOICES = [
  'accept',
  'read for an accept',
  'write an accept',
  'ring again',
  'take',
  'take, and it comes again',
  'lose a doorbell',
  'claim',
  'begin',
  'effect',
  'settle',
  'fail',
  'finish',
  'crash',
  'start',
  'list own',
  'clean own',
  'join',
  'pause',
  'wake',
  'fence',
  'hear of its end',
  'sweep',
  'take up a duty',
  'clean',
  'clean and crash',
  'close',
  'crash a scheduler',
] as const
export type ChoiceKind = (typeof CHOICES)[number]
const KIND = Object.fromEntries(CHOICES.map((name, i) => [name, i])) as { readonly [K in ChoiceKind]: number }

export const INVARIANTS = [
  'one_worker',
  'rest_has_no_worker',
  'fence_grows',
  'finish_by_owner',
  'op_matches_row',
  'accept_at_rest',
  'cleaned_only_if_gone',
  'store_and_backend_agree',
  'all_at_rest',
] as const
export type Invariant = (typeof INVARIANTS)[number]

export const SOMETIMES = [
  'claim_lost',
  'cleanup_lost',
  'crash_before_claim',
  'crash_after_claim',
  'crash_after_effect_before_finish',
  'cleaner_crashed',
  'zombie_refused',
  'self_fenced',
  'doorbell_dropped',
  'requeued_elsewhere',
] as const
export type Sometimes = (typeof SOMETIMES)[number]

/** Told of each choice; `next` of the model holds the state it leads to. `progress`: no fault, no new demand. */
export type Visit = (kind: number, a: number, b: number, progress: boolean) => void

export interface Violation {
  readonly invariant: Invariant
  readonly message: string
}

const CLIENTS = 2

/** A state would need more executions than it was laid out for: lay it out anew. */
export class NoRoom extends Error {}

export class Model {
  readonly configuration: Configuration
  readonly layout = new Layout()
  readonly rows: Rows
  readonly left: Group
  readonly resources: Group
  readonly carried: Group
  readonly services: Group
  readonly lives: Group
  readonly executions: Group
  readonly schedulers: Group
  readonly clients: Group
  /** Duties that a scheduler can have at once. */
  readonly duties: number
  /** The state that the choice just told of leads to. */
  readonly next: Uint16Array
  /** What that choice broke. */
  violation: Violation | null = null
  /** Bit i: SOMETIMES[i] has happened in a step so far. */
  happened = 0
  readonly #world: World
  readonly #lives: Lives
  readonly #sweeps = new Sweeps()
  readonly #routing: Routing
  readonly #numbers: number[]
  /** With R9 off: the step would have to wait for room in a mailbox. */
  #mustWait = false
  #visit: Visit = () => {}
  #now: Uint16Array

  /** `slots`: executions that a state has room for; one more than that is a `NoRoom`. */
  constructor(configuration: Configuration, slots: number) {
    this.configuration = configuration
    const { resources, hosts, lives, schedulers, topic, backend, types, ruleOff } = configuration
    this.#world = { types, resources, topic, backend, hosts, limits: { attempts: 3, cleanups: 5 } }
    this.rows = new Rows(this.#world)
    this.#lives = new Lives(configuration.nodeChart, 64)
    this.#routing = new Routing(Object.fromEntries(hosts.map((host) => [`${host}@${backend}`, topic])))
    this.#numbers = resources.map(() => 0)
    const row = { body: 12, who: 3, incarnation: 4, fence: 5, host: 3 }
    this.left = this.layout.group('budget', 1, {
      operations: 3,
      crashes: 3,
      pauses: 3,
      lost: 3,
      duplicated: 3,
      failures: 3,
    })
    this.resources = this.layout.group('resource', resources.length, {
      ...row,
      mark: 5,
      exists: 1,
      bell: 1,
      told: 1,
      asked: 4,
    })
    this.services = this.layout.group('service', hosts.length, { state: 2, incarnation: 4, cleaned: 4 })
    this.lives = this.layout.group('life', lives.length, {
      state: 4,
      incarnation: 4,
      stands: 1,
      listed: resources.length,
    })
    this.executions = this.layout.group('execution', slots, {
      life: 3,
      incarnation: 4,
      resource: 2,
      phase: 3,
      fence: 5,
      what: 6,
    })
    this.duties = 2 * hosts.length
    const duties = Array.from({ length: this.duties }, (_, i) => ({
      [`duty ${i + 1} type`]: 2,
      [`duty ${i + 1} host`]: 2,
      [`duty ${i + 1} state`]: 2,
      [`duty ${i + 1} incarnation`]: 4,
      [`duty ${i + 1} cleaned`]: 4,
      [`duty ${i + 1} over`]: 4,
    }))
    this.schedulers = this.layout.group(
      'scheduler',
      schedulers,
      Object.assign({ busy: 1, listed: resources.length, left: 1 }, ...duties),
    )
    this.carried = this.layout.group('carried', ruleOff === 'R4' ? resources.length : 0, row)
    this.clients = this.layout.group('client', ruleOff === 'R7' ? CLIENTS : 0, {
      asked: 4,
      resource: 2,
      ...row,
    })
    this.next = new Uint16Array(this.layout.length)
    this.#now = new Uint16Array(this.layout.length)
  }

  /** Every node up in its first life, nothing asked yet. */
  first(): Uint16Array {
    const { budget, first, hosts, lives } = this.configuration
    const state = new Uint16Array(this.layout.length)
    const at = this.left.start
    state[at + LEFT.operations] = budget.operations
    state[at + LEFT.crashes] = budget.crashes
    state[at + LEFT.pauses] = budget.pauses
    state[at + LEFT.lost] = budget.lostDoorbells
    state[at + LEFT.duplicated] = budget.duplicatedDoorbells
    state[at + LEFT.failures] = budget.failures
    for (const [r, made] of first.entries()) {
      const base = this.#resource(r)
      state[base + RES.body] = this.rows.first(r, made).body
      state[base + RES.exists] = made === null ? 0 : 1
    }
    for (let host = 0; host < hosts.length; host++) {
      state[this.#service(host) + SERVICE.state] = UP
      state[this.#service(host) + SERVICE.incarnation] = 1
    }
    // A twin of the first host is not started yet.
    for (let life = 0; life < lives.length; life++) {
      if (life >= hosts.length) continue
      state[this.#life(life) + LIFE.state] = UP_LIFE
      state[this.#life(life) + LIFE.incarnation] = 1
    }
    return state
  }

  /** Tells of every choice that is open in a state. */
  successors(state: Uint16Array, visit: Visit): void {
    this.#now = state
    this.#visit = visit
    this.#clientChoices()
    this.#doorbellChoices()
    this.#executionChoices()
    this.#lifeChoices()
    this.#schedulerChoices()
  }

  /** Two hosts that nothing but their names tells apart. */
  canSwapHosts(a: number, b: number): boolean {
    const { hosts, lives, topic, backend } = this.configuration
    const isSpecial = (host: number) =>
      topic === `${hosts[host]}@${backend}` || lives.filter((of) => of === host).length > 1
    return !isSpecial(a) && !isSpecial(b)
  }

  canSwapResources(a: number, b: number): boolean {
    return a < this.configuration.ofKind && b < this.configuration.ofKind
  }

  // ---- what can be said of a state ----

  /** Every row is at rest, and every life that was declared down is cleaned. */
  isAtRest(state: Uint16Array): boolean {
    for (let r = 0; r < this.resources.count; r++)
      if (!this.rows.body(state[this.#resource(r) + RES.body]!).atRest) return false
    for (let host = 0; host < this.services.count; host++) {
      const base = this.#service(host)
      if (
        state[base + SERVICE.state] === DOWN &&
        state[base + SERVICE.cleaned] !== state[base + SERVICE.incarnation]
      )
        return false
    }
    return true
  }

  /** What is wrong with a state as it stands, whatever step led there. */
  faultOf(state: Uint16Array): Violation | null {
    const working = this.#twoWorkersIn(state)
    if (working !== null) return working
    for (let slot = 0; slot < this.executions.count; slot++)
      if (state[this.#execution(slot) + EXEC.life] !== 0) return null
    if (!this.isAtRest(state)) return null
    for (let r = 0; r < this.resources.count; r++) {
      const base = this.#resource(r)
      const { status, exists } = this.rows.body(state[base + RES.body]!)
      const isThere = state[base + RES.exists] === 1
      if (exists === null || exists === isThere || state[base + RES.told] === 1) continue
      const { kind, id } = this.configuration.resources[r]!
      return {
        invariant: 'store_and_backend_agree',
        message: `${kind} ${id} is ${status}, ${isThere ? 'but what it was is still at the backend' : 'but there is nothing at the backend'}`,
      }
    }
    return null
  }

  #twoWorkersIn(state: Uint16Array): Violation | null {
    let seen = 0
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.#execution(slot)
      const phase = state[base + EXEC.phase]!
      if (phase !== PHASE.driving && phase !== PHASE.effected) continue
      if (!this.#isHeard(state, slot)) continue
      const r = state[base + EXEC.resource]!
      if ((seen & (1 << r)) !== 0) {
        const { kind, id } = this.configuration.resources[r]!
        return {
          invariant: 'one_worker',
          message: `two calls work on ${kind} ${id}, and the backend heeds both`,
        }
      }
      seen |= 1 << r
    }
    return null
  }

  /** The backend would take an effect of this call now. */
  #isHeard(state: Uint16Array, slot: number): boolean {
    const base = this.#execution(slot)
    if (this.configuration.driver.fences)
      return state[base + EXEC.fence]! >= state[this.#resource(state[base + EXEC.resource]!) + RES.mark]!
    return this.#isOver(state, slot) || this.#may(state, state[base + EXEC.life]! - 1, 'prepared', 'drive')
  }

  // ---- places ----

  #resource(r: number): number {
    return this.resources.start + r * this.resources.size
  }
  #service(host: number): number {
    return this.services.start + host * this.services.size
  }
  #life(life: number): number {
    return this.lives.start + life * this.lives.size
  }
  #execution(slot: number): number {
    return this.executions.start + slot * this.executions.size
  }
  #scheduler(s: number): number {
    return this.schedulers.start + s * this.schedulers.size
  }
  #duty(s: number, d: number): number {
    return this.#scheduler(s) + SCHEDULER.duties + d * DUTY_SIZE
  }
  #client(c: number): number {
    return this.clients.start + c * this.clients.size
  }
  #carriedBy(r: number): number {
    return this.carried.start + r * this.carried.size
  }

  // ---- choices ----

  /** Begins a choice: what it leads to starts as what is. */
  #from(): Uint16Array {
    this.next.set(this.#now)
    this.violation = null
    this.#mustWait = false
    return this.next
  }

  #tell(kind: number, a: number, b: number, progress: boolean): void {
    if (!this.#mustWait) this.#visit(kind, a, b, progress)
  }

  #spent(of: number): void {
    this.next[this.left.start + of]!--
  }

  #has(of: number): boolean {
    return this.#now[this.left.start + of]! > 0
  }

  #note(what: Sometimes): void {
    this.happened |= 1 << SOMETIMES.indexOf(what)
  }

  #broke(invariant: Invariant, message: string): void {
    this.violation ??= { invariant, message }
  }

  #name(r: number): string {
    const { kind, id } = this.configuration.resources[r]!
    return `${kind} ${id}`
  }

  // ---- rows ----

  #numberAt(state: Uint16Array, base: number): number {
    return numberOf(state[base]!, state[base + 1]!, state[base + 2]!, state[base + 3]!, state[base + 4]!)
  }

  /** All rows as one number each; `instead` for the one at `resource`, if given. */
  #allNumbers(state: Uint16Array, resource = -1, instead = 0): readonly number[] {
    for (let r = 0; r < this.resources.count; r++)
      this.#numbers[r] = r === resource ? instead : this.#numberAt(state, this.#resource(r))
    return this.#numbers
  }

  /** Writes what was decided over the rows of `next`. */
  #write({ changes, rings, broken }: Outcome): void {
    const { next } = this
    if (broken !== null) this.#broke(broken.invariant as Invariant, broken.message)
    for (const change of changes) {
      const base = this.#resource(change.resource)
      if (change.fence < next[base + RES.fence]!)
        this.#broke(
          'fence_grows',
          `the fence of ${this.#name(change.resource)} goes from ${next[base + RES.fence]} to ${change.fence}`,
        )
      next[base + RES.body] = change.body
      next[base + RES.who] = change.who
      next[base + RES.incarnation] = change.incarnation
      next[base + RES.fence] = change.fence
      next[base + RES.host] = change.host
      if (this.rows.body(change.body).operation === null) next[base + RES.asked] = 0
    }
    for (const r of rings) this.#ring(r)
  }

  /** Puts a doorbell into the topic's mailbox; a full one drops it (rule R9). */
  #ring(r: number): void {
    const { topic, mailbox, ruleOff } = this.configuration
    if (this.#routing.mailboxFor(topic) === null) return
    const base = this.#resource(r)
    const { next } = this
    if (ruleOff === 'R4' && next[base + RES.bell] === 0 && !this.#isBeingClaimed(next, r))
      for (let i = 0; i < 5; i++) next[this.#carriedBy(r) + i] = next[base + i]!
    if (next[base + RES.bell] === 1) return
    let bells = 0
    for (let other = 0; other < this.resources.count; other++)
      bells += next[this.#resource(other) + RES.bell]!
    if (bells >= mailbox) {
      if (ruleOff === 'R9') this.#mustWait = true
      else this.#note('doorbell_dropped')
      return
    }
    next[base + RES.bell] = 1
  }

  #isBeingClaimed(state: Uint16Array, r: number): boolean {
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.#execution(slot)
      if (state[base + EXEC.phase] === PHASE.claiming && state[base + EXEC.resource] === r) return true
    }
    return false
  }

  // ---- clients ----

  #clientChoices(): void {
    const { ofKind, asked, ruleOff } = this.configuration
    if (ruleOff === 'R7') this.#writeAccepts()
    if (!this.#has(LEFT.operations)) return
    for (let r = 0; r < ofKind; r++)
      for (let a = 0; a < asked.length; a++) {
        const outcome = this.#acceptOf(r, a, this.#allNumbers(this.#now))
        if (outcome === null) continue
        // Ids are made for each create: two never meet.
        if (ruleOff === 'R7' && this.rows.body(this.#now[this.#resource(r)]!).status !== 'new') {
          this.#readForAccept(r, a)
          continue
        }
        this.#from()
        this.#spent(LEFT.operations)
        this.#accept(r, a, outcome)
        this.#tell(KIND.accept, r, a, false)
      }
  }

  #acceptOf(r: number, a: number, numbers: readonly number[]): Outcome | null {
    return this.rows.decide(r, numbers, a * 8, () => {
      const { name, input } = this.configuration.asked[a]!
      return { type: name, input, request_id: null, at: 0, related: {} } as ResourceEvent
    })
  }

  #accept(r: number, a: number, outcome: Outcome): void {
    const { name, force, instant } = this.configuration.asked[a]!
    const base = this.#resource(r)
    const before = this.rows.body(this.#now[base + RES.body]!)
    if (!force && !before.atRest)
      this.#broke(
        'accept_at_rest',
        `${name} of ${this.#name(r)} is accepted while ${before.operation ?? 'another operation'} is in it`,
      )
    this.#write(outcome)
    if (instant) {
      if (force) this.next[base + RES.told] = 1
    } else this.next[base + RES.asked] = this.#operationIndex(r, name) + 1
  }

  #operationIndex(r: number, name: string): number {
    const { kind } = this.configuration.resources[r]!
    return this.configuration.operations.get(kind)!.findIndex((operation) => operation.name === name)
  }

  /** R7 off: what was read is kept, and decides later. */
  #readForAccept(r: number, a: number): void {
    for (let c = 0; c < CLIENTS; c++) {
      const client = this.#client(c)
      if (this.#now[client + CLIENT.asked] !== 0) continue
      const next = this.#from()
      this.#spent(LEFT.operations)
      next[client + CLIENT.asked] = a + 1
      next[client + CLIENT.resource] = r
      for (let i = 0; i < 5; i++) next[client + CLIENT.body + i] = next[this.#resource(r) + i]!
      this.#tell(KIND['read for an accept'], r, a, false)
      return
    }
  }

  #writeAccepts(): void {
    for (let c = 0; c < CLIENTS; c++) {
      const client = this.#client(c)
      const a = this.#now[client + CLIENT.asked]! - 1
      if (a < 0) continue
      const r = this.#now[client + CLIENT.resource]!
      const stale = this.#numberAt(this.#now, client + CLIENT.body)
      const outcome = this.#acceptOf(r, a, this.#allNumbers(this.#now, r, stale))
      if (outcome === null) continue
      const next = this.#from()
      next.fill(0, client, client + this.clients.size)
      this.#accept(r, a, outcome)
      this.#tell(KIND['write an accept'], r, a, true)
    }
  }

  // ---- doorbells ----

  #doorbellChoices(): void {
    const { schedulers, ruleOff } = this.configuration
    for (let r = 0; r < this.resources.count; r++) {
      const base = this.#resource(r)
      if (this.#now[base + RES.bell] === 0) {
        if (schedulers === 0 || ruleOff === 'R3' || !this.#looksQueued(r)) continue
        this.#from()
        this.#ring(r)
        this.#tell(KIND['ring again'], r, 0, true)
        continue
      }
      for (let life = 0; life < this.lives.count; life++) this.#take(life, r)
      if (this.#has(LEFT.lost)) {
        const next = this.#from()
        this.#spent(LEFT.lost)
        next[base + RES.bell] = 0
        this.#note('doorbell_dropped')
        this.#tell(KIND['lose a doorbell'], r, 0, false)
      }
    }
  }

  /** What the sweep rings again: queued, which the incarnation tells (rule R17). */
  #looksQueued(r: number): boolean {
    const who = this.#now[this.#resource(r) + RES.who]!
    return who === QUEUED || (this.configuration.ruleOff === 'R17' && who === FIRST_HOST)
  }

  #take(life: number, r: number): void {
    // A life that claims it already would only lose against itself: the same as taking the doorbell later.
    if (this.#isClaimedBy(life, r) || !this.#may(this.#now, life, 'doorbell', 'claim')) return
    const slot = this.#freeSlot()
    const take = () => {
      const next = this.#from()
      const base = this.#execution(slot)
      next[base + EXEC.life] = life + 1
      next[base + EXEC.incarnation] = next[this.#life(life) + LIFE.incarnation]!
      next[base + EXEC.resource] = r
      next[base + EXEC.phase] = PHASE.claiming
      return next
    }
    take()[this.#resource(r) + RES.bell] = 0
    this.#tell(KIND.take, life, r, true)
    if (!this.#has(LEFT.duplicated)) return
    take()
    this.#spent(LEFT.duplicated)
    this.#tell(KIND['take, and it comes again'], life, r, false)
  }

  #isClaimedBy(life: number, r: number): boolean {
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.#execution(slot)
      if (this.#now[base + EXEC.phase] !== PHASE.claiming || this.#now[base + EXEC.resource] !== r) continue
      if (this.#now[base + EXEC.life] === life + 1 && !this.#isOver(this.#now, slot)) return true
    }
    return false
  }

  #freeSlot(): number {
    for (let slot = 0; slot < this.executions.count; slot++)
      if (this.#now[this.#execution(slot) + EXEC.life] === 0) return slot
    throw new NoRoom(`more than ${this.executions.count} executions at once`)
  }

  // ---- executions ----

  #executionChoices(): void {
    for (let slot = 0; slot < this.executions.count; slot++) {
      const phase = this.#now[this.#execution(slot) + EXEC.phase]!
      if (phase === PHASE.claiming) this.#claim(slot)
      else if (phase === PHASE.claimed) this.#begin(slot)
      else if (phase === PHASE.driving) this.#drive(slot)
      else if (phase === PHASE.effected) this.#settle(slot)
      else if (phase !== 0) this.#finish(slot)
    }
  }

  #end(state: Uint16Array, slot: number): void {
    const base = this.#execution(slot)
    state.fill(0, base, base + this.executions.size)
  }

  /** The life that made this claim is over; what it began may still run. */
  #isOver(state: Uint16Array, slot: number): boolean {
    const base = this.#execution(slot)
    const life = this.#life(state[base + EXEC.life]! - 1)
    return state[life + LIFE.incarnation] !== state[base + EXEC.incarnation]
  }

  #inFlight(state: Uint16Array, life: number): number {
    let count = 0
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.#execution(slot)
      if (state[base + EXEC.life] === life + 1 && !this.#isOver(state, slot)) count++
    }
    return count
  }

  #lifeStep(state: Uint16Array, life: number, happening: Happening): LifeStep {
    const base = this.#life(life)
    return this.#lives.step(
      state[base + LIFE.state]!,
      state[base + LIFE.stands] === 1,
      this.#inFlight(state, life),
      happening,
    )
  }

  /** Its chart answers this with that command. */
  #may(state: Uint16Array, life: number, happening: Happening, command: string): boolean {
    const at = state[this.#life(life) + LIFE.state]!
    if (at === ABSENT_LIFE || at === REGISTERING) return false
    return this.#lifeStep(state, life, happening).commands.has(command)
  }

  /** The service row that a claim or finish looks at, and that binds (rule R5). */
  #serviceSeenBy(host: number, incarnation: number): [state: number, incarnation: number] {
    if (this.configuration.ruleOff === 'R5') return [UP, incarnation]
    const base = this.#service(host)
    return [this.#now[base + SERVICE.state]!, this.#now[base + SERVICE.incarnation]!]
  }

  #serviceOf(host: number, state: number, incarnation: number, cleaned = 0): ServiceRow {
    const named = SERVICE_STATES[state] as ServiceRow['state']
    return serviceRow(this.#world, host, named, incarnation, cleaned, this.#cleansAtBackend)
  }

  get #cleansAtBackend(): boolean {
    return this.configuration.driver.fences || this.configuration.driver.undoes
  }

  #claimant(host: number, incarnation: number, state: number, seen: number) {
    const { hosts, backend } = this.configuration
    return {
      worker: `${hosts[host]}@${backend}`,
      host: hosts[host]!,
      incarnation,
      service: this.#serviceOf(host, state, seen),
    }
  }

  /** A call of this process still runs on the resource, and nothing at the backend can stop it (rule R18). */
  #isHeldHere(r: number, life: number | null): boolean {
    const { driver, oneProcess, ruleOff } = this.configuration
    if (driver.fences || ruleOff === 'R18') return false
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.#execution(slot)
      const phase = this.#now[base + EXEC.phase]!
      if (phase < PHASE.claimed || phase > PHASE.effected || this.#now[base + EXEC.resource] !== r) continue
      if (oneProcess || (life !== null && this.#now[base + EXEC.life] === life + 1)) return true
    }
    return false
  }

  #claim(slot: number): void {
    const base = this.#execution(slot)
    const now = this.#now
    const life = now[base + EXEC.life]! - 1
    const r = now[base + EXEC.resource]!
    const incarnation = now[base + EXEC.incarnation]!
    const host = this.configuration.lives[life]!
    const next = this.#from()
    if (this.#isHeldHere(r, life)) {
      // Rung again when the call has ended, or by a sweep.
      this.#end(next, slot)
      return void this.#tell(KIND.claim, slot, 0, true)
    }
    const [state, seen] = this.#serviceSeenBy(host, incarnation)
    const key = 1 + 8 * (host + 8 * (incarnation + 16 * (state + 4 * seen)))
    const outcome = this.rows.decide(r, this.#seenByClaim(r, host), key, () => ({
      type: 'claim',
      claimant: this.#claimant(host, incarnation, state, seen),
      at: 0,
    }))
    if (outcome === null) {
      this.#note('claim_lost')
      this.#end(next, slot)
      return void this.#tell(KIND.claim, slot, 0, true)
    }
    const row = this.#resource(r)
    if (this.rows.body(now[row + RES.body]!).attempts > 0 && now[row + RES.host] !== host + 1)
      this.#note('requeued_elsewhere')
    const fence = now[row + RES.fence]!
    this.#write(outcome)
    if (next[row + RES.fence]! <= fence)
      this.#broke('fence_grows', `a claim of ${this.#name(r)} leaves its fence at ${next[row + RES.fence]}`)
    // Over meanwhile: the row keeps its claim, and a cleaner finds it.
    if (this.#isOver(now, slot)) this.#end(next, slot)
    else {
      next[base + EXEC.phase] = PHASE.claimed
      next[base + EXEC.fence] = next[row + RES.fence]!
      next[base + EXEC.what] = this.#whatIn(next, r)
    }
    this.#tell(KIND.claim, slot, 1, true)
  }

  /** The rows as the node that claims sees them. */
  #seenByClaim(r: number, host: number): readonly number[] {
    const { ruleOff } = this.configuration
    const base = this.#resource(r)
    const now = this.#now
    if (ruleOff === 'R4' && now[this.#carriedBy(r) + CARRIED.who] === QUEUED)
      return this.#allNumbers(now, r, this.#numberAt(now, this.#carriedBy(r)))
    if (ruleOff === 'R17' && now[base + RES.who] === FIRST_HOST && host !== 0)
      return this.#allNumbers(
        now,
        r,
        numberOf(now[base + RES.body]!, QUEUED, 0, now[base + RES.fence]!, now[base + RES.host]!),
      )
    return this.#allNumbers(now)
  }

  /** The operation that a claim is for, and what of it; for texts. */
  whatOf(r: number, what: number): { readonly operation: string; readonly part: number } {
    return { operation: this.#operationName(r, Math.floor((what - 1) / 3)), part: (what - 1) % 3 }
  }

  #whatIn(state: Uint16Array, r: number): number {
    const { operation, cleanup } = this.rows.body(state[this.#resource(r) + RES.body]!)
    const index = this.#operationIndex(r, operation!)
    const isUndo = this.configuration.driver.undoes && (cleanup === 'restore' || cleanup === 'gone')
    return index * 3 + (cleanup === null ? WHAT.operation : isUndo ? WHAT.undo : WHAT.cleanup) + 1
  }

  /** Finds its claim as it was, raises the mark, and calls the driver if its life still may work. */
  #begin(slot: number): void {
    const now = this.#now
    const base = this.#execution(slot)
    const life = now[base + EXEC.life]! - 1
    const r = now[base + EXEC.resource]!
    const row = this.#resource(r)
    const fence = now[base + EXEC.fence]!
    const next = this.#from()
    if (now[row + RES.fence] !== fence || now[row + RES.incarnation] !== now[base + EXEC.incarnation]) {
      // Its claim is over: it does not call the driver, and says so, which is refused.
      if (!this.#may(now, life, 'settled', 'finish')) return
      next[base + EXEC.phase] = PHASE.finishing_failed
      return void this.#tell(KIND.begin, slot, 0, true)
    }
    if (!this.#may(now, life, 'prepared', 'drive')) return
    if (this.configuration.driver.fences && next[row + RES.mark]! < fence) next[row + RES.mark] = fence
    const what = (now[base + EXEC.what]! - 1) % 3
    const operation = Math.floor((now[base + EXEC.what]! - 1) / 3)
    if (operation + 1 !== now[row + RES.asked])
      this.#broke(
        'op_matches_row',
        `the driver is asked for ${this.#operationName(r, operation)} of ${this.#name(r)}, which was accepted for ${this.#operationName(r, now[row + RES.asked]! - 1)}`,
      )
    next[base + EXEC.phase] = what === WHAT.cleanup ? PHASE.finishing_done : PHASE.driving
    this.violation ??= this.#twoWorkersIn(next)
    this.#tell(KIND.begin, slot, 1, true)
  }

  #operationName(r: number, operation: number): string {
    const { kind } = this.configuration.resources[r]!
    return this.configuration.operations.get(kind)![operation]?.name ?? 'nothing'
  }

  #drive(slot: number): void {
    const now = this.#now
    const base = this.#execution(slot)
    const life = now[base + EXEC.life]! - 1
    const isOver = this.#isOver(now, slot)
    const mayGoOn = isOver || this.#may(now, life, 'settled', 'finish')
    if (this.configuration.driver.fences && !this.#isHeard(now, slot)) {
      // The backend refuses it: the call fails.
      if (!mayGoOn) return
      const next = this.#from()
      if (isOver) this.#end(next, slot)
      else next[base + EXEC.phase] = PHASE.finishing_failed
      return void this.#tell(KIND.effect, slot, 0, true)
    }
    if (this.configuration.driver.fences || mayGoOn) {
      const next = this.#from()
      this.#takeEffect(slot)
      next[base + EXEC.phase] = PHASE.effected
      this.#tell(KIND.effect, slot, 1, true)
    }
    if (mayGoOn && this.#has(LEFT.failures)) {
      const next = this.#from()
      this.#spent(LEFT.failures)
      if (isOver) this.#end(next, slot)
      else next[base + EXEC.phase] = PHASE.finishing_failed
      this.#tell(KIND.fail, slot, 0, false)
    }
  }

  #takeEffect(slot: number): void {
    const base = this.#execution(slot)
    const r = this.#now[base + EXEC.resource]!
    const what = this.#now[base + EXEC.what]! - 1
    const { kind } = this.configuration.resources[r]!
    const { effect } = this.configuration.operations.get(kind)![Math.floor(what / 3)]!
    if (effect === 'changes') return
    const isUndo = what % 3 === WHAT.undo
    // What is undone is as it was before.
    this.next[this.#resource(r) + RES.exists] = (effect === 'makes') === isUndo ? 0 : 1
  }

  #settle(slot: number): void {
    const base = this.#execution(slot)
    const life = this.#now[base + EXEC.life]! - 1
    const isOver = this.#isOver(this.#now, slot)
    if (!isOver && !this.#may(this.#now, life, 'settled', 'finish')) return
    const next = this.#from()
    if (isOver) this.#end(next, slot)
    else next[base + EXEC.phase] = PHASE.finishing_done
    this.#tell(KIND.settle, slot, 0, true)
  }

  #finish(slot: number): void {
    const now = this.#now
    const base = this.#execution(slot)
    const life = now[base + EXEC.life]! - 1
    const r = now[base + EXEC.resource]!
    const row = this.#resource(r)
    const incarnation = now[base + EXEC.incarnation]!
    const host = this.configuration.lives[life]!
    const fence = now[base + EXEC.fence]!
    const isDone = now[base + EXEC.phase] === PHASE.finishing_done
    const what = now[base + EXEC.what]! - 1
    const [state, seen] = this.#serviceSeenBy(host, incarnation)
    const key =
      2 +
      8 *
        (host +
          8 * (incarnation + 16 * (state + 4 * (seen + 16 * (fence + 64 * ((isDone ? 1 : 0) + 2 * what))))))
    const outcome = this.rows.decide(r, this.#allNumbers(now), key, () => {
      const name = what % 3 === WHAT.operation ? this.#operationName(r, Math.floor(what / 3)) : 'cleanup'
      const owned = { claimant: this.#claimant(host, incarnation, state, seen), fence, at: 0 }
      const failed = {
        error: { code: 'driver_failed', message: '' },
        not_before: 0,
        limits: this.#world.limits,
      }
      return (
        isDone
          ? { type: `${name}.done`, ...owned, changes: {} as JsonObject }
          : { type: `${name}.failed`, ...owned, ...failed }
      ) as ResourceEvent
    })
    const next = this.#from()
    this.#end(next, slot)
    if (outcome === null) {
      this.#note('zombie_refused')
      return void this.#tell(KIND.finish, slot, 0, true)
    }
    const isOwner =
      now[row + RES.who] === FIRST_HOST + host &&
      now[row + RES.incarnation] === incarnation &&
      now[row + RES.fence] === fence
    if (!isOwner)
      this.#broke(
        'finish_by_owner',
        `life ${incarnation} of ${this.configuration.hosts[host]} finishes ${this.#name(r)} with fence ${fence}, a claim that the row has no longer`,
      )
    this.#write(outcome)
    // Its success may have begun the operation that follows.
    const { operation: following } = this.rows.body(next[row + RES.body]!)
    if (following !== null && isDone && what % 3 === WHAT.operation)
      next[row + RES.asked] = this.#operationIndex(r, following) + 1
    this.#tell(KIND.finish, slot, 1, true)
  }

  // ---- lives ----

  #lifeChoices(): void {
    for (let life = 0; life < this.lives.count; life++) {
      const base = this.#life(life)
      const state = this.#now[base + LIFE.state]!
      if (state === ABSENT_LIFE || state === REGISTERING) {
        this.#register(life)
        continue
      }
      if (this.#has(LEFT.crashes)) this.#crash(life)
      if (state === SETTING_UP) this.#listOwn(life)
      else if (state === CLEANING_LIFE) this.#cleanOwn(life)
      if (this.#now[base + LIFE.stands] === 1) {
        this.#wake(life)
        this.#fenceItself(life)
      } else {
        if (this.#has(LEFT.pauses) && !this.configuration.oneProcess) {
          this.#from()[base + LIFE.stands] = 1
          this.#spent(LEFT.pauses)
          this.#tell(KIND.pause, life, 0, false)
        }
        this.#hearOfItsEnd(life)
      }
    }
  }

  /** Nobody else of the cluster is there to take over. */
  #isAlone(life: number): boolean {
    for (let other = 0; other < this.lives.count; other++)
      if (other !== life && this.#now[this.#life(other) + LIFE.state] !== ABSENT_LIFE) return false
    return true
  }

  /** The beats of the life that the service row names stand still: it is crashed, over, or stalled. */
  #standsStill(state: Uint16Array, host: number): boolean {
    const { lives } = this.configuration
    const incarnation = state[this.#service(host) + SERVICE.incarnation]
    for (let life = 0; life < this.lives.count; life++) {
      const base = this.#life(life)
      if (lives[life] === host && state[base + LIFE.incarnation] === incarnation && incarnation !== 0)
        return state[base + LIFE.stands] === 1
    }
    return true
  }

  /** A new life takes the next incarnation of its host (rules R2, R11). */
  #register(life: number): void {
    const { lives, schedulers, ruleOff, oneProcess } = this.configuration
    const host = lives[life]!
    const service = this.#service(host)
    const now = this.#now
    const services =
      now[service + SERVICE.state] === 0
        ? []
        : [
            this.#serviceOf(
              host,
              now[service + SERVICE.state]!,
              now[service + SERVICE.incarnation]!,
              now[service + SERVICE.cleaned],
            ),
          ]
    // With an exclusive store a life that does not run in this process is over.
    const running = oneProcess || ruleOff === 'R11' ? undefined : runningLife(services, 0)
    if (running !== undefined && !this.#standsStill(now, host)) return
    const isAgain = now[this.#life(life) + LIFE.state] === REGISTERING
    const { next: row } = registered(services, this.#serviceOf(host, STARTING, 0))
    const next = this.#from()
    next[service + SERVICE.state] = STARTING
    next[service + SERVICE.incarnation] = row.incarnation
    next[service + SERVICE.cleaned] = row.cleaned_incarnation
    const base = this.#life(life)
    next[base + LIFE.state] = this.#lives.step(REGISTERING, false, 0, 'registered').state
    next[base + LIFE.incarnation] = row.incarnation
    next[base + LIFE.stands] = 0
    next[base + LIFE.listed] = 0
    this.#tell(KIND.start, life, 0, isAgain || schedulers === 0 || this.#isAlone(life))
  }

  /** Its drivers are set up; it lists what its earlier lives left. */
  #listOwn(life: number): void {
    const base = this.#life(life)
    const next = this.#from()
    next[base + LIFE.state] = this.#lifeStep(this.#now, life, 'set_up.done').state
    next[base + LIFE.listed] = this.#listFor(
      this.configuration.lives[life]!,
      this.#now[base + LIFE.incarnation]! - 1,
    )
    this.#tell(KIND['list own'], life, 0, true)
  }

  #cleanOwn(life: number): void {
    const base = this.#life(life)
    const listed = this.#now[base + LIFE.listed]!
    if (listed === 0) {
      this.#join(life)
      return
    }
    const over = this.#now[base + LIFE.incarnation]! - 1
    for (let r = 0; r < this.resources.count; r++) {
      if ((listed & (1 << r)) === 0) continue
      const next = this.#from()
      next[base + LIFE.listed]! &= ~(1 << r)
      if (this.#cleansAtBackend || !this.#isHeldHere(r, life))
        this.#clean(r, this.configuration.lives[life]!, over)
      this.#tell(KIND['clean own'], life, r, true)
    }
  }

  /** Swaps its service row to up, if it is still its own. */
  #join(life: number): void {
    const base = this.#life(life)
    const host = this.configuration.lives[life]!
    const service = this.#service(host)
    const now = this.#now
    const row = this.#serviceOf(
      host,
      now[service + SERVICE.state]!,
      now[service + SERVICE.incarnation]!,
      now[service + SERVICE.cleaned],
    )
    const next = this.#from()
    const joining = this.#lifeStep(now, life, 'cleaned').state
    next[base + LIFE.state] = joining
    const isMine = whyNotOf(row, now[base + LIFE.incarnation]!, 'starting') === null
    if (isMine) {
      next[service + SERVICE.state] = SERVICE_STATES.indexOf(joined(row).state)
      next[base + LIFE.state] = this.#lifeStep(next, life, 'joined').state
    } else this.#become(life, this.#lifeStep(next, life, 'join.refused'))
    this.#tell(KIND.join, life, isMine ? 1 : 0, true)
  }

  /** A step of its chart that may have ended it. */
  #become(life: number, step: LifeStep): void {
    const { next } = this
    const base = this.#life(life)
    next[base + LIFE.state] = step.state
    if (!step.over) return
    const { hosts, lives, backend, driver } = this.configuration
    const startsAgain = this.#routing.startsAgain(`${hosts[lives[life]!]}@${backend}`, step.restarts)
    for (let slot = 0; slot < this.executions.count; slot++) {
      const execution = this.#execution(slot)
      if (next[execution + EXEC.life] !== life + 1) continue
      if (next[execution + EXEC.incarnation] !== next[base + LIFE.incarnation]) continue
      const phase = next[execution + EXEC.phase]!
      // A swap under way can't be called back; a call hears the abort, or does not.
      const isCalled = phase === PHASE.driving || phase === PHASE.effected
      if (phase === PHASE.claimed || (isCalled && !driver.stubborn)) this.#end(next, slot)
    }
    next[base + LIFE.state] = startsAgain ? REGISTERING : ABSENT_LIFE
    next[base + LIFE.incarnation] = 0
    next[base + LIFE.stands] = 0
    next[base + LIFE.listed] = 0
  }

  #crash(life: number): void {
    const now = this.#now
    const base = this.#life(life)
    const next = this.#from()
    this.#spent(LEFT.crashes)
    if (now[base + LIFE.listed] !== 0) this.#note('cleaner_crashed')
    for (let slot = 0; slot < this.executions.count; slot++) {
      const execution = this.#execution(slot)
      if (now[execution + EXEC.life] !== life + 1) continue
      const phase = now[execution + EXEC.phase]!
      if (phase === PHASE.claiming) this.#note('crash_before_claim')
      else if (phase === PHASE.claimed) this.#note('crash_after_claim')
      else if (phase === PHASE.effected || phase === PHASE.finishing_done)
        this.#note('crash_after_effect_before_finish')
      if (!this.configuration.oneProcess) this.#end(next, slot)
    }
    if (this.configuration.oneProcess) this.#become(life, this.#lifeStep(now, life, 'kill'))
    next[base + LIFE.state] = ABSENT_LIFE
    next[base + LIFE.incarnation] = 0
    next[base + LIFE.stands] = 0
    next[base + LIFE.listed] = 0
    this.#tell(KIND.crash, life, 0, false)
  }

  /** It wakes from its stall and beats first: if nobody took anything, it goes on (rule R8). */
  #wake(life: number): void {
    const now = this.#now
    const base = this.#life(life)
    const isMine = this.#isStillItsOwn(life)
    const next = this.#from()
    // R5 off: it does not mind what its service row says.
    const isGood = isMine || this.configuration.ruleOff === 'R5'
    const step = this.#lifeStep(now, life, isGood ? 'wakes to a good beat' : 'wakes to a refused beat')
    next[base + LIFE.stands] = 0
    this.#become(life, step)
    if (step.over) this.#note('self_fenced')
    this.#tell(KIND.wake, life, isGood ? 1 : 0, true)
  }

  #isStillItsOwn(life: number): boolean {
    const now = this.#now
    const host = this.configuration.lives[life]!
    const service = this.#service(host)
    const row = this.#serviceOf(host, now[service + SERVICE.state]!, now[service + SERVICE.incarnation]!)
    return whyNotOf(row, now[this.#life(life) + LIFE.incarnation]!, 'starting', 'up') === null
  }

  /** It is cut off rather than stalled, and its clock tells it in time. */
  #fenceItself(life: number): void {
    const step = this.#lifeStep(this.#now, life, 'tick')
    if (!step.over) return
    this.#from()
    this.#become(life, step)
    this.#note('self_fenced')
    this.#tell(KIND.fence, life, 0, true)
  }

  /** Its next beat is refused: a later life has registered. */
  #hearOfItsEnd(life: number): void {
    if (this.configuration.ruleOff === 'R5' || this.#isStillItsOwn(life)) return
    const step = this.#lifeStep(this.#now, life, 'beat.refused')
    this.#from()
    this.#become(life, step)
    this.#note('self_fenced')
    this.#tell(KIND['hear of its end'], life, 0, true)
  }

  // ---- cleaning ----

  /** What the chart says to a cleanup of this host's claims up to this incarnation. */
  #cleanupOf(r: number, host: number, over: number): Outcome | null {
    const { hosts, backend } = this.configuration
    return this.rows.decide(r, this.#allNumbers(this.#now), 3 + 8 * (host + 8 * over), () => ({
      type: 'cleanup',
      worker: `${hosts[host]}@${backend}`,
      incarnation: over,
      at_backend: this.#cleansAtBackend,
      reason: '',
      limits: this.#world.limits,
      at: 0,
    }))
  }

  /** Rows with a claim that is over. */
  #listFor(host: number, over: number): number {
    let listed = 0
    for (let r = 0; r < this.resources.count; r++)
      if (this.#now[this.#resource(r) + RES.who] !== NOBODY && this.#cleanupOf(r, host, over) !== null)
        listed |= 1 << r
    return listed
  }

  /** Puts one row right, by one swap. True if it rang. */
  #clean(r: number, host: number, over: number): boolean {
    const outcome = this.#cleanupOf(r, host, over)
    if (outcome === null) {
      this.#note('cleanup_lost')
      return false
    }
    const now = this.#now
    const row = this.#resource(r)
    const incarnation = now[row + RES.incarnation]!
    const service = this.#service(host)
    const isOver =
      now[service + SERVICE.incarnation]! > incarnation ||
      (now[service + SERVICE.incarnation] === incarnation && now[service + SERVICE.state] === DOWN)
    if (!isOver || this.#isWorking(host, incarnation))
      this.#broke(
        'cleaned_only_if_gone',
        `the claim of life ${incarnation} of ${this.configuration.hosts[host]} on ${this.#name(r)} is cleaned away, and that life goes on`,
      )
    this.#write(outcome)
    if (this.next[row + RES.fence]! <= now[row + RES.fence]!)
      this.#broke('fence_grows', `a cleanup of ${this.#name(r)} leaves its fence as it was`)
    return outcome.rings.length > 0
  }

  /** This life is there and beats. */
  #isWorking(host: number, incarnation: number): boolean {
    for (let life = 0; life < this.lives.count; life++) {
      const base = this.#life(life)
      if (this.configuration.lives[life] !== host || this.#now[base + LIFE.stands] === 1) continue
      if (this.#now[base + LIFE.incarnation] === incarnation) return true
    }
    return false
  }

  // ---- schedulers ----

  #schedulerChoices(): void {
    for (let s = 0; s < this.schedulers.count; s++) {
      const base = this.#scheduler(s)
      const isIdle = this.#now[this.#duty(s, 0) + DUTY.type] === 0
      if (isIdle) this.#sweep(s)
      else if (this.#now[base + SCHEDULER.busy] === 1) this.#goOnCleaning(s)
      else this.#takeUp(s)
      if (!isIdle && this.#has(LEFT.crashes)) {
        const next = this.#from()
        this.#spent(LEFT.crashes)
        next.fill(0, base, base + this.schedulers.size)
        if (this.#now[base + SCHEDULER.busy] === 1) this.#note('cleaner_crashed')
        this.#tell(KIND['crash a scheduler'], s, 0, false)
      }
    }
  }

  /** Reads services and beats; what its chart finds due is kept, to be done on what was read. */
  #sweep(s: number): void {
    const now = this.#now
    let key = 0
    const stands: boolean[] = []
    const hosts: number[] = []
    for (let host = 0; host < this.services.count; host++) {
      const base = this.#service(host)
      const still = this.#standsStill(now, host)
      key = ((key * 4 + now[base + SERVICE.state]!) * 16 + now[base + SERVICE.incarnation]!) * 16
      key = (key + now[base + SERVICE.cleaned]!) * 2 + (still ? 1 : 0)
      if (now[base + SERVICE.state] === 0) continue
      hosts.push(host)
      stands.push(still)
    }
    const read = () =>
      hosts.map((host) => {
        const base = this.#service(host)
        return this.#serviceOf(
          host,
          now[base + SERVICE.state]!,
          now[base + SERVICE.incarnation]!,
          now[base + SERVICE.cleaned],
        )
      })
    const due = this.#sweeps.due(read, stands, key)
    if (due.length === 0) return
    const next = this.#from()
    let d = 0
    for (const duty of due) {
      const host = this.configuration.hosts.indexOf(duty.service.host)
      const over = duty.type === 'clean' ? duty.incarnation : 0
      const closes = duty.type === 'clean' && duty.close
      // No claim of a life that is over comes to be: with nothing to list there is nothing to do.
      if (duty.type === 'clean' && !closes && this.#listFor(host, over) === 0) continue
      const base = this.#duty(s, d++)
      next[base + DUTY.type] = duty.type === 'mark_down' ? MARK_DOWN : closes ? CLEAN_AND_CLOSE : CLEAN
      next[base + DUTY.host] = host
      next[base + DUTY.state] = SERVICE_STATES.indexOf(duty.service.state)
      next[base + DUTY.incarnation] = duty.service.incarnation
      next[base + DUTY.cleaned] = duty.service.cleaned_incarnation
      next[base + DUTY.over] = over
    }
    if (d > 0) this.#tell(KIND.sweep, s, 0, true)
  }

  #takeUp(s: number): void {
    for (let d = 0; d < this.duties; d++) {
      const duty = this.#duty(s, d)
      const type = this.#now[duty + DUTY.type]!
      if (type === 0) return
      const host = this.#now[duty + DUTY.host]!
      const next = this.#from()
      if (type === MARK_DOWN) {
        const isAsSeen = this.#isAsSeen(duty) && this.#standsStill(this.#now, host)
        if (isAsSeen) {
          const row = this.#serviceOf(
            host,
            this.#now[duty + DUTY.state]!,
            this.#now[duty + DUTY.incarnation]!,
          )
          next[this.#service(host) + SERVICE.state] = SERVICE_STATES.indexOf(declaredDown(row).state)
        }
        this.#drop(s, d)
        this.#tell(KIND['take up a duty'], s, d * 2 + (isAsSeen ? 1 : 0), true)
        continue
      }
      const listed = this.#listFor(host, this.#now[duty + DUTY.over]!)
      if (listed === 0 && type === CLEAN) this.#drop(s, d)
      else {
        // The duty that it is at stands first.
        const first = this.#duty(s, 0)
        for (let i = 0; i < DUTY_SIZE; i++) {
          next[duty + i] = this.#now[first + i]!
          next[first + i] = this.#now[duty + i]!
        }
        next[this.#scheduler(s) + SCHEDULER.busy] = 1
        next[this.#scheduler(s) + SCHEDULER.listed] = listed
      }
      this.#tell(KIND['take up a duty'], s, d * 2 + 1, true)
    }
  }

  /** The service row is the one that the duty was found on. */
  #isAsSeen(duty: number): boolean {
    const now = this.#now
    const service = this.#service(now[duty + DUTY.host]!)
    return (
      now[service + SERVICE.state] === now[duty + DUTY.state] &&
      now[service + SERVICE.incarnation] === now[duty + DUTY.incarnation] &&
      now[service + SERVICE.cleaned] === now[duty + DUTY.cleaned]
    )
  }

  #drop(s: number, d: number): void {
    const { next } = this
    for (let i = d; i < this.duties - 1; i++)
      for (let f = 0; f < DUTY_SIZE; f++) next[this.#duty(s, i) + f] = next[this.#duty(s, i + 1) + f]!
    const last = this.#duty(s, this.duties - 1)
    next.fill(0, last, last + DUTY_SIZE)
  }

  #goOnCleaning(s: number): void {
    const base = this.#scheduler(s)
    const duty = this.#duty(s, 0)
    const host = this.#now[duty + DUTY.host]!
    const listed = this.#now[base + SCHEDULER.listed]!
    if (listed === 0) {
      this.#close(s)
      return
    }
    for (let r = 0; r < this.resources.count; r++) {
      if ((listed & (1 << r)) === 0) continue
      const next = this.#from()
      next[base + SCHEDULER.listed]! &= ~(1 << r)
      let rang = false
      if (!this.#cleansAtBackend && this.#isHeldHere(r, null)) next[base + SCHEDULER.left] = 1
      else rang = this.#clean(r, host, this.#now[duty + DUTY.over]!)
      if (next[base + SCHEDULER.listed] === 0 && this.#now[duty + DUTY.type] === CLEAN) this.#endDuty(s)
      this.#tell(KIND.clean, s, r, true)
      if (!rang || !this.#has(LEFT.crashes)) continue
      // Crash point 2: the swap is durable, the doorbell is not rung.
      this.#from()
      this.#spent(LEFT.crashes)
      this.#clean(r, host, this.#now[duty + DUTY.over]!)
      next[this.#resource(r) + RES.bell] = this.#now[this.#resource(r) + RES.bell]!
      next.fill(0, base, base + this.schedulers.size)
      this.#note('cleaner_crashed')
      this.#tell(KIND['clean and crash'], s, r, false)
    }
  }

  #endDuty(s: number): void {
    const base = this.#scheduler(s)
    this.next[base + SCHEDULER.busy] = 0
    this.next[base + SCHEDULER.left] = 0
    this.#drop(s, 0)
  }

  /** Rule R6: cleanup_done for the incarnation seen down, still down, with every row of it put right. */
  #close(s: number): void {
    const now = this.#now
    const base = this.#scheduler(s)
    const duty = this.#duty(s, 0)
    const host = now[duty + DUTY.host]!
    const service = this.#service(host)
    const next = this.#from()
    const isLeft =
      now[base + SCHEDULER.left] === 1 || this.#listFor(host, now[duty + DUTY.incarnation]!) !== 0
    const isBlind = this.configuration.ruleOff === 'R6'
    const isClosed = !isLeft && (isBlind || this.#isAsSeen(duty))
    if (isClosed) {
      const row = this.#serviceOf(host, now[service + SERVICE.state]!, now[service + SERVICE.incarnation]!)
      next[service + SERVICE.cleaned] = closed(row).cleaned_incarnation
    }
    this.#endDuty(s)
    this.#tell(KIND.close, s, isClosed ? 1 : 0, true)
  }
}
