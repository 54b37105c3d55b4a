// What comes from outside: clients that ask for operations, and doorbells that are rung again, taken by a node,
// doubled or lost. It mirrors runtime/accept.ts, the mailbox, and the end of a sweep.

import type { ResourceEvent } from '../../../machines/resource.ts'
import type { Moment } from './moment.ts'
import { FIRST_HOST, type Outcome, QUEUED } from './rows.ts'
import { CLIENT, CLIENTS, EXEC, KIND, LEFT, LIFE, NoRoom, PHASE, RES } from './state.ts'

export class Asks {
  readonly #moment: Moment

  constructor(moment: Moment) {
    this.#moment = moment
  }

  clientChoices(): void {
    const { ofKind, asked, ruleOff } = this.#moment.configuration
    if (ruleOff === 'R7') this.#writeAccepts()
    if (!this.#moment.has(LEFT.operations)) return
    for (let r = 0; r < ofKind; r++)
      for (let a = 0; a < asked.length; a++) {
        const outcome = this.#acceptOf(r, a, this.#moment.allNumbers(this.#moment.now))
        if (outcome === null) continue
        // Ids are made for each create: two never meet.
        if (
          ruleOff === 'R7' &&
          this.#moment.rows.body(this.#moment.now[this.#moment.resource(r)]!).status !== 'new'
        ) {
          this.#readForAccept(r, a)
          continue
        }
        this.#moment.from()
        this.#moment.spent(LEFT.operations)
        this.#accept(r, a, outcome)
        this.#moment.tell(KIND.accept, r, a, false)
      }
  }

  #acceptOf(r: number, a: number, numbers: readonly number[]): Outcome | null {
    return this.#moment.rows.decide(r, numbers, a * 8, () => {
      const { name, input } = this.#moment.configuration.asked[a]!
      return { type: name, input, request_id: null, at: 0, related: {} } as ResourceEvent
    })
  }

  #accept(r: number, a: number, outcome: Outcome): void {
    const { name, force, instant } = this.#moment.configuration.asked[a]!
    const base = this.#moment.resource(r)
    const before = this.#moment.rows.body(this.#moment.now[base + RES.body]!)
    if (!force && !before.atRest)
      this.#moment.broke(
        'accept_at_rest',
        `${name} of ${this.#moment.name(r)} is accepted while ${before.operation ?? 'another operation'} is in it`,
      )
    this.#moment.write(outcome)
    if (instant) {
      if (force) this.#moment.next[base + RES.told] = 1
    } else this.#moment.next[base + RES.asked] = this.#moment.operationIndex(r, name) + 1
  }

  /** R7 off: what was read is kept, and decides later. */
  #readForAccept(r: number, a: number): void {
    for (let c = 0; c < CLIENTS; c++) {
      const client = this.#moment.client(c)
      if (this.#moment.now[client + CLIENT.asked] !== 0) continue
      const next = this.#moment.from()
      this.#moment.spent(LEFT.operations)
      next[client + CLIENT.asked] = a + 1
      next[client + CLIENT.resource] = r
      for (let i = 0; i < 5; i++) next[client + CLIENT.body + i] = next[this.#moment.resource(r) + i]!
      this.#moment.tell(KIND['read for an accept'], r, a, false)
      return
    }
  }

  #writeAccepts(): void {
    for (let c = 0; c < CLIENTS; c++) {
      const client = this.#moment.client(c)
      const a = this.#moment.now[client + CLIENT.asked]! - 1
      if (a < 0) continue
      const r = this.#moment.now[client + CLIENT.resource]!
      const stale = this.#moment.numberAt(this.#moment.now, client + CLIENT.body)
      const outcome = this.#acceptOf(r, a, this.#moment.allNumbers(this.#moment.now, r, stale))
      if (outcome === null) continue
      const next = this.#moment.from()
      next.fill(0, client, client + this.#moment.clients.size)
      this.#accept(r, a, outcome)
      this.#moment.tell(KIND['write an accept'], r, a, true)
    }
  }

  doorbellChoices(): void {
    const { schedulers, ruleOff } = this.#moment.configuration
    for (let r = 0; r < this.#moment.resources.count; r++) {
      const base = this.#moment.resource(r)
      if (this.#moment.now[base + RES.bell] === 0) {
        if (schedulers === 0 || ruleOff === 'R3' || !this.#looksQueued(r)) continue
        this.#moment.from()
        this.#moment.ring(r)
        this.#moment.tell(KIND['ring again'], r, 0, true)
        continue
      }
      for (let life = 0; life < this.#moment.lives.count; life++) this.#take(life, r)
      if (this.#moment.has(LEFT.lost)) {
        const next = this.#moment.from()
        this.#moment.spent(LEFT.lost)
        next[base + RES.bell] = 0
        this.#moment.note('doorbell_dropped')
        this.#moment.tell(KIND['lose a doorbell'], r, 0, false)
      }
    }
  }

  /** What the sweep rings again: queued, which the incarnation tells (rule R17). */
  #looksQueued(r: number): boolean {
    const who = this.#moment.now[this.#moment.resource(r) + RES.who]!
    return who === QUEUED || (this.#moment.configuration.ruleOff === 'R17' && who === FIRST_HOST)
  }

  #take(life: number, r: number): void {
    // A life that claims it already would only lose against itself: the same as taking the doorbell later.
    if (this.#isClaimedBy(life, r) || !this.#moment.may(this.#moment.now, life, 'doorbell', 'claim')) return
    const slot = this.#freeSlot()
    const take = () => {
      const next = this.#moment.from()
      const base = this.#moment.execution(slot)
      next[base + EXEC.life] = life + 1
      next[base + EXEC.incarnation] = next[this.#moment.life(life) + LIFE.incarnation]!
      next[base + EXEC.resource] = r
      next[base + EXEC.phase] = PHASE.claiming
      return next
    }
    take()[this.#moment.resource(r) + RES.bell] = 0
    this.#moment.tell(KIND.take, life, r, true)
    if (!this.#moment.has(LEFT.duplicated)) return
    take()
    this.#moment.spent(LEFT.duplicated)
    this.#moment.tell(KIND['take, and it comes again'], life, r, false)
  }

  #isClaimedBy(life: number, r: number): boolean {
    for (let slot = 0; slot < this.#moment.executions.count; slot++) {
      const base = this.#moment.execution(slot)
      if (
        this.#moment.now[base + EXEC.phase] !== PHASE.claiming ||
        this.#moment.now[base + EXEC.resource] !== r
      )
        continue
      if (this.#moment.now[base + EXEC.life] === life + 1 && !this.#moment.isOver(this.#moment.now, slot))
        return true
    }
    return false
  }

  #freeSlot(): number {
    for (let slot = 0; slot < this.#moment.executions.count; slot++)
      if (this.#moment.now[this.#moment.execution(slot) + EXEC.life] === 0) return slot
    throw new NoRoom(`more than ${this.#moment.executions.count} executions at once`)
  }
}
