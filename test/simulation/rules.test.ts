// The test of the tests: with each rule of the protocol switched off, alone, a seed finds it; with the rule on, the
// same seed finds nothing.

import { expect, test } from 'vitest'
import { rules } from '../kit/rules.ts'
import { simulationOf } from '../kit/simulation/rules.ts'
import { simulate } from '../kit/simulation/simulation.ts'

test.each(rules)(
  'with rule %s off its first seed violates something, and nothing with it on',
  async (rule) => {
    const { options, on, firstSeed } = simulationOf(rule)
    const broken = await simulate({ ...options, seed: firstSeed })
    expect(broken.violations).not.toEqual([])
    const { violations } = await simulate({ ...on, seed: firstSeed })
    expect(violations).toEqual([])
  },
  60_000,
)
