// A counterexample in words: the way from the start to the violation is walked again, choice by choice, in
// states that nothing was renamed in, and each step is told as a sentence and as events of a space-time
// diagram. It finds nothing itself; a way that can't be walked is an assertion.

import assert from 'node:assert/strict'
import { Trace, type TraceEvent } from '../trace.ts'
import { Canonical } from './canonical.ts'
import { LIFE_STATES } from './lives.ts'
import type { Model } from './model.ts'
import { FIRST_HOST, NOBODY, QUEUED } from './rows.ts'
import type { Found } from './search.ts'
import {
  CHOICES,
  type ChoiceKind,
  CLEAN_AND_CLOSE,
  DUTY,
  EXEC,
  LIFE,
  MARK_DOWN,
  RES,
  SCHEDULER,
  SERVICE,
  SERVICE_STATES,
  type Violation,
  WHAT,
} from './state.ts'

export interface Counterexample {
  readonly invariant: string
  readonly message: string
  /** What happened, a choice each. */
  readonly steps: readonly string[]
  /** For a space-time diagram; see `diagram`. */
  readonly trace: readonly TraceEvent[]
  /** What of the fault budget it used. */
  readonly faults: { readonly [fault: string]: number }
}

export interface WalkedStep {
  readonly kind: ChoiceKind
  readonly a: number
  readonly b: number
  readonly before: Uint16Array
  readonly after: Uint16Array
}

/** The choices along a path of packed states. */
export function walk(model: Model, { path, byStep, violation }: Found): readonly WalkedStep[] {
  const canonical = new Canonical(model)
  const packed = new Uint32Array(model.layout.words)
  const ranked = new Uint16Array(model.layout.length)
  const steps: WalkedStep[] = []
  let state = model.first()
  const go = (isIt: () => boolean) => {
    const before = state
    let found: WalkedStep | null = null
    model.successors(before, (kind, a, b) => {
      if (found === null && isIt()) found = { kind: CHOICES[kind]!, a, b, before, after: model.next.slice() }
    })
    assert(found !== null, 'a step of the path is no choice of the model')
    steps.push(found)
    state = (found as WalkedStep).after
  }
  for (const target of path.slice(1))
    go(() => {
      if (model.violation !== null) return false
      ranked.set(model.next)
      canonical.pack(ranked, packed)
      return packed.every((word, i) => word === target[i])
    })
  if (byStep) go(() => model.violation?.invariant === violation!.invariant)
  return steps
}

export function counterexampleOf(model: Model, found: Found): Counterexample {
  const { invariant, message } = found.violation as Violation
  const teller = new Teller(model)
  const walked = walk(model, found)
  const steps = walked.map((step) => teller.tell(step))
  teller.trace.add({ kind: 'violation', lane: 'store', invariant, text: message })
  const first = model.first()
  const last = walked.at(-1)?.after ?? first
  const used = (i: number) => first[model.left.start + i]! - last[model.left.start + i]!
  const faults = {
    crashes: used(1),
    pauses: used(2),
    lostDoorbells: used(3),
    duplicatedDoorbells: used(4),
    failures: used(5),
  }
  return { invariant, message, steps, trace: teller.trace.events, faults }
}

/** Words a step, and adds it to the trace. */
class Teller {
  readonly trace = new Trace()
  readonly #model: Model

  constructor(model: Model) {
    this.#model = model
  }

  tell({ kind, a, b, before, after }: WalkedStep): string {
    switch (kind) {
      case 'accept':
      case 'write an accept':
        return this.#accept(kind, a, b, before, after)
      case 'read for an accept':
        return this.#step('api', `reads ${this.#name(a)} for ${this.#asked(b)}: ${this.#row(before, a)}`)
      case 'ring again':
        return this.#message('scheduler 1', 'mailbox', `rings again for ${this.#name(a)}`)
      case 'take':
        return this.#message('mailbox', this.#node(a), `takes the doorbell of ${this.#name(b)}`)
      case 'take, and it comes again':
        return this.#message('mailbox', this.#node(a), `takes the doorbell of ${this.#name(b)}`, 'doubled')
      case 'lose a doorbell':
        return this.#message('mailbox', 'supervisor', `the doorbell of ${this.#name(a)}`, 'lost')
      case 'claim':
      case 'begin':
      case 'effect':
      case 'settle':
      case 'fail':
      case 'finish':
        return this.#execution(kind, a, b, before, after)
      case 'sweep':
      case 'take up a duty':
      case 'clean':
      case 'clean and crash':
      case 'close':
      case 'crash a scheduler':
        return this.#scheduler(kind, a, b, before, after)
      default:
        return this.#life(kind, a, b, before, after)
    }
  }

  // ---- what is told of ----

  #name(r: number): string {
    return this.#model.configuration.resources[r]!.id
  }

  #asked(a: number): string {
    return this.#model.configuration.asked[a]!.name
  }

  /** A twin is told from the host's first process. */
  #node(life: number): string {
    const { hosts, lives } = this.#model.configuration
    const name = `node ${hosts[lives[life]!]}`
    return life < hosts.length ? name : `${name} twin ${life - hosts.length + 1}`
  }

  #base(r: number): number {
    return this.#model.resources.start + r * this.#model.resources.size
  }

  #row(state: Uint16Array, r: number): string {
    const { rows, configuration } = this.#model
    const base = this.#base(r)
    const { status, cleanup } = rows.body(state[base + RES.body]!)
    const who = state[base + RES.who]!
    const worker =
      who === NOBODY
        ? ''
        : who === QUEUED
          ? ' queued'
          : ` ${configuration.hosts[who - FIRST_HOST]}#${state[base + RES.incarnation]}`
    return `${status}${cleanup === null ? '' : ` (cleanup ${cleanup})`}${worker} f${state[base + RES.fence]}`
  }

  #service(state: Uint16Array, host: number): string {
    const base = this.#model.services.start + host * this.#model.services.size
    return `${SERVICE_STATES[state[base + SERVICE.state]!]} life ${state[base + SERVICE.incarnation]} cleaned ${state[base + SERVICE.cleaned]}`
  }

  // ---- sentences and events ----

  #step(lane: string, text: string): string {
    this.trace.add({ kind: 'step', lane, text })
    return `${lane} ${text}`
  }

  #message(lane: string, to: string, text: string, fate?: 'lost' | 'doubled'): string {
    this.trace.add({ kind: 'message', lane, to, text, ...(fate === undefined ? {} : { fate }) })
    const who = lane === 'mailbox' ? to : lane
    return fate === 'lost'
      ? `${text} is lost`
      : `${who} ${text}${fate === 'doubled' ? ', which comes again' : ''}`
  }

  #fault(lane: string, text: string, lifeline?: 'ends' | 'begins'): string {
    this.trace.add({ kind: 'fault', lane, text, ...(lifeline === undefined ? {} : { lifeline }) })
    return `${lane} ${text}`
  }

  /** The rows that a step changed, as swaps of a lane; `otherwise` where none did. */
  #swaps(lane: string, what: string, otherwise: string, before: Uint16Array, after: Uint16Array): string {
    const told: string[] = []
    for (let r = 0; r < this.#model.resources.count; r++) {
      const [was, is] = [this.#row(before, r), this.#row(after, r)]
      if (was === is) continue
      const { kind, id } = this.#model.configuration.resources[r]!
      this.trace.add({ kind: 'swap', lane, text: what, key: `${kind}/${id}`, before: was, after: is })
      told.push(`${id}: ${was} → ${is}`)
    }
    for (let host = 0; host < this.#model.services.count; host++) {
      const [was, is] = [this.#service(before, host), this.#service(after, host)]
      if (was === is) continue
      const name = this.#model.configuration.hosts[host]!
      this.trace.add({ kind: 'swap', lane, text: what, key: `service/${name}`, before: was, after: is })
      told.push(`service ${name}: ${was} → ${is}`)
    }
    return told.length === 0 ? this.#step(lane, otherwise) : `${lane} ${what}: ${told.join('; ')}`
  }

  #accept(kind: ChoiceKind, r: number, a: number, before: Uint16Array, after: Uint16Array): string {
    this.trace.add({ kind: 'message', lane: 'client', to: 'api', text: `${this.#asked(a)} ${this.#name(r)}` })
    const what = kind === 'accept' ? 'accepts' : 'writes what it decided on the row it had read,'
    return this.#swaps('api', `${what} ${this.#asked(a)}`, `${what} ${this.#asked(a)}`, before, after)
  }

  #execution(kind: ChoiceKind, slot: number, b: number, before: Uint16Array, after: Uint16Array): string {
    const { executions, configuration } = this.#model
    const base = executions.start + slot * executions.size
    const life = before[base + EXEC.life]! - 1
    const r = before[base + EXEC.resource]!
    const node = this.#node(life)
    const driver = node.replace('node', 'driver')
    const name = this.#name(r)
    const fence = before[base + EXEC.fence]!
    const lifeNumber = before[base + EXEC.incarnation]!
    if (kind === 'claim') {
      const refused = `loses its claim of ${name}`
      return b === 0
        ? this.#step(node, refused)
        : this.#swaps(node, `(life ${lifeNumber}) claims`, refused, before, after)
    }
    const { operation, part } = this.#model.whatOf(r, before[base + EXEC.what]!)
    const doing =
      part === WHAT.operation
        ? operation
        : part === WHAT.undo
          ? `undo ${operation}`
          : `cleanup of ${operation}`
    const call = `${doing} of ${name} with fence ${fence}`
    switch (kind) {
      case 'begin':
        if (b === 0) return this.#step(node, `finds that its claim of ${name} is over`)
        return part === WHAT.cleanup
          ? this.#message(node, 'backend', `raises the mark of ${name} to ${fence}`)
          : this.#message(node, driver, `calls its driver: ${call}`)
      case 'effect': {
        const had = before[this.#base(r) + RES.exists] === 1
        const has = after[this.#base(r) + RES.exists] === 1
        const there = had === has ? '' : has ? ': it is there now' : ': it is gone there'
        return b === 0
          ? this.#message(
              driver,
              'backend',
              `${call} is refused: the mark is ${before[this.#base(r) + RES.mark]}`,
            )
          : this.#message(driver, 'backend', `${call} has its effect${there}`)
      }
      case 'settle':
        return this.#message(driver, node, `${call} has settled`)
      case 'fail':
        return this.#message(driver, node, `${call} fails`)
      default: {
        const refused = `(life ${lifeNumber}) finishes ${call}: refused`
        return b === 0
          ? this.#step(node, refused)
          : this.#swaps(
              node,
              `(life ${lifeNumber} of ${configuration.lives[life] === undefined ? '' : 'it'}) finishes ${call}`.replace(
                ' of it',
                '',
              ),
              refused,
              before,
              after,
            )
      }
    }
  }

  #life(kind: ChoiceKind, life: number, b: number, before: Uint16Array, after: Uint16Array): string {
    const node = this.#node(life)
    const base = this.#model.lives.start + life * this.#model.lives.size
    const number = before[base + LIFE.incarnation]!
    switch (kind) {
      case 'crash':
        return this.#fault(node, `crashes (life ${number})`, 'ends')
      case 'start':
        this.trace.add({ kind: 'fault', lane: node, text: 'starts', lifeline: 'begins' })
        return this.#swaps(node, 'starts and registers', 'starts', before, after)
      case 'list own':
        return this.#step(
          node,
          `lists what its earlier lives left: ${this.#listed(after[base + LIFE.listed]!)}`,
        )
      case 'clean own':
        return this.#swaps(
          node,
          'cleans',
          `had ${this.#name(b)} on its list; it is put right already`,
          before,
          after,
        )
      case 'join':
        return this.#swaps(
          node,
          'joins',
          'may not join: it was declared down, and starts anew',
          before,
          after,
        )
      case 'pause':
        return this.#fault(node, `goes on, but its beats stand still (life ${number})`)
      case 'wake':
        return this.#step(
          node,
          b === 1
            ? 'beats again, and goes on'
            : `beats again, is refused, and ${LIFE_STATES[after[base + LIFE.state]!] === 'registering' ? 'starts anew' : 'ends'}`,
        )
      case 'fence':
        return this.#step(node, 'has had no good beat in time: it fences itself and starts anew')
      default:
        return this.#step(node, 'has a beat refused: another life has its place')
    }
  }

  #listed(mask: number): string {
    const names = this.#model.configuration.resources.filter((_, r) => (mask & (1 << r)) !== 0)
    return names.length === 0 ? 'nothing' : names.map(({ id }) => id).join(', ')
  }

  #scheduler(kind: ChoiceKind, s: number, b: number, before: Uint16Array, after: Uint16Array): string {
    const { schedulers, duties, configuration } = this.#model
    const lane = `scheduler ${s + 1}`
    const base = schedulers.start + s * schedulers.size
    const size = (schedulers.size - SCHEDULER.duties) / duties
    const duty = (state: Uint16Array, d: number) => {
      const at = base + SCHEDULER.duties + d * size
      const type = state[at + DUTY.type]!
      if (type === 0) return null
      const host = configuration.hosts[state[at + DUTY.host]!]!
      if (type === MARK_DOWN) return `${host} is to be declared down (life ${state[at + DUTY.incarnation]})`
      const upTo = `${host} up to life ${state[at + DUTY.over]}`
      return type === CLEAN_AND_CLOSE ? `clean ${upTo}, then note it as cleaned` : `clean ${upTo}`
    }
    switch (kind) {
      case 'sweep': {
        const due = Array.from({ length: duties }, (_, d) => duty(after, d)).filter((text) => text !== null)
        return this.#step(lane, `sweeps: ${due.join('; ')}`)
      }
      case 'take up a duty': {
        const what = duty(before, Math.floor(b / 2))!
        const listed = this.#listed(after[base + SCHEDULER.listed]!)
        const otherwise = what.startsWith('clean')
          ? `lists the rows to ${what}: ${listed}`
          : `leaves it: ${what}, but it has changed since`
        return this.#swaps(lane, 'declares down', otherwise, before, after)
      }
      case 'clean':
        return this.#swaps(
          lane,
          'cleans',
          `had ${this.#name(b)} on its list; it is not to be taken`,
          before,
          after,
        )
      case 'clean and crash': {
        const told = this.#swaps(lane, 'cleans', 'cleans', before, after)
        this.#fault(lane, 'crashes before it rings')
        return `${told}; it crashes before it rings`
      }
      case 'close':
        return this.#swaps(
          lane,
          'notes it as cleaned',
          'does not note it as cleaned: it has changed since',
          before,
          after,
        )
      default:
        return this.#fault(lane, 'crashes, and starts with nothing')
    }
  }
}
