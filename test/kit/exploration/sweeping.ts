// Schedulers: a sweep finds what is due by what it reads then; its duties are done later, on that. It mirrors
// runtime/scheduler.ts.

import { closed, declaredDown } from '../../../machines/service.ts'
import type { Cleaning } from './cleaning.ts'
import { Sweeps } from './lives.ts'
import type { Moment } from './moment.ts'
import {
  CLEAN,
  CLEAN_AND_CLOSE,
  DUTY,
  DUTY_SIZE,
  KIND,
  LEFT,
  MARK_DOWN,
  RES,
  SCHEDULER,
  SERVICE,
  SERVICE_STATES,
} from './state.ts'

export class Sweeping {
  readonly #moment: Moment
  readonly #cleaning: Cleaning
  readonly #sweeps = new Sweeps()

  constructor(moment: Moment, cleaning: Cleaning) {
    this.#moment = moment
    this.#cleaning = cleaning
  }

  schedulerChoices(): void {
    for (let s = 0; s < this.#moment.schedulers.count; s++) {
      const base = this.#moment.scheduler(s)
      const isIdle = this.#moment.now[this.#moment.duty(s, 0) + DUTY.type] === 0
      if (isIdle) this.#sweep(s)
      else if (this.#moment.now[base + SCHEDULER.busy] === 1) this.#goOnCleaning(s)
      else this.#takeUp(s)
      if (!isIdle && this.#moment.has(LEFT.crashes)) {
        const next = this.#moment.from()
        this.#moment.spent(LEFT.crashes)
        next.fill(0, base, base + this.#moment.schedulers.size)
        if (this.#moment.now[base + SCHEDULER.busy] === 1) this.#moment.note('cleaner_crashed')
        this.#moment.tell(KIND['crash a scheduler'], s, 0, false)
      }
    }
  }

  /** Reads services and beats; what its chart finds due is kept, to be done on what was read. */
  #sweep(s: number): void {
    const now = this.#moment.now
    let key = 0
    const stands: boolean[] = []
    const hosts: number[] = []
    for (let host = 0; host < this.#moment.services.count; host++) {
      const base = this.#moment.service(host)
      const still = this.#moment.standsStill(now, host)
      key = ((key * 4 + now[base + SERVICE.state]!) * 16 + now[base + SERVICE.incarnation]!) * 16
      key = (key + now[base + SERVICE.cleaned]!) * 2 + (still ? 1 : 0)
      if (now[base + SERVICE.state] === 0) continue
      hosts.push(host)
      stands.push(still)
    }
    const read = () =>
      hosts.map((host) => {
        const base = this.#moment.service(host)
        return this.#moment.serviceOf(
          host,
          now[base + SERVICE.state]!,
          now[base + SERVICE.incarnation]!,
          now[base + SERVICE.cleaned],
        )
      })
    const due = this.#sweeps.due(read, stands, key)
    if (due.length === 0) return
    const next = this.#moment.from()
    let d = 0
    for (const duty of due) {
      const host = this.#moment.configuration.hosts.indexOf(duty.service.host)
      const over = duty.type === 'clean' ? duty.incarnation : 0
      const closes = duty.type === 'clean' && duty.close
      // No claim of a life that is over comes to be: with nothing to list there is nothing to do.
      if (duty.type === 'clean' && !closes && this.#cleaning.listFor(host, over) === 0) continue
      const base = this.#moment.duty(s, d++)
      next[base + DUTY.type] = duty.type === 'mark_down' ? MARK_DOWN : closes ? CLEAN_AND_CLOSE : CLEAN
      next[base + DUTY.host] = host
      next[base + DUTY.state] = SERVICE_STATES.indexOf(duty.service.state)
      next[base + DUTY.incarnation] = duty.service.incarnation
      next[base + DUTY.cleaned] = duty.service.cleaned_incarnation
      next[base + DUTY.over] = over
    }
    if (d > 0) this.#moment.tell(KIND.sweep, s, 0, true)
  }

  #takeUp(s: number): void {
    for (let d = 0; d < this.#moment.duties; d++) {
      const duty = this.#moment.duty(s, d)
      const type = this.#moment.now[duty + DUTY.type]!
      if (type === 0) return
      const host = this.#moment.now[duty + DUTY.host]!
      const next = this.#moment.from()
      if (type === MARK_DOWN) {
        const isAsSeen = this.#isAsSeen(duty) && this.#moment.standsStill(this.#moment.now, host)
        if (isAsSeen) {
          const row = this.#moment.serviceOf(
            host,
            this.#moment.now[duty + DUTY.state]!,
            this.#moment.now[duty + DUTY.incarnation]!,
          )
          next[this.#moment.service(host) + SERVICE.state] = SERVICE_STATES.indexOf(declaredDown(row).state)
        }
        this.#drop(s, d)
        this.#moment.tell(KIND['take up a duty'], s, d * 2 + (isAsSeen ? 1 : 0), true)
        continue
      }
      const listed = this.#cleaning.listFor(host, this.#moment.now[duty + DUTY.over]!)
      if (listed === 0 && type === CLEAN) this.#drop(s, d)
      else {
        // The duty that it is at stands first.
        const first = this.#moment.duty(s, 0)
        for (let i = 0; i < DUTY_SIZE; i++) {
          next[duty + i] = this.#moment.now[first + i]!
          next[first + i] = this.#moment.now[duty + i]!
        }
        next[this.#moment.scheduler(s) + SCHEDULER.busy] = 1
        next[this.#moment.scheduler(s) + SCHEDULER.listed] = listed
      }
      this.#moment.tell(KIND['take up a duty'], s, d * 2 + 1, true)
    }
  }

  /** The service row is the one that the duty was found on. */
  #isAsSeen(duty: number): boolean {
    const now = this.#moment.now
    const service = this.#moment.service(now[duty + DUTY.host]!)
    return (
      now[service + SERVICE.state] === now[duty + DUTY.state] &&
      now[service + SERVICE.incarnation] === now[duty + DUTY.incarnation] &&
      now[service + SERVICE.cleaned] === now[duty + DUTY.cleaned]
    )
  }

  #drop(s: number, d: number): void {
    const { next } = this.#moment
    for (let i = d; i < this.#moment.duties - 1; i++)
      for (let f = 0; f < DUTY_SIZE; f++)
        next[this.#moment.duty(s, i) + f] = next[this.#moment.duty(s, i + 1) + f]!
    const last = this.#moment.duty(s, this.#moment.duties - 1)
    next.fill(0, last, last + DUTY_SIZE)
  }

  #goOnCleaning(s: number): void {
    const base = this.#moment.scheduler(s)
    const duty = this.#moment.duty(s, 0)
    const host = this.#moment.now[duty + DUTY.host]!
    const listed = this.#moment.now[base + SCHEDULER.listed]!
    if (listed === 0) {
      this.#close(s)
      return
    }
    for (let r = 0; r < this.#moment.resources.count; r++) {
      if ((listed & (1 << r)) === 0) continue
      const next = this.#moment.from()
      next[base + SCHEDULER.listed]! &= ~(1 << r)
      let rang = false
      if (!this.#moment.cleansAtBackend && this.#moment.isHeldHere(r, null)) next[base + SCHEDULER.left] = 1
      else rang = this.#cleaning.clean(r, host, this.#moment.now[duty + DUTY.over]!)
      if (next[base + SCHEDULER.listed] === 0 && this.#moment.now[duty + DUTY.type] === CLEAN)
        this.#endDuty(s)
      this.#moment.tell(KIND.clean, s, r, true)
      if (!rang || !this.#moment.has(LEFT.crashes)) continue
      // Crash point 2: the swap is durable, the doorbell is not rung.
      this.#moment.from()
      this.#moment.spent(LEFT.crashes)
      this.#cleaning.clean(r, host, this.#moment.now[duty + DUTY.over]!)
      next[this.#moment.resource(r) + RES.bell] = this.#moment.now[this.#moment.resource(r) + RES.bell]!
      next.fill(0, base, base + this.#moment.schedulers.size)
      this.#moment.note('cleaner_crashed')
      this.#moment.tell(KIND['clean and crash'], s, r, false)
    }
  }

  #endDuty(s: number): void {
    const base = this.#moment.scheduler(s)
    this.#moment.next[base + SCHEDULER.busy] = 0
    this.#moment.next[base + SCHEDULER.left] = 0
    this.#drop(s, 0)
  }

  /** Rule R6: cleanup_done for the incarnation seen down, still down, with every row of it put right. */
  #close(s: number): void {
    const now = this.#moment.now
    const base = this.#moment.scheduler(s)
    const duty = this.#moment.duty(s, 0)
    const host = now[duty + DUTY.host]!
    const service = this.#moment.service(host)
    const next = this.#moment.from()
    const isLeft =
      now[base + SCHEDULER.left] === 1 || this.#cleaning.listFor(host, now[duty + DUTY.incarnation]!) !== 0
    const isBlind = this.#moment.configuration.ruleOff === 'R6'
    const isClosed = !isLeft && (isBlind || this.#isAsSeen(duty))
    if (isClosed) {
      const row = this.#moment.serviceOf(
        host,
        now[service + SERVICE.state]!,
        now[service + SERVICE.incarnation]!,
      )
      next[service + SERVICE.cleaned] = closed(row).cleaned_incarnation
    }
    this.#endDuty(s)
    this.#moment.tell(KIND.close, s, isClosed ? 1 : 0, true)
  }
}
