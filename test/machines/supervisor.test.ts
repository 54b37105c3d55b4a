import { expect, test } from 'vitest'
import { Stepper, supervisorChart } from '../../machines/index.ts'

test('when the store is back every node starts anew, and none is said to be given up any more', () => {
  const supervisor = new Stepper(supervisorChart)
  const node = { topic: 'ssd@file', restarts: [1, 2], given_up: 'killed: killed by an administrator' }
  const suspended = {
    path: 'suspended',
    context: {
      topics: ['ssd@file'],
      nodes: { 'h1@file': node, 'h2@file': { ...node, given_up: null } },
      intensity: 5,
      period_ms: 60_000,
    },
  }
  const back = supervisor.step(suspended, { type: 'store.back' })!
  expect(back.commands.map(({ type }) => type)).toEqual(['startAll'])
  expect(back.context).toMatchObject({
    nodes: {
      'h1@file': { ...node, given_up: null },
      'h2@file': { ...node, given_up: null },
    },
  })
})
