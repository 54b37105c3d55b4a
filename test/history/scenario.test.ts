// The text of a scenario: read and written without loss, and what is wrong with a bad one is told by its line.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RekindleError } from '../../runtime/error.ts'
import { parseScenario, type Scenario, scenarioText } from '../kit/scenario.ts'

const fastRestart: Scenario = {
  shows: 'A node is killed and starts again.\n\nA scheduler cleans the second life for the first.',
  seed: 7,
  steps: 40,
  options: { cluster: 'h1', faults: ['kill'] },
  rules_off: ['R2'],
  expect: 'one_worker',
  choices: [
    { at: 12, label: 'fault: kill p1', choice: 1 },
    { at: 30, label: 'step h2: swap answered', choice: 3 },
  ],
}

test('a scenario is text that people read', () => {
  expect(scenarioText(fastRestart)).toMatchInlineSnapshot(`
    "# A node is killed and starts again.
    #
    # A scheduler cleans the second life for the first.
    seed 7
    steps 40
    option cluster "h1"
    option faults ["kill"]
    rule-off R2
    expect one_worker

    at 12 fault: kill p1 = 1
    at 30 step h2: swap answered = 3
    "
  `)
})

const line = fc.stringMatching(/^[ -~]*$/).map((text) => text.trim())
const label = line.map((text) => text.replace(/\s+/g, ' ').replaceAll(' = ', ' is '))
const scenario: fc.Arbitrary<Scenario> = fc.record({
  shows: fc.array(line, { maxLength: 3 }).map((lines) => lines.join('\n').trim()),
  seed: fc.maxSafeNat(),
  steps: fc.nat(),
  options: fc.dictionary(fc.stringMatching(/^[a-z_]{1,9}$/), fc.jsonValue() as fc.Arbitrary<string>, {
    noNullPrototype: true,
  }),
  rules_off: fc.array(fc.constantFrom('R1', 'R2', 'R17')),
  expect: fc.constantFrom('holds', 'one_worker'),
  choices: fc.uniqueArray(fc.record({ at: fc.nat(), label, choice: fc.nat() }), { selector: ({ at }) => at }),
})

test('what is written is read again, whatever it is', () => {
  fc.assert(
    fc.property(scenario, (some) => {
      const { options, ...rest } = parseScenario(scenarioText(some))
      const { options: given, ...wanted } = some
      expect(rest).toEqual(wanted)
      expect(JSON.stringify(options)).toBe(JSON.stringify(given))
    }),
    { numRuns: 500, seed: 4 },
  )
})

test('comments, empty lines and the line ends of other systems are no matter', () => {
  const text = scenarioText(fastRestart)
  const edited = text.replaceAll('\n', '\r\n').replace('at 30', '\r\n# here it goes wrong\r\nat 30')
  expect(parseScenario(edited)).toEqual(fastRestart)
})

describe('a bad line is named', () => {
  const good = 'seed 1\nsteps 2\nexpect holds\n'
  const cases: readonly [text: string, message: string][] = [
    ['', "line 1: 'seed' is missing"],
    ['seed 1\nsteps 2\n', "line 3: 'expect' is missing: the invariant that is violated, or 'holds'"],
    ['sed 1\n', "line 1: 'sed' is no word of a scenario"],
    ['seed one\n', "line 1: seed must be a whole number, and is 'one'"],
    ['seed 1\nseed 2\n', "line 2: 'seed' was said before"],
    ['seed -1\n', "line 1: seed must be a whole number, and is '-1'"],
    [`${good}option cluster\n`, "line 4: 'option cluster' lacks a name and a value"],
    [`${good}option cluster h1\n`, "line 4: the value of option 'cluster' is not JSON: h1"],
    [`${good}option a 1\noption a 2\n`, "line 5: option 'a' was said before"],
    [`${good}rule-off two\n`, "line 4: 'two' is no rule, such as R2"],
    ['expect No!\n', "line 1: 'No!' is no invariant"],
    [`${good}expect holds\n`, "line 4: 'expect' was said before"],
    [
      `${good}at 12 fault: kill p1\n`,
      "line 4: 'at 12 fault: kill p1' is no choice, as in: at 12 fault: kill p1 = 1",
    ],
    [`${good}at x kill h1 = 1\n`, "line 4: at must be a whole number, and is 'x'"],
    [`${good}at 1 kill h1 = many\n`, "line 4: the choice must be a whole number, and is 'many'"],
    [`${good}at 5 a: b = 1\nat 5 a: c = 1\n`, "line 5: choice 5 of 'a' was made before"],
  ]
  test.each(cases)('%j', (text, message) => {
    expect(() => parseScenario(text)).toThrow(RekindleError)
    expect(() => parseScenario(text)).toThrow(message)
  })
})
