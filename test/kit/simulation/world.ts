// A simulated world: time that moves only when nothing else can, and a heap of pending steps. Every timer,
// every message to the store and every piece of a driver's work is such a step; by default the earliest due is
// the next, and the choices may delay a step or let another of those that are due go first.

import type { Environment } from '../../../runtime/environment.ts'
import { Trace } from '../trace.ts'
import type { Choices } from './choices.ts'

interface Step {
  readonly place: Place
  readonly label: string
  /** When it was asked for; among steps that are due at once this is their order. */
  readonly at: number
  readonly number: number
  due: number
  isOver: boolean
  readonly run: () => void
}

/** A process of the world: it can be paused as by SIGSTOP and killed as by SIGKILL. */
export class Place {
  readonly name: string
  /** Nothing of it runs before this time. */
  pausedUntil = 0
  alive = true

  constructor(name: string) {
    this.name = name
  }
}

/** How much of each hop may deviate, drawn by the seed. */
export interface Haste {
  /** Another of the due steps goes first. */
  reorder: number
  /** A hop takes longer than by default. */
  delay: number
}

/** Delays that a hop may have instead of the default: a little late, and so late that the world has moved on. */
const DELAYS = [0, 3, 20, 90, 400, 1_000, 2_000] as const

export class SimulatedWorld {
  readonly choices: Choices
  /** Milliseconds since the beginning. */
  now = 0
  /** Steps that ran. */
  steps = 0
  readonly trace = new Trace(() => this.now)
  haste: Haste = { reorder: 0, delay: 0 }
  readonly #heap: Step[] = []
  #numbers = 0
  #ids = 0
  /** Two running hashes of all that happened (FNV-1a). */
  #digest: [number, number] = [0x811c9dc5, 0x01000193]

  constructor(choices: Choices) {
    this.choices = choices
  }

  environment(place: Place): Environment {
    return {
      now: () => 1_700_000_000_000 + this.now,
      monotonic: () => this.now,
      timer: (ms, run) => {
        const step = this.#add(place, 'timer', Math.max(0, ms), run)
        return {
          clear: () => {
            step.isOver = true
          },
        }
      },
      id: () => `id${String(++this.#ids).padStart(6, '0')}`,
    }
  }

  /** Resolves as a step of its own; never, once the place was killed. `name` is the choice point of its delay. */
  hop(place: Place, name: string, label: string, ms = 1): Promise<void> {
    const late = this.choices.of(name, {
      count: DELAYS.length,
      rate: this.haste.delay,
      say: (choice) => `${DELAYS[choice]} ms late`,
    })
    return this.wait(place, label, ms + DELAYS[late]!)
  }

  wait(place: Place, label: string, ms: number): Promise<void> {
    return new Promise((resolve) => this.#add(place, label, ms, resolve))
  }

  /** Runs later, in no process: what the world itself does. */
  later(ms: number, label: string, run: () => void): void {
    this.#add(NOWHERE, label, ms, run)
  }

  /** What is under way in a killed place never happens. */
  kill(place: Place): void {
    place.alive = false
  }

  /** Part of the digest. */
  note(text: string): void {
    let [one, other] = this.#digest
    for (let i = 0; i < text.length; i++) {
      one = Math.imul(one ^ text.charCodeAt(i), 0x01000193)
      other = Math.imul(other ^ text.charCodeAt(i), 0x85ebca6b) + i
    }
    this.#digest = [one, Math.imul(other ^ this.now, 0xc2b2ae35)]
  }

  /** Equal for equal runs. */
  digest(): string {
    return this.#digest.map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('')
  }

  /** Runs one step and all that follows from it without another step; false where nothing is pending. */
  async step(): Promise<boolean> {
    const step = this.#next()
    if (step === undefined) return false
    this.steps++
    this.note(`${this.now} ${step.place.name} ${step.label}`)
    step.run()
    // A macrotask comes after every microtask that is queued, however long the chain.
    await new Promise((resolve) => setImmediate(resolve))
    return true
  }

  #next(): Step | undefined {
    const first = this.#pop(Number.POSITIVE_INFINITY)
    if (first === undefined) return undefined
    this.now = Math.max(this.now, first.due)
    const ahead = this.choices.of('order', {
      count: 4,
      rate: this.haste.reorder,
      say: (choice) => `${choice} further`,
    })
    if (ahead === 0) return first
    const passed = [first]
    while (passed.length <= ahead) {
      const other = this.#pop(this.now)
      if (other === undefined) break
      passed.push(other)
    }
    const chosen = passed.pop()!
    for (const other of passed) this.#push(other)
    return chosen
  }

  #add(place: Place, label: string, ms: number, run: () => void): Step {
    const due = this.now + ms
    const step = { place, label, at: due, number: this.#numbers++, due, isOver: !place.alive, run }
    if (place.alive) this.#push(step)
    return step
  }

  /** The earliest step that can run, if it is due by then; those of paused places wait for the end of the pause. */
  #pop(by: number): Step | undefined {
    for (;;) {
      const top = this.#heap[0]
      if (top === undefined) return undefined
      const isGone = top.isOver || !top.place.alive
      if (!isGone && top.due > by) return undefined
      this.#removeTop()
      if (isGone) continue
      const awake = Math.max(top.due, top.place.pausedUntil)
      if (awake <= Math.max(top.due, this.now)) return top
      top.due = awake
      this.#push(top)
    }
  }

  #push(step: Step): void {
    const heap = this.#heap
    let i = heap.length
    heap.push(step)
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!isBefore(step, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = step
  }

  #removeTop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
  }
}

const NOWHERE = new Place('-')

function isBefore(a: Step, b: Step): boolean {
  if (a.due !== b.due) return a.due < b.due
  if (a.at !== b.at) return a.at < b.at
  return a.number < b.number
}
