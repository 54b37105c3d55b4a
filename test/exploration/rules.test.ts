// The test of the tests: each rule of the protocol, switched off from outside, is found in a small
// configuration; with the rule on, the same configuration holds in every reachable state.

import { beforeAll, describe, expect, test } from 'vitest'
import { type Exploration, explorationOf, explore } from '../kit/exploration/index.ts'
import { INVARIANTS } from '../kit/exploration/state.ts'
import { type Rule, rules } from '../kit/rules.ts'

/** The invariant that is broken first where the rule is off. */
const broken: { readonly [R in Rule]: string } = {
  R1: 'finish_by_owner',
  R2: 'cleaned_only_if_gone',
  R3: 'all_at_rest',
  R4: 'fence_grows',
  R5: 'cleaned_only_if_gone',
  R6: 'all_at_rest',
  R7: 'accept_at_rest',
  R8: 'one_worker',
  R9: 'all_at_rest',
  R11: 'cleaned_only_if_gone',
  R17: 'one_worker',
  R18: 'one_worker',
}

describe.each(rules)('rule %s', (rule) => {
  test('switched off, is found by the shortest way', async () => {
    const { counterexample, invariants } = await explore({ ...explorationOf(rule), ruleOff: rule })
    expect(counterexample?.invariant).toBe(broken[rule])
    expect(invariants).toMatchObject({ [broken[rule]]: 'violated' })
    expect(counterexample!.steps.length).toBeLessThanOrEqual(21)
    expect(counterexample!.trace.at(-1)).toMatchObject({ kind: 'violation', invariant: broken[rule] })
  })
})

describe('with every rule on', () => {
  const found = new Map<Rule, Exploration>()
  beforeAll(async () => {
    for (const rule of rules) found.set(rule, await explore(explorationOf(rule)))
  })

  test.each(rules)('the configuration of %s holds in every reachable state', (rule) => {
    const { complete, invariants, counterexample } = found.get(rule)!
    expect(counterexample).toBeNull()
    expect(complete).toBe(true)
    expect(invariants).toEqual(Object.fromEntries(INVARIANTS.map((name) => [name, 'holds'])))
  })

  test('together they reach every place that matters: none of them is blind', () => {
    const reached = [...found.values()].flatMap(({ sometimes }) =>
      Object.entries(sometimes).flatMap(([name, was]) => (was ? [name] : [])),
    )
    expect(new Set(reached)).toEqual(new Set(Object.keys(found.get('R1')!.sometimes)))
  })
})
