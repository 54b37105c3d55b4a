// The chart of one life of a volume node: from registering an incarnation to its end. Who sends events:
// the runtime's clock (`tick`), the store's answers (`registered`, `beat.done`, ...), the mailbox
// (`doorbell`), the driver's calls (`ended`), an administrator (`drain`, `kill`). A life that ends is
// never resumed: the supervisor starts a new one with a new incarnation (rule R5). The rows it worked on
// are not in its context: they are in the store.

import { type AnyStateMachine, and, assign, not, setup } from 'xstate'

export interface NodeInput {
  readonly cluster: string
  readonly backend: string
  readonly host: string
  /** How many operations it drives at once. */
  readonly concurrency: number
  readonly heartbeat_ms: number
  readonly fence_after_ms: number
}

export interface NodeContext extends NodeInput {
  readonly incarnation: number | null
  /** When the last successful beat was sent, on the node's own monotonic clock. */
  readonly beaten_at: number
  /** The last look at the clock; a look that comes late means that this process was stalled. */
  readonly ticked_at: number
  /** Since when a stall makes it doubt that it may go on; null without doubt. */
  readonly doubt_since: number | null
  /** When the last beat was sent, and whether it is still under way. */
  readonly beat_sent_at: number
  readonly beating: boolean
  /** Claims under way and operations being driven. */
  readonly in_flight: number
  /** Why this life ended. */
  readonly reason: string | null
}

export type NodeEvent =
  | { readonly type: 'registered'; readonly incarnation: number; readonly at: number }
  | { readonly type: 'register.refused'; readonly reason: string }
  | { readonly type: 'set_up.done' }
  /** A step of the start could not be done. */
  | { readonly type: 'start.failed'; readonly reason: string }
  /** Something that the protocol says can't be. */
  | { readonly type: 'broken'; readonly reason: string }
  /** Its own earlier incarnations' rows are put right, as far as that went (later sweeps do the rest). */
  | { readonly type: 'cleaned' }
  | { readonly type: 'joined'; readonly disabled: boolean }
  | { readonly type: 'join.refused'; readonly reason: string }
  | { readonly type: 'tick'; readonly at: number }
  | { readonly type: 'beat.done'; readonly sent_at: number }
  | { readonly type: 'beat.failed' }
  /** The service row is no longer this life's: declared down, or a later life has registered. */
  | { readonly type: 'beat.refused'; readonly reason: string }
  | { readonly type: 'probe.lost'; readonly reason: string }
  | { readonly type: 'store.lost'; readonly reason: string }
  | { readonly type: 'doorbell'; readonly key: string; readonly at: number }
  /** A claim is durable and all is prepared: its driver may be called, if this life still may work. */
  | { readonly type: 'prepared'; readonly claim: string; readonly at: number }
  /** A driver's call has settled; its outcome waits to be written. */
  | { readonly type: 'settled'; readonly claim: string; readonly at: number }
  /** A claim was lost, or an operation is over for this node. */
  | { readonly type: 'ended' }
  | { readonly type: 'drain' | 'stop'; readonly reason: string }
  /** Back to work after a drain, unless it was disabled meanwhile. */
  | { readonly type: 'resume'; readonly disabled: boolean }
  /** What its service row says since now. */
  | { readonly type: 'disable' | 'enable' }
  | { readonly type: 'kill'; readonly reason: string }

type Args = { context: NodeContext; event: NodeEvent }

/** How often a node looks at its clock, for a heartbeat interval. */
export const tickEvery = (heartbeat_ms: number): number => heartbeat_ms / 4

/** The beats so far let it go on working at this time (rule R8). */
export function isFreshAt(context: NodeContext, at: number): boolean {
  return context.doubt_since === null && at - context.beaten_at < context.fence_after_ms
}

const chart = setup({
  types: {} as { context: NodeContext; events: NodeEvent; input: NodeInput },
  guards: {
    hasRoom: ({ context }) => context.in_flight < context.concurrency,
    /** Its own look at the clock comes late, and so late that others may have declared it down. */
    hasStalled: ({ context, event }: Args) => {
      const { at } = event as { at: number }
      const late = at - context.ticked_at > 2 * tickEvery(context.heartbeat_ms)
      return late && context.doubt_since === null && at - context.beaten_at >= context.fence_after_ms
    },
    /** The beat that is to settle a doubt has a short limit. */
    mayStillDoubt: ({ context, event }: Args) =>
      context.doubt_since !== null &&
      (event as { at: number }).at - context.doubt_since < context.heartbeat_ms,
    isFresh: ({ context, event }) => isFreshAt(context, (event as { at: number }).at),
    isBeatDue: ({ context, event }: Args) =>
      !context.beating && (event as { at: number }).at - context.beat_sent_at >= context.heartbeat_ms,
    isDisabled: ({ event }: Args) => (event as { disabled: boolean }).disabled === true,
    isIdle: ({ context }) => context.in_flight === 0,
    isLast: ({ context }) => context.in_flight === 1,
  },
  actions: {
    recordIncarnation: assign(({ event }: Args) => {
      const { incarnation, at } = event as { incarnation: number; at: number }
      return { incarnation, beaten_at: at, beat_sent_at: at, ticked_at: at }
    }),
    noteTick: assign(({ event }: Args) => ({ ticked_at: (event as { at: number }).at })),
    noteDoubt: assign(({ event }: Args) => ({ doubt_since: (event as { at: number }).at })),
    noteBeatSent: assign(({ event }: Args) => ({
      beating: true,
      beat_sent_at: (event as { at: number }).at,
    })),
    noteBeatDone: assign(({ context, event }: Args) => {
      const { sent_at } = event as { sent_at: number }
      const { doubt_since, beaten_at, beat_sent_at } = context
      return {
        beating: sent_at < beat_sent_at,
        beaten_at: Math.max(beaten_at, sent_at),
        // A beat from before the stall proves nothing about the time since.
        doubt_since: doubt_since !== null && sent_at >= doubt_since ? null : doubt_since,
      }
    }),
    noteBeatFailed: assign({ beating: false }),
    noteClaim: assign(({ context }: Args) => ({ in_flight: context.in_flight + 1 })),
    noteEnded: assign(({ context }: Args) => ({ in_flight: context.in_flight - 1 })),
    noteReason: assign((_: Args, params: { reason: string }) => ({ reason: params.reason })),
    // Commands: what the runtime does for this life.
    register: () => {},
    setUp: () => {},
    cleanOwn: () => {},
    join: () => {},
    beat: () => {},
    claim: (_: unknown, _params: { key: string }) => {},
    drive: (_: unknown, _params: { claim: string }) => {},
    finish: (_: unknown, _params: { claim: string }) => {},
    /** The beat is overdue, though the deadline has not passed here: go on only after the next good beat. */
    holdDrive: (_: unknown, _params: { claim: string }) => {},
    holdFinish: (_: unknown, _params: { claim: string }) => {},
    releaseHeld: () => {},
    dropDoorbell: (_: unknown, _params: { key: string }) => {},
    askNext: () => {},
    abortAll: () => {},
    leave: () => {},
  },
})

const withReason = {
  type: 'noteReason' as const,
  params: ({ event }: { event: NodeEvent }) => ({ reason: (event as { reason: string }).reason }),
}
const withClaim = ({ event }: { event: NodeEvent }) => ({ claim: (event as { claim: string }).claim })
const withKey = ({ event }: { event: NodeEvent }) => ({ key: (event as { key: string }).key })

/** Beats go on in every live state, cleanup and set-up included (How the parts fit). */
const beats = {
  tick: [
    {
      guard: 'hasStalled' as const,
      actions: ['noteTick' as const, 'noteDoubt' as const, 'noteBeatSent' as const, 'beat' as const],
      description: 'It wakes from a stall: first a beat; if nobody took anything, it goes on (rule R8).',
    },
    { guard: 'mayStillDoubt' as const, actions: ['noteTick' as const] },
    {
      guard: not('isFresh'),
      target: '#node.fenced',
      actions: [{ type: 'noteReason' as const, params: { reason: 'no successful heartbeat in time' } }],
      description: 'No successful beat for fence_after: it fences itself (rule R8).',
    },
    { guard: 'isBeatDue' as const, actions: ['noteTick' as const, 'noteBeatSent' as const, 'beat' as const] },
    { actions: ['noteTick' as const] },
  ],
  'beat.done': { actions: ['noteBeatDone' as const, 'releaseHeld' as const, 'askNext' as const] },
  'beat.failed': { actions: 'noteBeatFailed' as const },
  'beat.refused': { target: '#node.fenced', actions: withReason },
  'probe.lost': { target: '#node.fenced', actions: withReason },
  'store.lost': { target: '#node.fenced', actions: withReason },
  broken: { target: '#node.failed', actions: withReason },
  kill: { target: '#node.killed', actions: withReason },
}

/** Work that was begun goes on, in a drain too. */
const work = {
  prepared: [
    { guard: 'isFresh' as const, actions: { type: 'drive' as const, params: withClaim } },
    { actions: { type: 'holdDrive' as const, params: withClaim } },
  ],
  settled: [
    { guard: 'isFresh' as const, actions: { type: 'finish' as const, params: withClaim } },
    { actions: { type: 'holdFinish' as const, params: withClaim } },
  ],
}

export const nodeChart = chart.createMachine({
  id: 'node',
  context: ({ input }) => ({
    ...input,
    incarnation: null,
    beaten_at: 0,
    ticked_at: 0,
    doubt_since: null,
    beat_sent_at: 0,
    beating: false,
    in_flight: 0,
    reason: null,
  }),
  initial: 'registering',
  states: {
    registering: {
      description: 'Takes the next incarnation of its host@backend by compare-and-swap (rules R2, R11).',
      entry: 'register',
      on: {
        registered: { target: 'setting_up', actions: 'recordIncarnation' },
        'register.refused': { target: 'refused', actions: withReason },
        'start.failed': { target: 'failed', actions: withReason },
        'store.lost': { target: 'fenced', actions: withReason },
        stop: { target: 'stopped', actions: withReason },
        kill: { target: 'killed', actions: withReason },
      },
    },
    setting_up: {
      description: 'Its driver prepares the backend.',
      entry: 'setUp',
      on: {
        ...beats,
        'set_up.done': 'cleaning',
        'start.failed': { target: 'failed', actions: withReason },
        stop: { target: 'stopped', actions: withReason },
      },
    },
    cleaning: {
      description: 'Puts right what its own earlier incarnations left.',
      entry: 'cleanOwn',
      on: {
        ...beats,
        cleaned: 'joining',
        'start.failed': { target: 'failed', actions: withReason },
        stop: { target: 'stopped', actions: withReason },
      },
    },
    joining: {
      description: 'Swaps its service row to up, if nobody has declared it down meanwhile.',
      entry: 'join',
      on: {
        ...beats,
        joined: [{ guard: 'isDisabled', target: 'disabled' }, { target: 'up' }],
        'join.refused': { target: 'fenced', actions: withReason },
        'start.failed': { target: 'failed', actions: withReason },
        stop: { target: 'stopped', actions: withReason },
      },
    },
    up: {
      description: 'Claims from its topic and drives what it claimed.',
      tags: ['claims'],
      entry: 'askNext',
      on: {
        ...beats,
        ...work,
        doorbell: [
          {
            guard: and(['isFresh', 'hasRoom']),
            actions: ['noteClaim', { type: 'claim', params: withKey }, 'askNext'],
          },
          { actions: { type: 'dropDoorbell', params: withKey } },
        ],
        ended: { actions: ['noteEnded', 'askNext'] },
        disable: 'disabled',
        drain: 'draining',
        stop: [
          { guard: 'isIdle', target: 'stopped', actions: withReason },
          { target: 'stopping', actions: withReason },
        ],
      },
    },
    disabled: {
      description:
        'An administrator lets it take nothing new, in its next lives either; what it has goes on.',
      on: {
        ...beats,
        ...work,
        doorbell: { actions: { type: 'dropDoorbell', params: withKey } },
        ended: { actions: 'noteEnded' },
        enable: 'up',
        drain: 'draining',
        stop: [
          { guard: 'isIdle', target: 'stopped', actions: withReason },
          { target: 'stopping', actions: withReason },
        ],
      },
    },
    draining: {
      description: 'Takes nothing new; what it has goes on. It stays registered and beats.',
      on: {
        ...beats,
        ...work,
        doorbell: { actions: { type: 'dropDoorbell', params: withKey } },
        ended: { actions: 'noteEnded' },
        resume: [{ guard: 'isDisabled', target: 'disabled' }, { target: 'up' }],
        stop: [
          { guard: 'isIdle', target: 'stopped', actions: withReason },
          { target: 'stopping', actions: withReason },
        ],
      },
    },
    stopping: {
      description: 'Takes nothing new and ends when what it has is done.',
      on: {
        ...beats,
        ...work,
        doorbell: { actions: { type: 'dropDoorbell', params: withKey } },
        ended: [{ guard: 'isLast', target: 'stopped', actions: 'noteEnded' }, { actions: 'noteEnded' }],
      },
    },
    fenced: {
      description: 'May no longer work: aborts everything and stops its beats. Others put its rows right.',
      tags: ['over', 'restart'],
      entry: 'abortAll',
      type: 'final',
    },
    failed: {
      description: 'Could not start, or is broken. Its beats stop, so that others clean for it.',
      tags: ['over', 'restart'],
      entry: 'abortAll',
      type: 'final',
    },
    refused: {
      description: 'Another life of this host@backend is up (rule R11). It may be gone at the next try.',
      tags: ['over', 'restart'],
      type: 'final',
    },
    stopped: {
      description: 'Ended on purpose with nothing in hand.',
      tags: ['over'],
      entry: 'leave',
      type: 'final',
    },
    killed: {
      description: 'Ended as by a crash: nothing is cleaned, the others find out.',
      tags: ['over'],
      entry: 'abortAll',
      type: 'final',
    },
  },
}) as unknown as AnyStateMachine
