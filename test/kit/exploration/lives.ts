// The charts of node, scheduler and supervisor, stepped purely and remembered: what a life does with an
// event while its beats go on or stand still, what a sweep finds due, where a doorbell goes. Time is not in
// the state of a search: an event is told a moment at which the guards see what the search has chosen.

import type { AnyStateMachine } from 'xstate'
import type { Place } from '../../../machines/compiled.ts'
import { type NodeContext, type NodeEvent, tickEvery } from '../../../machines/node.ts'
import type { ServiceRow } from '../../../machines/row.ts'
import { type Duty, type SchedulerContext, schedulerChart } from '../../../machines/scheduler.ts'
import { Stepper } from '../../../machines/step.ts'
import { supervisorChart } from '../../../machines/supervisor.ts'

/** Where a life is. `absent`: its process is not there; the rest are states of the chart. */
export const LIFE_STATES = [
  'absent',
  'registering',
  'setting_up',
  'cleaning',
  'joining',
  'up',
  'draining',
  'stopping',
  'fenced',
  'failed',
  'refused',
  'stopped',
  'killed',
] as const
export type LifeState = (typeof LIFE_STATES)[number]

const HEARTBEAT_MS = 1_000
const FENCE_AFTER_MS = 10_000

/** What happens to a life, as its chart is told. A beat's answer stands with the look that sent it. */
const HAPPENINGS = {
  registered: 0,
  'set_up.done': 1,
  cleaned: 2,
  joined: 3,
  'join.refused': 4,
  doorbell: 5,
  prepared: 6,
  settled: 7,
  kill: 8,
  /** A look at the clock in time, at which its last good beat is too old. */
  tick: 9,
  /** A look at the clock that comes late, as after a stall; the beat it sends is answered so. */
  'wakes to a good beat': 10,
  'wakes to a refused beat': 11,
  'beat.refused': 12,
} as const
export type Happening = keyof typeof HAPPENINGS

export interface LifeStep {
  readonly state: number
  readonly commands: ReadonlySet<string>
  /** The chart has an event for this. */
  readonly accepted: boolean
  /** This life is over, and the supervisor is to start another. */
  readonly restarts: boolean
  readonly over: boolean
}

/** Steps of lives, remembered. `inFlight`: claims under way and operations being driven. */
export class Lives {
  readonly #stepper: Stepper
  readonly #concurrency: number
  readonly #known = new Map<number, LifeStep>()

  constructor(chart: AnyStateMachine, concurrency: number) {
    this.#stepper = new Stepper(chart)
    this.#concurrency = concurrency
  }

  step(state: number, stands: boolean, inFlight: number, happening: Happening): LifeStep {
    const key = ((inFlight * 16 + state) * 2 + (stands ? 1 : 0)) * 16 + HAPPENINGS[happening]
    let step = this.#known.get(key)
    if (step === undefined) {
      step = this.#step(state, stands, inFlight, happening)
      this.#known.set(key, step)
    }
    return step
  }

  #step(state: number, stands: boolean, in_flight: number, happening: Happening): LifeStep {
    const at = stands ? FENCE_AFTER_MS : 0
    const stalled = happening.startsWith('wakes')
    const context: NodeContext = {
      cluster: 'c',
      backend: 'b',
      host: 'h',
      concurrency: this.#concurrency,
      heartbeat_ms: HEARTBEAT_MS,
      fence_after_ms: FENCE_AFTER_MS,
      incarnation: 1,
      beaten_at: 0,
      ticked_at: stalled ? Math.max(0, at - 3 * tickEvery(HEARTBEAT_MS)) : at,
      doubt_since: null,
      beat_sent_at: 0,
      beating: false,
      in_flight,
      reason: null,
    }
    let place: Place = { path: LIFE_STATES[state]!, context }
    const commands = new Set<string>()
    let accepted = false
    const tell = (event: NodeEvent) => {
      const step = this.#stepper.step(place, event)
      if (step === null) return
      accepted = true
      place = step
      for (const { type } of step.commands) commands.add(type)
    }
    if (stalled) {
      tell({ type: 'tick', at })
      if (commands.has('beat'))
        tell(
          happening === 'wakes to a good beat'
            ? { type: 'beat.done', sent_at: at }
            : { type: 'beat.refused', reason: 'declared down' },
        )
    } else tell(eventOf(happening, at))
    const { tags } = this.#stepper.machine.states[place.path as never] as { tags: readonly string[] }
    return {
      state: LIFE_STATES.indexOf(place.path as LifeState),
      commands,
      accepted,
      restarts: tags.includes('restart'),
      over: tags.includes('over'),
    }
  }
}

function eventOf(happening: Happening, at: number): NodeEvent {
  switch (happening) {
    case 'registered':
      return { type: 'registered', incarnation: 1, at }
    case 'doorbell':
      return { type: 'doorbell', key: 'k', at }
    case 'prepared':
      return { type: 'prepared', claim: 'c', at }
    case 'settled':
      return { type: 'settled', claim: 'c', at }
    case 'tick':
      return { type: 'tick', at }
    case 'join.refused':
    case 'beat.refused':
    case 'kill':
      return { type: happening, reason: happening }
    default:
      return { type: happening } as NodeEvent
  }
}

/** What a sweep finds due. `stands[i]`: the beats of service i stood still for a full `down_after`. */
export class Sweeps {
  readonly #stepper = new Stepper(schedulerChart)
  readonly #known = new Map<number, readonly Duty[]>()

  due(services: () => readonly ServiceRow[], stands: readonly boolean[], key: number): readonly Duty[] {
    let due = this.#known.get(key)
    if (due === undefined) {
      due = this.#look(services(), stands)
      this.#known.set(key, due)
    }
    return due
  }

  /** Two timely sweeps: the first counts every beat, the second finds those that have not moved since. */
  #look(services: readonly ServiceRow[], stands: readonly boolean[]): readonly Duty[] {
    const sweep_ms = 10
    const down_after_ms = 10
    const context: SchedulerContext = {
      sweep_ms,
      down_after_ms,
      swept_at: null,
      observed: {},
      clusters: {},
      todo: [],
    }
    const sweep = (at: number) => ({
      type: 'sweep' as const,
      at,
      services,
      beats: services.map(({ id, incarnation }, i) => ({
        kind: 'beat' as const,
        id,
        version: 1,
        incarnation,
        counter: stands[i] ? 0 : at,
        capabilities: null,
        reported_at: 0,
      })),
    })
    const first = this.#stepper.step({ path: 'watching', context }, sweep(1))!
    const second = this.#stepper.step(first, sweep(1 + down_after_ms))!
    return (second.context as SchedulerContext).todo
  }
}

/** Where the supervisor sends a doorbell, and whether it starts a life that ended again. */
export class Routing {
  readonly #stepper = new Stepper(supervisorChart)
  readonly #running: Place

  constructor(nodes: { readonly [address: string]: string }) {
    this.#running = {
      path: 'running',
      context: {
        intensity: 1_000,
        period_ms: 1,
        topics: [...new Set(Object.values(nodes))],
        nodes: Object.fromEntries(
          Object.entries(nodes).map(([address, topic]) => [address, { topic, restarts: [], given_up: null }]),
        ),
      },
    }
  }

  /** The topic whose mailbox the doorbell goes to; null where no node consumes it. */
  mailboxFor(topic: string): string | null {
    const step = this.#stepper.step(this.#running, { type: 'ring', topic, key: 'k' })
    const post = step?.commands.find(({ type }) => type === 'post')
    return post === undefined ? null : (post.params.topic as string)
  }

  startsAgain(address: string, restart: boolean): boolean {
    const ended = { type: 'node.ended', address, reason: '', restart, counts: true, at: 0 }
    const step = this.#stepper.step(this.#running, ended)
    return step?.commands.some(({ type }) => type === 'startNode') ?? false
  }
}
