import { expect, test } from 'vitest'
import { nodeChart, Stepper, supervisorChart } from '../../machines/index.ts'

test('an event that changes nothing but asks for something is accepted, and says what it asks for', () => {
  const supervisor = new Stepper(supervisorChart)
  const running = {
    path: 'running',
    context: { topics: ['ssd@file'], nodes: {}, intensity: 1, period_ms: 1 },
  }
  const rung = supervisor.step(running, { type: 'ring', topic: 'ssd@file', key: 'volume/v1' })
  expect(rung?.commands).toEqual([
    { type: 'post', params: { type: 'ring', topic: 'ssd@file', key: 'volume/v1' } },
  ])
  const node = new Stepper(nodeChart)
  const fresh = { doubt_since: null, beaten_at: 0, fence_after_ms: 5_000, in_flight: 1 }
  const settled = node.step(
    { path: 'up', context: fresh },
    { type: 'settled', claim: 'volume/v1 fence 7', at: 1 },
  )
  expect(settled?.commands).toEqual([{ type: 'finish', params: { claim: 'volume/v1 fence 7' } }])
})

test('an event that the chart does not know in a state, or that its guards refuse, is refused', () => {
  const supervisor = new Stepper(supervisorChart)
  const at = (path: string) => ({
    path,
    context: { topics: ['ssd@file'], nodes: {}, intensity: 1, period_ms: 1 },
  })
  expect(supervisor.step(at('running'), { type: 'store.back' })).toBeNull()
  expect(supervisor.step(at('running'), { type: 'ring', topic: 'hdd@file', key: 'volume/v1' })).toBeNull()
})

test('a step executes nothing and leaves the place it started from as it was', () => {
  const node = new Stepper(nodeChart)
  const before = {
    path: 'up',
    context: { doubt_since: null, beaten_at: 0, fence_after_ms: 5_000, in_flight: 0, concurrency: 1 },
  }
  const copy = structuredClone(before)
  const doorbell = { type: 'doorbell', key: 'volume/v1', at: 1 }
  expect(node.step(before, doorbell)?.context).toMatchObject({ in_flight: 1 })
  expect(before).toEqual(copy)
})
