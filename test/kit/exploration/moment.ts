// A state, a choice in it, and what that leads to: the ground that all choices stand on. It knows where the
// numbers of a state are, writes decisions over rows, rings, and asks the charts of lives. It makes no choice.

import type { ServiceRow } from '../../../machines/row.ts'
import { whyNotOf } from '../../../machines/service.ts'
import type { Configuration } from './configuration.ts'
import { type Group, Layout } from './layout.ts'
import { type Happening, type LifeStep, Lives, Routing } from './lives.ts'
import { numberOf, type Outcome, Rows, serviceRow, type World } from './rows.ts'
import {
  ABSENT_LIFE,
  CLIENTS,
  DOWN,
  DUTY_SIZE,
  EXEC,
  type Invariant,
  LEFT,
  LIFE,
  PHASE,
  REGISTERING,
  RES,
  SCHEDULER,
  SERVICE,
  SERVICE_STATES,
  SOMETIMES,
  type Sometimes,
  UP,
  UP_LIFE,
  type Violation,
  type Visit,
} from './state.ts'

export class Moment {
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
  readonly world: World
  readonly charts: Lives
  readonly routing: Routing
  readonly numbers: number[]
  /** With R9 off: the step would have to wait for room in a mailbox. */
  mustWait = false
  visit: Visit = () => {}
  now: Uint16Array

  /** `slots`: executions that a state has room for; one more than that is a `NoRoom`. */
  constructor(configuration: Configuration, slots: number) {
    this.configuration = configuration
    const { resources, hosts, lives, schedulers, topic, backend, types, ruleOff } = configuration
    this.world = { types, resources, topic, backend, hosts, limits: { attempts: 3, cleanups: 5 } }
    this.rows = new Rows(this.world)
    this.charts = new Lives(configuration.nodeChart, 64)
    this.routing = new Routing(Object.fromEntries(hosts.map((host) => [`${host}@${backend}`, topic])))
    this.numbers = resources.map(() => 0)
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
    this.now = new Uint16Array(this.layout.length)
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
      const base = this.resource(r)
      state[base + RES.body] = this.rows.first(r, made).body
      state[base + RES.exists] = made === null ? 0 : 1
    }
    for (let host = 0; host < hosts.length; host++) {
      state[this.service(host) + SERVICE.state] = UP
      state[this.service(host) + SERVICE.incarnation] = 1
    }
    // A twin of the first host is not started yet.
    for (let life = 0; life < lives.length; life++) {
      if (life >= hosts.length) continue
      state[this.life(life) + LIFE.state] = UP_LIFE
      state[this.life(life) + LIFE.incarnation] = 1
    }
    return state
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

  /** Every row is at rest, and every life that was declared down is cleaned. */
  isAtRest(state: Uint16Array): boolean {
    for (let r = 0; r < this.resources.count; r++)
      if (!this.rows.body(state[this.resource(r) + RES.body]!).atRest) return false
    for (let host = 0; host < this.services.count; host++) {
      const base = this.service(host)
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
    const working = this.twoWorkersIn(state)
    if (working !== null) return working
    for (let slot = 0; slot < this.executions.count; slot++)
      if (state[this.execution(slot) + EXEC.life] !== 0) return null
    if (!this.isAtRest(state)) return null
    for (let r = 0; r < this.resources.count; r++) {
      const base = this.resource(r)
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

  twoWorkersIn(state: Uint16Array): Violation | null {
    let seen = 0
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.execution(slot)
      const phase = state[base + EXEC.phase]!
      if (phase !== PHASE.driving && phase !== PHASE.effected) continue
      if (!this.isHeard(state, slot)) continue
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
  isHeard(state: Uint16Array, slot: number): boolean {
    const base = this.execution(slot)
    if (this.configuration.driver.fences)
      return state[base + EXEC.fence]! >= state[this.resource(state[base + EXEC.resource]!) + RES.mark]!
    return this.isOver(state, slot) || this.may(state, state[base + EXEC.life]! - 1, 'prepared', 'drive')
  }

  resource(r: number): number {
    return this.resources.start + r * this.resources.size
  }

  service(host: number): number {
    return this.services.start + host * this.services.size
  }

  life(life: number): number {
    return this.lives.start + life * this.lives.size
  }

  execution(slot: number): number {
    return this.executions.start + slot * this.executions.size
  }

  scheduler(s: number): number {
    return this.schedulers.start + s * this.schedulers.size
  }

  duty(s: number, d: number): number {
    return this.scheduler(s) + SCHEDULER.duties + d * DUTY_SIZE
  }

  client(c: number): number {
    return this.clients.start + c * this.clients.size
  }

  carriedBy(r: number): number {
    return this.carried.start + r * this.carried.size
  }

  /** Begins a choice: what it leads to starts as what is. */
  from(): Uint16Array {
    this.next.set(this.now)
    this.violation = null
    this.mustWait = false
    return this.next
  }

  tell(kind: number, a: number, b: number, progress: boolean): void {
    if (!this.mustWait) this.visit(kind, a, b, progress)
  }

  spent(of: number): void {
    this.next[this.left.start + of]!--
  }

  has(of: number): boolean {
    return this.now[this.left.start + of]! > 0
  }

  note(what: Sometimes): void {
    this.happened |= 1 << SOMETIMES.indexOf(what)
  }

  broke(invariant: Invariant, message: string): void {
    this.violation ??= { invariant, message }
  }

  name(r: number): string {
    const { kind, id } = this.configuration.resources[r]!
    return `${kind} ${id}`
  }

  numberAt(state: Uint16Array, base: number): number {
    return numberOf(state[base]!, state[base + 1]!, state[base + 2]!, state[base + 3]!, state[base + 4]!)
  }

  /** All rows as one number each; `instead` for the one at `resource`, if given. */
  allNumbers(state: Uint16Array, resource = -1, instead = 0): readonly number[] {
    for (let r = 0; r < this.resources.count; r++)
      this.numbers[r] = r === resource ? instead : this.numberAt(state, this.resource(r))
    return this.numbers
  }

  /** Writes what was decided over the rows of `next`. */
  write({ changes, rings, broken }: Outcome): void {
    const { next } = this
    if (broken !== null) this.broke(broken.invariant as Invariant, broken.message)
    for (const change of changes) {
      const base = this.resource(change.resource)
      if (change.fence < next[base + RES.fence]!)
        this.broke(
          'fence_grows',
          `the fence of ${this.name(change.resource)} goes from ${next[base + RES.fence]} to ${change.fence}`,
        )
      next[base + RES.body] = change.body
      next[base + RES.who] = change.who
      next[base + RES.incarnation] = change.incarnation
      next[base + RES.fence] = change.fence
      next[base + RES.host] = change.host
      if (this.rows.body(change.body).operation === null) next[base + RES.asked] = 0
    }
    for (const r of rings) this.ring(r)
  }

  /** Puts a doorbell into the topic's mailbox; a full one drops it (rule R9). */
  ring(r: number): void {
    const { topic, mailbox, ruleOff } = this.configuration
    if (this.routing.mailboxFor(topic) === null) return
    const base = this.resource(r)
    const { next } = this
    if (ruleOff === 'R4' && next[base + RES.bell] === 0 && !this.isBeingClaimed(next, r))
      for (let i = 0; i < 5; i++) next[this.carriedBy(r) + i] = next[base + i]!
    if (next[base + RES.bell] === 1) return
    let bells = 0
    for (let other = 0; other < this.resources.count; other++) bells += next[this.resource(other) + RES.bell]!
    if (bells >= mailbox) {
      if (ruleOff === 'R9') this.mustWait = true
      else this.note('doorbell_dropped')
      return
    }
    next[base + RES.bell] = 1
  }

  isBeingClaimed(state: Uint16Array, r: number): boolean {
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.execution(slot)
      if (state[base + EXEC.phase] === PHASE.claiming && state[base + EXEC.resource] === r) return true
    }
    return false
  }

  operationIndex(r: number, name: string): number {
    const { kind } = this.configuration.resources[r]!
    return this.configuration.operations.get(kind)!.findIndex((operation) => operation.name === name)
  }

  end(state: Uint16Array, slot: number): void {
    const base = this.execution(slot)
    state.fill(0, base, base + this.executions.size)
  }

  /** The life that made this claim is over; what it began may still run. */
  isOver(state: Uint16Array, slot: number): boolean {
    const base = this.execution(slot)
    const life = this.life(state[base + EXEC.life]! - 1)
    return state[life + LIFE.incarnation] !== state[base + EXEC.incarnation]
  }

  inFlight(state: Uint16Array, life: number): number {
    let count = 0
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.execution(slot)
      if (state[base + EXEC.life] === life + 1 && !this.isOver(state, slot)) count++
    }
    return count
  }

  lifeStep(state: Uint16Array, life: number, happening: Happening): LifeStep {
    const base = this.life(life)
    return this.charts.step(
      state[base + LIFE.state]!,
      state[base + LIFE.stands] === 1,
      this.inFlight(state, life),
      happening,
    )
  }

  /** Its chart answers this with that command. */
  may(state: Uint16Array, life: number, happening: Happening, command: string): boolean {
    const at = state[this.life(life) + LIFE.state]!
    if (at === ABSENT_LIFE || at === REGISTERING) return false
    return this.lifeStep(state, life, happening).commands.has(command)
  }

  serviceOf(host: number, state: number, incarnation: number, cleaned = 0): ServiceRow {
    const named = SERVICE_STATES[state] as ServiceRow['state']
    return serviceRow(this.world, host, named, incarnation, cleaned, this.cleansAtBackend)
  }

  get cleansAtBackend(): boolean {
    return this.configuration.driver.fences || this.configuration.driver.undoes
  }

  /** A call of this process still runs on the resource, and nothing at the backend can stop it (rule R18). */
  isHeldHere(r: number, life: number | null): boolean {
    const { driver, oneProcess, ruleOff } = this.configuration
    if (driver.fences || ruleOff === 'R18') return false
    for (let slot = 0; slot < this.executions.count; slot++) {
      const base = this.execution(slot)
      const phase = this.now[base + EXEC.phase]!
      if (phase < PHASE.claimed || phase > PHASE.effected || this.now[base + EXEC.resource] !== r) continue
      if (oneProcess || (life !== null && this.now[base + EXEC.life] === life + 1)) return true
    }
    return false
  }

  /** The operation that a claim is for, and what of it; for texts. */
  whatOf(r: number, what: number): { readonly operation: string; readonly part: number } {
    return { operation: this.operationName(r, Math.floor((what - 1) / 3)), part: (what - 1) % 3 }
  }

  operationName(r: number, operation: number): string {
    const { kind } = this.configuration.resources[r]!
    return this.configuration.operations.get(kind)![operation]?.name ?? 'nothing'
  }

  /** The beats of the life that the service row names stand still: it is crashed, over, or stalled. */
  standsStill(state: Uint16Array, host: number): boolean {
    const { lives } = this.configuration
    const incarnation = state[this.service(host) + SERVICE.incarnation]
    for (let life = 0; life < this.lives.count; life++) {
      const base = this.life(life)
      if (lives[life] === host && state[base + LIFE.incarnation] === incarnation && incarnation !== 0)
        return state[base + LIFE.stands] === 1
    }
    return true
  }

  isStillItsOwn(life: number): boolean {
    const now = this.now
    const host = this.configuration.lives[life]!
    const service = this.service(host)
    const row = this.serviceOf(host, now[service + SERVICE.state]!, now[service + SERVICE.incarnation]!)
    return whyNotOf(row, now[this.life(life) + LIFE.incarnation]!, 'starting', 'up') === null
  }

  /** This life is there and beats. */
  isWorking(host: number, incarnation: number): boolean {
    for (let life = 0; life < this.lives.count; life++) {
      const base = this.life(life)
      if (this.configuration.lives[life] !== host || this.now[base + LIFE.stands] === 1) continue
      if (this.now[base + LIFE.incarnation] === incarnation) return true
    }
    return false
  }
}
