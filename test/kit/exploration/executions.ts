// A claim's way: the swap that takes the row, the mark, the driver's call, its effect, its end, and the swap that
// finishes. Each is a choice of its own, so a crash or a pause comes between any two. It mirrors the claims
// and finishes of runtime/node.ts, and runtime/work.ts.

import type { ResourceEvent } from '../../../machines/resource.ts'
import type { JsonObject } from '../../../machines/row.ts'
import type { Moment } from './moment.ts'
import { FIRST_HOST, numberOf, QUEUED } from './rows.ts'
import { CARRIED, EXEC, KIND, LEFT, PHASE, RES, SERVICE, UP, WHAT } from './state.ts'

export class Executions {
  readonly #moment: Moment

  constructor(moment: Moment) {
    this.#moment = moment
  }

  executionChoices(): void {
    for (let slot = 0; slot < this.#moment.executions.count; slot++) {
      const phase = this.#moment.now[this.#moment.execution(slot) + EXEC.phase]!
      if (phase === PHASE.claiming) this.#claim(slot)
      else if (phase === PHASE.claimed) this.#begin(slot)
      else if (phase === PHASE.driving) this.#drive(slot)
      else if (phase === PHASE.effected) this.#settle(slot)
      else if (phase !== 0) this.#finish(slot)
    }
  }

  /** The service row that a claim or finish looks at, and that binds (rule R5). */
  #serviceSeenBy(host: number, incarnation: number): [state: number, incarnation: number] {
    if (this.#moment.configuration.ruleOff === 'R5') return [UP, incarnation]
    const base = this.#moment.service(host)
    return [this.#moment.now[base + SERVICE.state]!, this.#moment.now[base + SERVICE.incarnation]!]
  }

  #claimant(host: number, incarnation: number, state: number, seen: number) {
    const { hosts, backend } = this.#moment.configuration
    return {
      worker: `${hosts[host]}@${backend}`,
      host: hosts[host]!,
      incarnation,
      service: this.#moment.serviceOf(host, state, seen),
    }
  }

  #claim(slot: number): void {
    const base = this.#moment.execution(slot)
    const now = this.#moment.now
    const life = now[base + EXEC.life]! - 1
    const r = now[base + EXEC.resource]!
    const incarnation = now[base + EXEC.incarnation]!
    const host = this.#moment.configuration.lives[life]!
    const next = this.#moment.from()
    if (this.#moment.isHeldHere(r, life)) {
      // Rung again when the call has ended, or by a sweep.
      this.#moment.end(next, slot)
      return void this.#moment.tell(KIND.claim, slot, 0, true)
    }
    const [state, seen] = this.#serviceSeenBy(host, incarnation)
    const key = 1 + 8 * (host + 8 * (incarnation + 16 * (state + 4 * seen)))
    const outcome = this.#moment.rows.decide(r, this.#seenByClaim(r, host), key, () => ({
      type: 'claim',
      claimant: this.#claimant(host, incarnation, state, seen),
      at: 0,
    }))
    if (outcome === null) {
      this.#moment.note('claim_lost')
      this.#moment.end(next, slot)
      return void this.#moment.tell(KIND.claim, slot, 0, true)
    }
    const row = this.#moment.resource(r)
    if (this.#moment.rows.body(now[row + RES.body]!).attempts > 0 && now[row + RES.host] !== host + 1)
      this.#moment.note('requeued_elsewhere')
    const fence = now[row + RES.fence]!
    this.#moment.write(outcome)
    if (next[row + RES.fence]! <= fence)
      this.#moment.broke(
        'fence_grows',
        `a claim of ${this.#moment.name(r)} leaves its fence at ${next[row + RES.fence]}`,
      )
    // Over meanwhile: the row keeps its claim, and a cleaner finds it.
    if (this.#moment.isOver(now, slot)) this.#moment.end(next, slot)
    else {
      next[base + EXEC.phase] = PHASE.claimed
      next[base + EXEC.fence] = next[row + RES.fence]!
      next[base + EXEC.what] = this.#whatIn(next, r)
    }
    this.#moment.tell(KIND.claim, slot, 1, true)
  }

  /** The rows as the node that claims sees them. */
  #seenByClaim(r: number, host: number): readonly number[] {
    const { ruleOff } = this.#moment.configuration
    const base = this.#moment.resource(r)
    const now = this.#moment.now
    if (ruleOff === 'R4' && now[this.#moment.carriedBy(r) + CARRIED.who] === QUEUED)
      return this.#moment.allNumbers(now, r, this.#moment.numberAt(now, this.#moment.carriedBy(r)))
    if (ruleOff === 'R17' && now[base + RES.who] === FIRST_HOST && host !== 0)
      return this.#moment.allNumbers(
        now,
        r,
        numberOf(now[base + RES.body]!, QUEUED, 0, now[base + RES.fence]!, now[base + RES.host]!),
      )
    return this.#moment.allNumbers(now)
  }

  #whatIn(state: Uint16Array, r: number): number {
    const { operation, cleanup } = this.#moment.rows.body(state[this.#moment.resource(r) + RES.body]!)
    const index = this.#moment.operationIndex(r, operation!)
    const isUndo = this.#moment.configuration.driver.undoes && (cleanup === 'restore' || cleanup === 'gone')
    return index * 3 + (cleanup === null ? WHAT.operation : isUndo ? WHAT.undo : WHAT.cleanup) + 1
  }

  /** Finds its claim as it was, raises the mark, and calls the driver if its life still may work. */
  #begin(slot: number): void {
    const now = this.#moment.now
    const base = this.#moment.execution(slot)
    const life = now[base + EXEC.life]! - 1
    const r = now[base + EXEC.resource]!
    const row = this.#moment.resource(r)
    const fence = now[base + EXEC.fence]!
    const next = this.#moment.from()
    if (now[row + RES.fence] !== fence || now[row + RES.incarnation] !== now[base + EXEC.incarnation]) {
      // Its claim is over: it does not call the driver, and says so, which is refused.
      if (!this.#moment.may(now, life, 'settled', 'finish')) return
      next[base + EXEC.phase] = PHASE.finishing_failed
      return void this.#moment.tell(KIND.begin, slot, 0, true)
    }
    if (!this.#moment.may(now, life, 'prepared', 'drive')) return
    if (this.#moment.configuration.driver.fences && next[row + RES.mark]! < fence)
      next[row + RES.mark] = fence
    const what = (now[base + EXEC.what]! - 1) % 3
    const operation = Math.floor((now[base + EXEC.what]! - 1) / 3)
    if (operation + 1 !== now[row + RES.asked])
      this.#moment.broke(
        'op_matches_row',
        `the driver is asked for ${this.#moment.operationName(r, operation)} of ${this.#moment.name(r)}, which was accepted for ${this.#moment.operationName(r, now[row + RES.asked]! - 1)}`,
      )
    next[base + EXEC.phase] = what === WHAT.cleanup ? PHASE.finishing_done : PHASE.driving
    this.#moment.violation ??= this.#moment.twoWorkersIn(next)
    this.#moment.tell(KIND.begin, slot, 1, true)
  }

  #drive(slot: number): void {
    const now = this.#moment.now
    const base = this.#moment.execution(slot)
    const life = now[base + EXEC.life]! - 1
    const isOver = this.#moment.isOver(now, slot)
    const mayGoOn = isOver || this.#moment.may(now, life, 'settled', 'finish')
    if (this.#moment.configuration.driver.fences && !this.#moment.isHeard(now, slot)) {
      // The backend refuses it: the call fails.
      if (!mayGoOn) return
      const next = this.#moment.from()
      if (isOver) this.#moment.end(next, slot)
      else next[base + EXEC.phase] = PHASE.finishing_failed
      return void this.#moment.tell(KIND.effect, slot, 0, true)
    }
    if (this.#moment.configuration.driver.fences || mayGoOn) {
      const next = this.#moment.from()
      this.#takeEffect(slot)
      next[base + EXEC.phase] = PHASE.effected
      this.#moment.tell(KIND.effect, slot, 1, true)
    }
    if (mayGoOn && this.#moment.has(LEFT.failures)) {
      const next = this.#moment.from()
      this.#moment.spent(LEFT.failures)
      if (isOver) this.#moment.end(next, slot)
      else next[base + EXEC.phase] = PHASE.finishing_failed
      this.#moment.tell(KIND.fail, slot, 0, false)
    }
  }

  #takeEffect(slot: number): void {
    const base = this.#moment.execution(slot)
    const r = this.#moment.now[base + EXEC.resource]!
    const what = this.#moment.now[base + EXEC.what]! - 1
    const { kind } = this.#moment.configuration.resources[r]!
    const { effect } = this.#moment.configuration.operations.get(kind)![Math.floor(what / 3)]!
    if (effect === 'changes') return
    const isUndo = what % 3 === WHAT.undo
    // What is undone is as it was before.
    this.#moment.next[this.#moment.resource(r) + RES.exists] = (effect === 'makes') === isUndo ? 0 : 1
  }

  #settle(slot: number): void {
    const base = this.#moment.execution(slot)
    const life = this.#moment.now[base + EXEC.life]! - 1
    const isOver = this.#moment.isOver(this.#moment.now, slot)
    if (!isOver && !this.#moment.may(this.#moment.now, life, 'settled', 'finish')) return
    const next = this.#moment.from()
    if (isOver) this.#moment.end(next, slot)
    else next[base + EXEC.phase] = PHASE.finishing_done
    this.#moment.tell(KIND.settle, slot, 0, true)
  }

  #finish(slot: number): void {
    const now = this.#moment.now
    const base = this.#moment.execution(slot)
    const life = now[base + EXEC.life]! - 1
    const r = now[base + EXEC.resource]!
    const row = this.#moment.resource(r)
    const incarnation = now[base + EXEC.incarnation]!
    const host = this.#moment.configuration.lives[life]!
    const fence = now[base + EXEC.fence]!
    const isDone = now[base + EXEC.phase] === PHASE.finishing_done
    const what = now[base + EXEC.what]! - 1
    const [state, seen] = this.#serviceSeenBy(host, incarnation)
    const key =
      2 +
      8 *
        (host +
          8 * (incarnation + 16 * (state + 4 * (seen + 16 * (fence + 64 * ((isDone ? 1 : 0) + 2 * what))))))
    const outcome = this.#moment.rows.decide(r, this.#moment.allNumbers(now), key, () => {
      const name =
        what % 3 === WHAT.operation ? this.#moment.operationName(r, Math.floor(what / 3)) : 'cleanup'
      const owned = { claimant: this.#claimant(host, incarnation, state, seen), fence, at: 0 }
      const failed = {
        error: { code: 'driver_failed', message: '' },
        not_before: 0,
        limits: this.#moment.world.limits,
      }
      return (
        isDone
          ? { type: `${name}.done`, ...owned, changes: {} as JsonObject }
          : { type: `${name}.failed`, ...owned, ...failed }
      ) as ResourceEvent
    })
    const next = this.#moment.from()
    this.#moment.end(next, slot)
    if (outcome === null) {
      this.#moment.note('zombie_refused')
      return void this.#moment.tell(KIND.finish, slot, 0, true)
    }
    const isOwner =
      now[row + RES.who] === FIRST_HOST + host &&
      now[row + RES.incarnation] === incarnation &&
      now[row + RES.fence] === fence
    if (!isOwner)
      this.#moment.broke(
        'finish_by_owner',
        `life ${incarnation} of ${this.#moment.configuration.hosts[host]} finishes ${this.#moment.name(r)} with fence ${fence}, a claim that the row has no longer`,
      )
    this.#moment.write(outcome)
    // Its success may have begun the operation that follows.
    const { operation: following } = this.#moment.rows.body(next[row + RES.body]!)
    if (following !== null && isDone && what % 3 === WHAT.operation)
      next[row + RES.asked] = this.#moment.operationIndex(r, following) + 1
    this.#moment.tell(KIND.finish, slot, 1, true)
  }
}
