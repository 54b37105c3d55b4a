// Every committed scenario is replayed: as it says, with its rules off, and again with every rule on, where
// everything must hold. The same file shows the fault and that the rule closes it.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseScenario, scenarioText } from '../kit/scenario.ts'
import { replayOf } from '../kit/seeds.ts'
import { simulate } from '../kit/simulation/simulation.ts'

const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.scenario'))

async function verdictOf(scenario: ReturnType<typeof parseScenario>): Promise<string> {
  const { violations } = await simulate(replayOf(scenario))
  return violations[0]?.invariant ?? 'holds'
}

describe.each(files)('%s', (file) => {
  const text = readFileSync(join(import.meta.dirname, file), 'utf8')
  const scenario = parseScenario(text)

  test(`ends in ${scenario.expect}`, async () => {
    expect(await verdictOf(scenario)).toBe(scenario.expect)
  })

  test('with every rule on, everything holds', async () => {
    expect(await verdictOf({ ...scenario, rules_off: [] })).toBe('holds')
  })

  test('is written as it would be', () => {
    expect(scenarioText(scenario)).toBe(text)
  })
})

test('the restart that a cleaner takes for its former life is among them, in at most 15 choices', () => {
  const [file] = files.filter((name) => name.startsWith('r2_'))
  const { rules_off, choices } = parseScenario(readFileSync(join(import.meta.dirname, file!), 'utf8'))
  expect(rules_off).toEqual(['R2'])
  expect(choices.length).toBeLessThanOrEqual(15)
})
