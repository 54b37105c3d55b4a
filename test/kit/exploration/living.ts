// The lives of nodes: they start, clean what earlier lives left, join, crash, stall, wake, fence themselves. What
// each does is asked of its chart and of machines/service.ts. It mirrors runtime/node.ts and registration.ts.

import { joined, registered, runningLife, whyNotOf } from '../../../machines/service.ts'
import type { Cleaning } from './cleaning.ts'
import type { LifeStep } from './lives.ts'
import type { Moment } from './moment.ts'
import {
  ABSENT_LIFE,
  CLEANING_LIFE,
  EXEC,
  KIND,
  LEFT,
  LIFE,
  PHASE,
  REGISTERING,
  SERVICE,
  SERVICE_STATES,
  SETTING_UP,
  STARTING,
} from './state.ts'

export class Living {
  readonly #moment: Moment
  readonly #cleaning: Cleaning

  constructor(moment: Moment, cleaning: Cleaning) {
    this.#moment = moment
    this.#cleaning = cleaning
  }

  lifeChoices(): void {
    for (let life = 0; life < this.#moment.lives.count; life++) {
      const base = this.#moment.life(life)
      const state = this.#moment.now[base + LIFE.state]!
      if (state === ABSENT_LIFE || state === REGISTERING) {
        this.#register(life)
        continue
      }
      if (this.#moment.has(LEFT.crashes)) this.#crash(life)
      if (state === SETTING_UP) this.#listOwn(life)
      else if (state === CLEANING_LIFE) this.#cleanOwn(life)
      if (this.#moment.now[base + LIFE.stands] === 1) {
        this.#wake(life)
        this.#fenceItself(life)
      } else {
        if (this.#moment.has(LEFT.pauses) && !this.#moment.configuration.oneProcess) {
          this.#moment.from()[base + LIFE.stands] = 1
          this.#moment.spent(LEFT.pauses)
          this.#moment.tell(KIND.pause, life, 0, false)
        }
        this.#hearOfItsEnd(life)
      }
    }
  }

  /** Nobody else of the cluster is there to take over. */
  #isAlone(life: number): boolean {
    for (let other = 0; other < this.#moment.lives.count; other++)
      if (other !== life && this.#moment.now[this.#moment.life(other) + LIFE.state] !== ABSENT_LIFE)
        return false
    return true
  }

  /** A new life takes the next incarnation of its host (rules R2, R11). */
  #register(life: number): void {
    const { lives, schedulers, ruleOff, oneProcess } = this.#moment.configuration
    const host = lives[life]!
    const service = this.#moment.service(host)
    const now = this.#moment.now
    const services =
      now[service + SERVICE.state] === 0
        ? []
        : [
            this.#moment.serviceOf(
              host,
              now[service + SERVICE.state]!,
              now[service + SERVICE.incarnation]!,
              now[service + SERVICE.cleaned],
            ),
          ]
    // With an exclusive store a life that does not run in this process is over.
    const running = oneProcess || ruleOff === 'R11' ? undefined : runningLife(services, 0)
    if (running !== undefined && !this.#moment.standsStill(now, host)) return
    const isAgain = now[this.#moment.life(life) + LIFE.state] === REGISTERING
    const { next: row } = registered(services, this.#moment.serviceOf(host, STARTING, 0))
    const next = this.#moment.from()
    next[service + SERVICE.state] = STARTING
    next[service + SERVICE.incarnation] = row.incarnation
    next[service + SERVICE.cleaned] = row.cleaned_incarnation
    const base = this.#moment.life(life)
    next[base + LIFE.state] = this.#moment.charts.step(REGISTERING, false, 0, 'registered').state
    next[base + LIFE.incarnation] = row.incarnation
    next[base + LIFE.stands] = 0
    next[base + LIFE.listed] = 0
    this.#moment.tell(KIND.start, life, 0, isAgain || schedulers === 0 || this.#isAlone(life))
  }

  /** Its drivers are set up; it lists what its earlier lives left. */
  #listOwn(life: number): void {
    const base = this.#moment.life(life)
    const next = this.#moment.from()
    next[base + LIFE.state] = this.#moment.lifeStep(this.#moment.now, life, 'set_up.done').state
    next[base + LIFE.listed] = this.#cleaning.listFor(
      this.#moment.configuration.lives[life]!,
      this.#moment.now[base + LIFE.incarnation]! - 1,
    )
    this.#moment.tell(KIND['list own'], life, 0, true)
  }

  #cleanOwn(life: number): void {
    const base = this.#moment.life(life)
    const listed = this.#moment.now[base + LIFE.listed]!
    if (listed === 0) {
      this.#join(life)
      return
    }
    const over = this.#moment.now[base + LIFE.incarnation]! - 1
    for (let r = 0; r < this.#moment.resources.count; r++) {
      if ((listed & (1 << r)) === 0) continue
      const next = this.#moment.from()
      next[base + LIFE.listed]! &= ~(1 << r)
      if (this.#moment.cleansAtBackend || !this.#moment.isHeldHere(r, life))
        this.#cleaning.clean(r, this.#moment.configuration.lives[life]!, over)
      this.#moment.tell(KIND['clean own'], life, r, true)
    }
  }

  /** Swaps its service row to up, if it is still its own. */
  #join(life: number): void {
    const base = this.#moment.life(life)
    const host = this.#moment.configuration.lives[life]!
    const service = this.#moment.service(host)
    const now = this.#moment.now
    const row = this.#moment.serviceOf(
      host,
      now[service + SERVICE.state]!,
      now[service + SERVICE.incarnation]!,
      now[service + SERVICE.cleaned],
    )
    const next = this.#moment.from()
    const joining = this.#moment.lifeStep(now, life, 'cleaned').state
    next[base + LIFE.state] = joining
    const isMine = whyNotOf(row, now[base + LIFE.incarnation]!, 'starting') === null
    if (isMine) {
      next[service + SERVICE.state] = SERVICE_STATES.indexOf(joined(row).state)
      next[base + LIFE.state] = this.#moment.lifeStep(next, life, 'joined').state
    } else this.#become(life, this.#moment.lifeStep(next, life, 'join.refused'))
    this.#moment.tell(KIND.join, life, isMine ? 1 : 0, true)
  }

  /** A step of its chart that may have ended it. */
  #become(life: number, step: LifeStep): void {
    const { next } = this.#moment
    const base = this.#moment.life(life)
    next[base + LIFE.state] = step.state
    if (!step.over) return
    const { hosts, lives, backend, driver } = this.#moment.configuration
    const startsAgain = this.#moment.routing.startsAgain(`${hosts[lives[life]!]}@${backend}`, step.restarts)
    for (let slot = 0; slot < this.#moment.executions.count; slot++) {
      const execution = this.#moment.execution(slot)
      if (next[execution + EXEC.life] !== life + 1) continue
      if (next[execution + EXEC.incarnation] !== next[base + LIFE.incarnation]) continue
      const phase = next[execution + EXEC.phase]!
      // A swap under way can't be called back; a call hears the abort, or does not.
      const isCalled = phase === PHASE.driving || phase === PHASE.effected
      if (phase === PHASE.claimed || (isCalled && !driver.stubborn)) this.#moment.end(next, slot)
    }
    next[base + LIFE.state] = startsAgain ? REGISTERING : ABSENT_LIFE
    next[base + LIFE.incarnation] = 0
    next[base + LIFE.stands] = 0
    next[base + LIFE.listed] = 0
  }

  #crash(life: number): void {
    const now = this.#moment.now
    const base = this.#moment.life(life)
    const next = this.#moment.from()
    this.#moment.spent(LEFT.crashes)
    if (now[base + LIFE.listed] !== 0) this.#moment.note('cleaner_crashed')
    for (let slot = 0; slot < this.#moment.executions.count; slot++) {
      const execution = this.#moment.execution(slot)
      if (now[execution + EXEC.life] !== life + 1) continue
      const phase = now[execution + EXEC.phase]!
      if (phase === PHASE.claiming) this.#moment.note('crash_before_claim')
      else if (phase === PHASE.claimed) this.#moment.note('crash_after_claim')
      else if (phase === PHASE.effected || phase === PHASE.finishing_done)
        this.#moment.note('crash_after_effect_before_finish')
      if (!this.#moment.configuration.oneProcess) this.#moment.end(next, slot)
    }
    if (this.#moment.configuration.oneProcess) this.#become(life, this.#moment.lifeStep(now, life, 'kill'))
    next[base + LIFE.state] = ABSENT_LIFE
    next[base + LIFE.incarnation] = 0
    next[base + LIFE.stands] = 0
    next[base + LIFE.listed] = 0
    this.#moment.tell(KIND.crash, life, 0, false)
  }

  /** It wakes from its stall and beats first: if nobody took anything, it goes on (rule R8). */
  #wake(life: number): void {
    const now = this.#moment.now
    const base = this.#moment.life(life)
    const isMine = this.#moment.isStillItsOwn(life)
    const next = this.#moment.from()
    // R5 off: it does not mind what its service row says.
    const isGood = isMine || this.#moment.configuration.ruleOff === 'R5'
    const step = this.#moment.lifeStep(now, life, isGood ? 'wakes to a good beat' : 'wakes to a refused beat')
    next[base + LIFE.stands] = 0
    this.#become(life, step)
    if (step.over) this.#moment.note('self_fenced')
    this.#moment.tell(KIND.wake, life, isGood ? 1 : 0, true)
  }

  /** It is cut off rather than stalled, and its clock tells it in time. */
  #fenceItself(life: number): void {
    const step = this.#moment.lifeStep(this.#moment.now, life, 'tick')
    if (!step.over) return
    this.#moment.from()
    this.#become(life, step)
    this.#moment.note('self_fenced')
    this.#moment.tell(KIND.fence, life, 0, true)
  }

  /** Its next beat is refused: a later life has registered. */
  #hearOfItsEnd(life: number): void {
    if (this.#moment.configuration.ruleOff === 'R5' || this.#moment.isStillItsOwn(life)) return
    const step = this.#moment.lifeStep(this.#moment.now, life, 'beat.refused')
    this.#moment.from()
    this.#become(life, step)
    this.#moment.note('self_fenced')
    this.#moment.tell(KIND['hear of its end'], life, 0, true)
  }
}
