// What a seeded run promises: the same seed is the same run, a schedule repeats it, and what fails is shrunk to a
// list that a person can read.

import { expect, test } from 'vitest'
import type { Rule } from '../kit/rules.ts'
import { simulationOf } from '../kit/simulation/rules.ts'
import { shrink } from '../kit/simulation/shrink.ts'
import { simulate } from '../kit/simulation/simulation.ts'

const topologies = [
  ...([1, 2].map((seed) => ['shared', seed]) as ['shared', number][]),
  ...([1, 2].map((seed) => ['disk', seed]) as ['disk', number][]),
]

test.each(topologies)('on the %s store seed %i gives the same run twice', async (store, seed) => {
  const options = { seed, steps: 500, topology: { store } }
  const one = await simulate(options)
  const other = await simulate(options)
  expect(one.digest).toBe(other.digest)
  expect(one.trace).toEqual(other.trace)
})

test.each(topologies)('on the %s store the schedule of seed %i gives its run again', async (store, seed) => {
  const options = { seed, steps: 500, topology: { store } }
  const { made, digest } = await simulate(options)
  const again = await simulate({ ...options, schedule: made })
  expect(again.digest).toBe(digest)
  expect(again.made).toEqual(made)
})

test('a run without deviations does nothing but start', async () => {
  const { made, reached, violations } = await simulate({ seed: 1, steps: 200, schedule: [] })
  expect(made).toEqual([])
  expect([...reached]).toEqual([])
  expect(violations).toEqual([])
})

const foundAs: [Rule, string][] = [
  ['R2', 'cleaned_only_if_gone'],
  ['R4', 'fence_grows'],
]

test.each(foundAs)(
  'with rule %s off, the run that finds it is shrunk to at most 15 choices',
  async (rule, invariant) => {
    const { options, firstSeed } = simulationOf(rule)
    const told: number[] = []
    const shrunk = await shrink(
      { ...options, seed: firstSeed },
      { runs: 300, onProgress: ({ choices }) => told.push(choices) },
    )
    expect(shrunk.invariant).toBe(invariant)
    expect(shrunk.schedule.length).toBeLessThanOrEqual(15)
    expect(told).toEqual([...told].sort((a, b) => b - a))
    // It is a run like any other.
    const again = await simulate({
      ...options,
      seed: firstSeed,
      schedule: shrunk.schedule,
      steps: shrunk.steps,
    })
    expect(again.violations[0]?.invariant).toBe(invariant)
    expect(again.digest).toBe(shrunk.result.digest)
    expect(again.trace.at(-1)).toMatchObject({ kind: 'violation', invariant })
  },
  120_000,
)

test('a run in which all holds can not be shrunk', async () => {
  await expect(shrink({ seed: 1, steps: 100 })).rejects.toThrow('nothing is violated with seed 1')
})
