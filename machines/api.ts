// The chart of the api: whether callers are let in. Who sends events: callers (`call`, `reply`), the
// store's watch (`store.lost`, `store.back`), the runtime's stop. What a call asks for is decided by the
// resource's chart, not here.

import { type AnyStateMachine, assign, setup } from 'xstate'

export interface ApiContext {
  /** Accepts under way. */
  readonly calls: number
}

export type ApiEvent = { readonly type: 'call' | 'reply' | 'store.lost' | 'store.back' | 'stop' }

export const apiChart = setup({
  types: {} as { context: ApiContext; events: ApiEvent },
  actions: {
    noteCall: assign(({ context }) => ({ calls: context.calls + 1 })),
    noteReply: assign(({ context }) => ({ calls: context.calls - 1 })),
  },
}).createMachine({
  id: 'api',
  context: { calls: 0 },
  initial: 'open',
  on: { reply: { actions: 'noteReply' } },
  states: {
    open: {
      description: 'Operations are accepted.',
      on: { call: { actions: 'noteCall' }, 'store.lost': 'suspended', stop: 'stopping' },
    },
    suspended: {
      description: 'The store is lost: nothing can be promised, so nothing is accepted.',
      on: { 'store.back': 'open', stop: 'stopping' },
    },
    stopping: { description: 'Calls under way are answered, new ones are not.' },
  },
}) as unknown as AnyStateMachine
