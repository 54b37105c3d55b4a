// Seeded runs of the shipped runtime in a simulated world of three processes. A failing seed is printed with
// the command that replays it; SEEDS, FROM and STEPS widen the search.

import { expect, test } from 'vitest'
import { simulate } from '../kit/simulation/simulation.ts'

const seeds = Number(process.env.SEEDS ?? 20)
const steps = Number(process.env.STEPS ?? 2_000)
const from = Number(process.env.FROM ?? 1)

for (const cluster of ['ssd', 'h1'])
  test(`every invariant holds in ${seeds} seeded runs of ${steps} steps (cluster ${cluster})`, async () => {
    const reached = new Set<string>()
    for (let seed = from; seed < from + seeds; seed++) {
      const { violations, trace, ...result } = await simulate({ seed, steps, cluster })
      for (const name of result.reached) reached.add(name)
      if (violations.length === 0) continue
      const replay = `FROM=${seed} SEEDS=1 STEPS=${steps} npx vitest run test/simulation`
      expect.fail(
        `${replay}\n${violations.map(({ invariant, message }) => `${invariant}: ${message}`).join('\n')}\n${trace.slice(-40).join('\n')}`,
      )
    }
    // A run that never meets a zombie is blind.
    expect([...reached]).toEqual(expect.arrayContaining(['zombie_refused', 'driver_hangs']))
  })

test('the same seed gives the same run', async () => {
  const [one, other] = [await simulate({ seed: 7, steps: 500 }), await simulate({ seed: 7, steps: 500 })]
  expect(other.digest).toBe(one.digest)
})
