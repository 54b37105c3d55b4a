// A simulated run as text: the seed, and where it deviates from what the seed alone would do. Written by the
// shrinker, read by people, committed, replayed. It knows the format and nothing of what the choices mean.

import { nearest } from '../../machines/error.ts'
import type { Json } from '../../machines/row.ts'
import { RekindleError } from '../../runtime/error.ts'

/** One choice that is made otherwise than by default. */
export interface ScenarioChoice {
  /** The how-manyth time, from 0, that this choice was come to. */
  readonly at: number
  /** Which choice and, after a colon, what is chosen, for people: `fault: kill p1`. No ` = ` in it. */
  readonly label: string
  readonly choice: number
}

export interface Scenario {
  /** What it shows, in a few lines; the comment at the top. */
  readonly shows: string
  readonly seed: number
  /** Steps with faults. */
  readonly steps: number
  /** Whatever else the run was started with. */
  readonly options: { readonly [name: string]: Json }
  /** Rules that are switched off: `R2`. */
  readonly rules_off: readonly string[]
  /** The invariant that is violated, or `holds`. */
  readonly expect: string
  readonly choices: readonly ScenarioChoice[]
}

/** The text is no scenario; `line` says where, counted from 1. */
export function badScenario(line: number, message: string): RekindleError {
  return new RekindleError('bad_input', `line ${line}: ${message}`, {
    issues: [{ path: `line ${line}`, message }],
  })
}

const words = ['seed', 'steps', 'option', 'rule-off', 'expect', 'at'] as const
type Word = (typeof words)[number]

/**
 * The text of a scenario. `parseScenario` gives back an equal one.
 *
 * @example
 * ```ts
 * scenarioText({ shows: 'A fast restart.', seed: 7, steps: 40, options: { cluster: 'h1' }, rules_off: ['R2'],
 *   expect: 'one_worker', choices: [{ at: 12, label: 'fault: kill p1', choice: 1 }] })
 * // # A fast restart.
 * // seed 7
 * // steps 40
 * // option cluster "h1"
 * // rule-off R2
 * // expect one_worker
 * //
 * // at 12 fault: kill p1 = 1
 * ```
 */
export function scenarioText(scenario: Scenario): string {
  const { shows, seed, steps, options, rules_off, expect, choices } = scenario
  const lines = [
    ...(shows === '' ? [] : shows.split('\n').map((line) => `# ${line}`.trimEnd())),
    `seed ${seed}`,
    `steps ${steps}`,
    ...Object.entries(options).map(([name, value]) => `option ${name} ${JSON.stringify(value)}`),
    ...rules_off.map((rule) => `rule-off ${rule}`),
    `expect ${expect}`,
    '',
    ...choices.map(({ at, label, choice }) => `at ${at} ${oneLine(label)} = ${choice}`),
  ]
  return `${lines.join('\n').trimEnd()}\n`
}

/** Reads a scenario; throws `bad_input`, which names the line and what is wrong with it. */
export function parseScenario(text: string): Scenario {
  const reading = new Reading()
  text.split(/\r?\n/).forEach((line, index) => {
    reading.take(line.trimEnd(), index + 1)
  })
  return reading.end(text.split('\n').length)
}

class Reading {
  readonly #shows: string[] = []
  readonly #numbers = new Map<'seed' | 'steps', number>()
  readonly #options: { [name: string]: Json } = {}
  readonly #rules: string[] = []
  readonly #choices: ScenarioChoice[] = []
  #expect: string | null = null
  /** Comments further down are the reader's own and are not kept. */
  #isAtTop = true

  take(line: string, number: number): void {
    if (line.startsWith('#')) {
      if (this.#isAtTop) this.#shows.push(line.replace(/^# ?/, ''))
      return
    }
    if (line.trim() === '') return
    this.#isAtTop = false
    const [word] = line.split(/\s+/, 1) as [string]
    const rest = line.slice(word.length).trim()
    if (!isWord(word))
      throw badScenario(
        number,
        `'${word}' is no word of a scenario${nearest(word, words)}; known: ${words.join(', ')}`,
      )
    this.#takeWord(word, rest, number)
  }

  #takeWord(word: Word, rest: string, line: number): void {
    if (word === 'seed' || word === 'steps') this.#takeNumber(word, rest, line)
    else if (word === 'option') this.#takeOption(rest, line)
    else if (word === 'rule-off') {
      if (!/^R\d+$/.test(rest)) throw badScenario(line, `'${rest}' is no rule, such as R2`)
      this.#rules.push(rest)
    } else if (word === 'expect') {
      if (this.#expect !== null) throw badScenario(line, "'expect' was said before")
      if (!/^[a-z_]+$/.test(rest))
        throw badScenario(line, `'${rest}' is no invariant, such as one_worker, nor 'holds'`)
      this.#expect = rest
    } else this.#takeChoice(rest, line)
  }

  #takeNumber(word: 'seed' | 'steps', rest: string, line: number): void {
    if (this.#numbers.has(word)) throw badScenario(line, `'${word}' was said before`)
    this.#numbers.set(word, wholeNumber(word, rest, line))
  }

  #takeOption(rest: string, line: number): void {
    const [, name, value] = /^([A-Za-z_]\w*)\s+(.+)$/.exec(rest) ?? []
    if (name === undefined)
      throw badScenario(line, `'option ${rest}' lacks a name and a value, as in: option cluster "h1"`)
    if (Object.hasOwn(this.#options, name)) throw badScenario(line, `option '${name}' was said before`)
    try {
      Object.defineProperty(this.#options, name, {
        ...{ value: JSON.parse(value!) as Json, enumerable: true, configurable: true, writable: true },
      })
    } catch {
      throw badScenario(line, `the value of option '${name}' is not JSON: ${value}`)
    }
  }

  #takeChoice(rest: string, line: number): void {
    const [, at, label, choice] = /^(\S+)\s+(.*?)\s*= (\S+)$/.exec(rest) ?? []
    if (at === undefined)
      throw badScenario(line, `'at ${rest}' is no choice, as in: at 12 fault: kill p1 = 1`)
    const place = wholeNumber('at', at, line)
    const [point] = label!.split(':', 1) as [string]
    if (this.#choices.some((other) => other.at === place && other.label.split(':', 1)[0] === point))
      throw badScenario(line, `choice ${place} of '${point}' was made before`)
    this.#choices.push({ at: place, label: label!, choice: wholeNumber('the choice', choice!, line) })
  }

  end(lines: number): Scenario {
    const needed = (word: 'seed' | 'steps'): number => {
      const value = this.#numbers.get(word)
      if (value === undefined) throw badScenario(lines, `'${word}' is missing`)
      return value
    }
    const seed = needed('seed')
    const steps = needed('steps')
    if (this.#expect === null)
      throw badScenario(lines, "'expect' is missing: the invariant that is violated, or 'holds'")
    return {
      ...{ shows: this.#shows.join('\n'), seed, steps, options: this.#options },
      ...{ rules_off: this.#rules, expect: this.#expect, choices: this.#choices },
    }
  }
}

function isWord(word: string): word is Word {
  return (words as readonly string[]).includes(word)
}

function wholeNumber(what: string, text: string, line: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw badScenario(line, `${what} must be a whole number, and is '${text}'`)
  return value
}

function oneLine(label: string): string {
  return label.replace(/\s+/g, ' ').replaceAll(' = ', ' is ').trim()
}
