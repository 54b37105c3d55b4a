// The chart of the api: whether callers are let in. Who sends events: the store's watch (`store.lost`,
// `store.back`) and the runtime's stop. What a call asks for is decided by the resource's chart, not here.

import { type AnyStateMachine, setup } from 'xstate'

export type ApiEvent = { readonly type: 'store.lost' | 'store.back' | 'stop' }

export const apiChart = setup({
  types: {} as { events: ApiEvent },
}).createMachine({
  id: 'api',
  initial: 'open',
  states: {
    open: {
      description: 'Operations are accepted.',
      on: { 'store.lost': 'suspended', stop: 'stopping' },
    },
    suspended: {
      description: 'The store is lost: nothing can be promised, so nothing is accepted.',
      on: { 'store.back': 'open', stop: 'stopping' },
    },
    stopping: { description: 'Calls under way are answered, new ones are not.' },
  },
}) as unknown as AnyStateMachine
