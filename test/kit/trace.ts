// What happened in a run, event by event, as a space-time diagram needs it: who did it (a lane), when, and
// what. The simulation and the exploration write it; text and pictures are drawn from it. It decides nothing
// and holds no rows, only what a reader is to see of them.

import type { BeatRow, ResourceRow, ServiceRow } from '../../machines/row.ts'
import type { StoredRow } from '../../store/store.ts'

interface Moment {
  /** Place in the run, from 1. The order of a trace is this one, whatever the times say. */
  readonly order: number
  /** Milliseconds of simulated time; null where time is not modelled. */
  readonly at: number | null
  /** Who: `client 1`, `api`, `scheduler 2`, `node h1`, `driver h1`, `store`, or a process such as `p1`. */
  readonly lane: string
  /** For people, in a few words. */
  readonly text: string
}

export type TraceEvent =
  /** Something that happened in one lane. */
  | (Moment & { readonly kind: 'step' })
  /** From lane to lane: a call, an answer, a doorbell. */
  | (Moment & { readonly kind: 'message'; readonly to: string; readonly fate?: 'lost' | 'doubled' })
  /** A row changed; both rows in short (see `inShort`), `before` null for a new one. */
  | (Moment & {
      readonly kind: 'swap'
      readonly key: string
      readonly before: string | null
      readonly after: string | null
    })
  /** A crash, a pause, a lost store: done to the lane, not by it. Whether the lane lives on tells its line. */
  | (Moment & { readonly kind: 'fault'; readonly lifeline?: 'ends' | 'begins' })
  /** Here an invariant broke. */
  | (Moment & { readonly kind: 'violation'; readonly invariant: string })

type Unnumbered<Event> = Event extends TraceEvent ? Omit<Event, 'order' | 'at'> : never

/** A trace in the making: numbers the events and asks a clock for the time. */
export class Trace {
  readonly events: TraceEvent[] = []
  readonly #clock: () => number | null

  constructor(clock: () => number | null = () => null) {
    this.#clock = clock
  }

  add(event: Unnumbered<TraceEvent>): void {
    this.events.push({ order: this.events.length + 1, at: this.#clock(), ...event } as TraceEvent)
  }
}

/** What a diagram shows of a row: `deleting h1@file#2 f8 v5` is taken by life 2 of h1@file with fence 8. */
export function inShort(row: StoredRow | ResourceRow | ServiceRow | BeatRow | null): string | null {
  if (row === null) return null
  if (row.kind === 'service') {
    const { state, incarnation, cleaned_incarnation } = row as unknown as ServiceRow
    return `${state} life ${incarnation} cleaned ${cleaned_incarnation}`
  }
  if (row.kind === 'beat') {
    const { counter, incarnation } = row as unknown as BeatRow
    return `beat ${counter} of life ${incarnation}`
  }
  const { status, worker, incarnation, held_by, fence, version } = row as unknown as ResourceRow
  if (status === undefined) return `v${version}`
  const taken = worker === null ? '' : incarnation === null ? ` ${worker}` : ` ${worker}#${incarnation}`
  const held = held_by === null ? '' : ` held by ${held_by.kind}/${held_by.id}`
  return `${status}${taken}${held} f${fence} v${version}`
}
