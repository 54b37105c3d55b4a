// The chart of a scheduler: it watches every node's beats, declares down whose beats stand still, and has
// the claims of lives that are over put right. Who sends events: its clock (`sweep`, with what the store
// holds), the runtime's answers (`cleaned`). It judges by its own monotonic clock and distrusts itself: a
// sweep that comes late proves nothing about others (rule R12).

import { type AnyStateMachine, assign, setup } from 'xstate'
import type { BeatRow, Capabilities, ServiceRow } from './row.ts'

export interface SchedulerInput {
  readonly sweep_ms: number
  readonly down_after_ms: number
}

/** A node as this scheduler sees it. */
export interface NodeView {
  readonly host: string
  readonly incarnation: number
  readonly state: ServiceRow['state']
  readonly disabled: boolean
  readonly cleanup_done: boolean
  readonly capabilities: Capabilities | null
}

export interface SchedulerContext extends SchedulerInput {
  readonly swept_at: number | null
  /** By service id: the beat last seen and since when it stands still. */
  readonly observed: { readonly [service_id: string]: { readonly beat: string; readonly since: number } }
  /** Keyed `cluster@backend`: up if any of its nodes is. */
  readonly clusters: {
    readonly [topic: string]: { readonly up: boolean; readonly nodes: readonly NodeView[] }
  }
  readonly todo: readonly Duty[]
}

/** What a sweep asks for. */
export type Duty =
  /** Swap the service row to down, expecting the row and the beat that were judged. */
  | { readonly type: 'mark_down'; readonly service: ServiceRow; readonly beat: BeatRow | null }
  /** Put right the claims of incarnations up to this one; then, if `close`, write cleaned_incarnation. */
  | {
      readonly type: 'clean'
      readonly service: ServiceRow
      readonly incarnation: number
      readonly close: boolean
    }

export type SchedulerEvent =
  | {
      readonly type: 'sweep'
      readonly at: number
      readonly services: readonly ServiceRow[]
      readonly beats: readonly BeatRow[]
    }
  | { readonly type: 'store.lost' }

type Args = { context: SchedulerContext; event: SchedulerEvent }
type Sweep = Extract<SchedulerEvent, { type: 'sweep' }>

const beatMark = (service: ServiceRow, beat: BeatRow | undefined) =>
  `${service.incarnation}/${beat?.incarnation === service.incarnation ? beat.counter : 'none'}`

const isLate = (context: SchedulerContext, at: number) =>
  context.swept_at === null || at - context.swept_at > 2 * context.sweep_ms

/** One look at all services: what stands still since when, what is due, and the map of clusters. */
function look(context: SchedulerContext, { at, services, beats }: Sweep) {
  const byId = new Map(beats.map((beat) => [beat.id, beat]))
  const afresh = isLate(context, at)
  const observed: Record<string, { beat: string; since: number }> = {}
  const todo: Duty[] = []
  const clusters: Record<string, { up: boolean; nodes: NodeView[] }> = {}
  for (const service of services) {
    const beat = byId.get(service.id)
    const mark = beatMark(service, beat)
    const before = context.observed[service.id]
    const since = !afresh && before?.beat === mark ? before.since : at
    observed[service.id] = { beat: mark, since }
    if (service.state !== 'down' && at - since >= context.down_after_ms)
      todo.push({ type: 'mark_down', service, beat: beat ?? null })
    const over = service.state === 'down' ? service.incarnation : service.incarnation - 1
    const close = service.state === 'down'
    // Claims of lives before a running one are over too: its own start may have left some (rule R14).
    if (close ? service.cleaned_incarnation !== service.incarnation : over > 0)
      todo.push({ type: 'clean', service, incarnation: over, close })
    const topic = `${service.cluster}@${service.backend}`
    clusters[topic] ??= { up: false, nodes: [] }
    const cluster = clusters[topic]
    cluster.up ||= service.state === 'up'
    cluster.nodes.push({
      host: service.host,
      incarnation: service.incarnation,
      state: service.state,
      disabled: service.disabled,
      cleanup_done: service.cleaned_incarnation === service.incarnation,
      capabilities: beat?.capabilities ?? null,
    })
  }
  return { swept_at: at, observed, clusters, todo }
}

export const schedulerChart = setup({
  types: {} as { context: SchedulerContext; events: SchedulerEvent; input: SchedulerInput },
  actions: {
    look: assign(({ context, event }: Args) => look(context, event as Sweep)),
    /** Every count starts anew: what happened meanwhile is unknown. */
    forget: assign({ swept_at: null, observed: {}, todo: [] }),
    /** Command: carry out the duties, then ring every queued row's topic again (rule R3). */
    carryOut: (_: unknown, _params: { todo: readonly Duty[] }) => {},
  },
}).createMachine({
  id: 'scheduler',
  context: ({ input }) => ({ ...input, swept_at: null, observed: {}, clusters: {}, todo: [] }),
  initial: 'watching',
  states: {
    watching: {
      description: 'Sweeps at each interval.',
      on: {
        sweep: {
          actions: ['look', { type: 'carryOut', params: ({ context }) => ({ todo: context.todo }) }],
        },
        'store.lost': { actions: 'forget' },
      },
    },
  },
}) as unknown as AnyStateMachine
