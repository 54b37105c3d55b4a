// Seeded runs of the shipped runtime in a simulated world. A failing seed is printed with the command that replays
// it; SEEDS, FROM and STEPS widen the search.

import { expect, test } from 'vitest'
import { simulate } from '../kit/simulation/simulation.ts'

const seeds = Number(process.env.SEEDS ?? 20)
const steps = Number(process.env.STEPS ?? 2_000)
const from = Number(process.env.FROM ?? 1)

test(`every invariant holds in ${seeds} seeded runs of ${steps} steps`, async () => {
  for (let seed = from; seed < from + seeds; seed++) {
    const { violations } = await simulate({ seed, steps })
    if (violations.length === 0) continue
    const said = violations.map(({ invariant, message }) => `${invariant}: ${message}`)
    expect.fail([`rekindle simulate --seed ${seed} --steps ${steps}`, ...said].join('\n'))
  }
})

test.each([1, 8])('seed %i gives the same run twice, and its schedule gives it again', async (seed) => {
  const [one, other] = [await simulate({ seed, steps: 600 }), await simulate({ seed, steps: 600 })]
  expect(other.digest).toBe(one.digest)
  const again = await simulate({ seed, steps: 600, schedule: one.made })
  expect(again.digest).toBe(one.digest)
  expect(again.made).toEqual(one.made)
})
