// The chart of the supervisor: it routes doorbells by `cluster@backend` and starts nodes again when a life
// of theirs ends, within an intensity. Who sends events: the api (`ring`), schedulers (`ring`), nodes
// (`node.ended`), the store's watch (`store.lost`, `store.back`), an administrator (`node.start`).

import { type AnyStateMachine, and, assign, setup } from 'xstate'

export interface SupervisorInput {
  /** `host@backend` of each node with its topic. */
  readonly nodes: { readonly [address: string]: string }
  /** At most so many restarts of one node within a period. */
  readonly intensity: number
  readonly period_ms: number
}

export interface SupervisorContext {
  readonly intensity: number
  readonly period_ms: number
  /** By `host@backend`: its topic, the times of its restarts, and why it was given up. */
  readonly nodes: {
    readonly [address: string]: {
      readonly topic: string
      readonly restarts: readonly number[]
      readonly given_up: string | null
    }
  }
  readonly topics: readonly string[]
}

export type SupervisorEvent =
  | { readonly type: 'ring'; readonly topic: string; readonly key: string }
  | {
      readonly type: 'node.ended'
      readonly address: string
      readonly reason: string
      /** The chart of the life says whether to start another one. */
      readonly restart: boolean
      /** False where the store was the cause: that counts against nobody (rule R14). */
      readonly counts: boolean
      readonly at: number
    }
  | { readonly type: 'node.start'; readonly address: string; readonly at: number }
  | { readonly type: 'store.lost' | 'store.back' | 'stop' }

type Args = { context: SupervisorContext; event: SupervisorEvent }
type Ended = Extract<SupervisorEvent, { type: 'node.ended' }>

const restartsWithin = (context: SupervisorContext, address: string, at: number) =>
  (context.nodes[address]?.restarts ?? []).filter((time) => at - time < context.period_ms)

const toAddress = ({ event }: { event: SupervisorEvent }) => ({
  address: (event as { address: string }).address,
})

const supervisor = setup({
  types: {} as { context: SupervisorContext; events: SupervisorEvent; input: SupervisorInput },
  guards: {
    isKnownTopic: ({ context, event }: Args) => context.topics.includes((event as { topic: string }).topic),
    isToRestart: ({ event }: Args) => (event as Ended).restart,
    isWithinIntensity: ({ context, event }: Args) => {
      const { address, counts, at } = event as Ended
      return !counts || restartsWithin(context, address, at).length < context.intensity
    },
  },
  actions: {
    noteRestart: assign(({ context, event }: Args) => {
      const { address, counts, at } = event as Ended
      const node = context.nodes[address]!
      const restarts = counts ? [...restartsWithin(context, address, at), at] : node.restarts
      return { nodes: { ...context.nodes, [address]: { ...node, restarts } } }
    }),
    noteGivenUp: assign(({ context, event }: Args) => {
      const { address, reason } = event as Ended
      const node = context.nodes[address]!
      return { nodes: { ...context.nodes, [address]: { ...node, given_up: reason } } }
    }),
    forgive: assign(({ context, event }: Args) => {
      const { address } = event as { address: string }
      const node = context.nodes[address]!
      return { nodes: { ...context.nodes, [address]: { ...node, restarts: [], given_up: null } } }
    }),
    /** All start anew, so none is given up; the times of their restarts still count. */
    forgiveAll: assign(({ context }: Args) => ({
      nodes: Object.fromEntries(
        Object.entries(context.nodes).map(([address, node]) => [address, { ...node, given_up: null }]),
      ),
    })),
    // Commands.
    /** Put the doorbell into the topic's mailbox; a full one drops it (rule R9). */
    post: (_: unknown, _params: { topic: string; key: string }) => {},
    startNode: (_: unknown, _params: { address: string }) => {},
    startAll: () => {},
  },
})

export const supervisorChart = supervisor.createMachine({
  id: 'supervisor',
  context: ({ input }) => ({
    intensity: input.intensity,
    period_ms: input.period_ms,
    topics: [...new Set(Object.values(input.nodes))],
    nodes: Object.fromEntries(
      Object.entries(input.nodes).map(([address, topic]) => [
        address,
        { topic, restarts: [], given_up: null },
      ]),
    ),
  }),
  initial: 'running',
  states: {
    running: {
      description: 'Routes doorbells and restarts nodes.',
      entry: 'startAll',
      on: {
        ring: {
          guard: 'isKnownTopic',
          actions: {
            type: 'post',
            params: ({ event }) => event as { topic: string; key: string },
          },
        },
        'node.ended': [
          {
            guard: and(['isToRestart', 'isWithinIntensity']),
            actions: ['noteRestart', { type: 'startNode', params: toAddress }],
          },
          { actions: 'noteGivenUp' },
        ],
        'node.start': { actions: ['forgive', { type: 'startNode', params: toAddress }] },
        'store.lost': 'suspended',
        stop: 'stopped',
      },
    },
    suspended: {
      description: 'The store is lost: every node is over. All start anew when it is back.',
      on: { 'store.back': { target: 'running', actions: 'forgiveAll' }, stop: 'stopped' },
    },
    stopped: { description: 'Routes nothing any more.', type: 'final' },
  },
}) as unknown as AnyStateMachine
