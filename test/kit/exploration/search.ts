// The search: breadth first over packed states, each found once, until none is left, an invariant breaks, or
// a limit is reached. The states are their own queue. What it finds first is nearest to the start, so the
// way there, by the states that each was found from, is the shortest. It knows nothing of the protocol.

import { Canonical } from './canonical.ts'
import type { Model } from './model.ts'
import type { Violation } from './state.ts'
import { StateSet, Words } from './state_set.ts'

export interface Limits {
  /** The most states to keep. */
  readonly states: number
  /** The most milliseconds to search. */
  readonly ms: number
}

export interface Progress {
  readonly states: number
  /** States found and not looked at yet. */
  readonly frontier: number
  readonly depth: number
  readonly transitions: number
  readonly ms: number
  readonly bytes: number
}

export interface Found {
  /** Every reachable state was looked at. */
  readonly complete: boolean
  readonly why: 'all states' | 'violated' | 'most states' | 'most time' | 'stopped'
  readonly progress: Progress
  readonly violation: Violation | null
  /** Packed states from the first to the one in which, or after which, the invariant broke. */
  readonly path: readonly Uint32Array[]
  /** Choices of the model that led to the violation from the path's last state, where a step broke it. */
  readonly byStep: boolean
  /** Whether all_at_rest was judged: it needs every state. */
  readonly restJudged: boolean
}

export interface Watch {
  readonly onProgress?: (progress: Progress) => void
  readonly signal?: AbortSignal
}

/** States between two looks at the clock, the signal and the event loop. */
const SLICE = 4_096

export async function search(model: Model, limits: Limits, watch: Watch = {}): Promise<Found> {
  const run = new Search(model)
  const began = performance.now()
  const progressNow = () => run.progress(performance.now() - began)
  const ended = (why: Found['why'], rest: Partial<Found> = {}): Found => ({
    complete: why === 'all states',
    why,
    progress: progressNow(),
    violation: run.violation,
    path: run.path(),
    byStep: run.byStep,
    restJudged: false,
    ...rest,
  })
  for (;;) {
    const more = run.look(SLICE, limits.states)
    if (run.violation !== null) return ended('violated')
    if (!more) break
    if (run.states.size > limits.states) return ended('most states')
    if (performance.now() - began > limits.ms) return ended('most time')
    if (watch.signal?.aborted) return ended('stopped')
    watch.onProgress?.(progressNow())
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  run.judgeRest()
  return ended(run.violation === null ? 'all states' : 'violated', { complete: true, restJudged: true })
}

class Search {
  readonly states: StateSet
  violation: Violation | null = null
  /** The step from the last state of the path broke it, not a state. */
  byStep = false
  readonly #model: Model
  readonly #canonical: Canonical
  readonly #packed: Uint32Array
  readonly #state: Uint16Array
  /** By state: where its steps that are no faults begin among all; then where each leads. */
  readonly #firstStep = new Words()
  readonly #steps = new Words()
  readonly #atRest: boolean[] = []
  #looked = 0
  #transitions = 0
  #depth = 0
  #levelEnds = 1
  #broken: number | null = null

  constructor(model: Model) {
    this.#model = model
    this.#canonical = new Canonical(model)
    this.states = new StateSet(model.layout.words)
    this.#packed = new Uint32Array(model.layout.words)
    this.#state = new Uint16Array(model.layout.length)
    const first = model.first()
    this.#canonical.pack(first, this.#packed)
    this.states.add(this.#packed, null)
    this.#judge(0)
  }

  progress(ms: number): Progress {
    return {
      states: this.states.size,
      frontier: this.states.size - this.#looked,
      depth: this.#depth,
      transitions: this.#transitions,
      ms,
      bytes: this.states.bytes + this.#steps.bytes + this.#firstStep.bytes + this.states.size,
    }
  }

  /** Looks at up to so many states while no more than `most` are kept; false when none is left. */
  look(count: number, most: number): boolean {
    const { states } = this
    for (let i = 0; i < count && this.violation === null && states.size <= most; i++) {
      if (this.#looked === states.size) return false
      if (this.#looked === this.#levelEnds) {
        this.#depth++
        this.#levelEnds = states.size
      }
      this.#expand(this.#looked++)
    }
    return true
  }

  #expand(index: number): void {
    const model = this.#model
    this.#firstStep.push(this.#steps.length)
    this.states.read(index, this.#packed)
    model.layout.unpack(this.#packed, this.#state)
    let goesOn = false
    model.successors(this.#state, (_kind, _a, _b, progress) => {
      if (this.violation !== null) return
      this.#transitions++
      if (model.violation !== null) {
        this.violation = model.violation
        this.#broken = index
        this.byStep = true
        return
      }
      this.#canonical.pack(model.next, this.#packed)
      const known = this.states.size
      const found = this.states.add(this.#packed, index)
      if (found !== index && progress) {
        goesOn = true
        this.#steps.push(found)
      }
      if (found === known) this.#judge(found)
    })
    if (this.violation === null && !goesOn && !this.#atRest[index]) {
      this.violation = {
        invariant: 'all_at_rest',
        message: 'nothing goes on any more, and not all is at rest',
      }
      this.#broken = index
    }
  }

  /** A state that was just added. `model.next`, or the first state, still holds it. */
  #judge(index: number): void {
    const model = this.#model
    const state = index === 0 ? this.#state : model.next
    if (index === 0) model.layout.unpack(this.#packed, state)
    this.#atRest.push(model.isAtRest(state))
    const fault = model.faultOf(state)
    if (fault === null) return
    this.violation = fault
    this.#broken = index
  }

  /** Without further faults, rest can be reached from every state: looked at from the rest backwards. */
  judgeRest(): void {
    const { size } = this.states
    const good = Uint8Array.from(this.#atRest, Number)
    const firstStep = (index: number) => (index < size ? this.#firstStep.at(index) : this.#steps.length)
    for (let changed = true; changed; ) {
      changed = false
      for (let index = size - 1; index >= 0; index--) {
        if (good[index] === 1) continue
        const end = index + 1 < size ? firstStep(index + 1) : this.#steps.length
        for (let step = firstStep(index); step < end; step++)
          if (good[this.#steps.at(step)] === 1) {
            good[index] = 1
            changed = true
            break
          }
      }
    }
    const bad = good.indexOf(0)
    if (bad === -1) return
    this.violation = {
      invariant: 'all_at_rest',
      message: 'from here on no way leads to rest, though no more faults happen',
    }
    this.#broken = bad
  }

  path(): readonly Uint32Array[] {
    const path: Uint32Array[] = []
    for (let index = this.#broken; index !== null; index = this.states.parentOf(index)) {
      const packed = new Uint32Array(this.states.width)
      this.states.read(index, packed)
      path.unshift(packed)
    }
    return path
  }
}
