// rekindle simulate: seeded runs of the shipped runtime in a simulated world, until a seed violates something,
// all are done, the time is over or somebody presses Ctrl-C. The kit does the work; this reads the command
// line, shows how far it is and prints what was found.

import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import type {
  FailedRun,
  FaultKind,
  Rule,
  Scenario,
  SeedsResult,
  SimulationOptions,
  SimulationResult,
} from 'rekindle/testing'
import { type Environment, realEnvironment } from '../environment.ts'
import type { RekindleError } from '../index.ts'
import { EXIT, usage } from './exit.ts'
import { whole, withExample } from './options.ts'
import { print, printJson, tell } from './output.ts'

interface Given {
  readonly seed?: number
  readonly from?: number
  readonly steps: number
  readonly seeds?: number
  readonly soak?: number
  readonly faults?: readonly string[]
  readonly ruleOff?: string
  readonly rulesOn?: true
  readonly scenario?: string
  readonly shrink?: true
  readonly json?: true
}

type Kit = typeof import('rekindle/testing')

/** How often a line is told where it can't be rewritten. */
const TELL_EVERY_MS = 10_000
const REWRITE_EVERY_MS = 200
const MOST_SEED = 2 ** 31

export function addSimulateCommand(program: Command): void {
  const command = program
    .command('simulate')
    .description('run the whole runtime in a simulated world of faults; one seed decides everything')
    .option('--seed <n>', 'the first seed (default: 1; of a soak a new one)', whole('--seed', 0, MOST_SEED))
    .option('--steps <n>', 'steps with faults in each run', whole('--steps', 1, 1_000_000), 2_000)
    .option('--seeds <count>', 'how many seeds, one after the other', whole('--seeds', 1, 1_000_000_000))
    .option('--soak <time>', 'seed after seed for this long: 30s, 10m, 8h', duration)
    .option('--from <seed>', 'the first seed of a soak', whole('--from', 0, MOST_SEED))
    .option('--faults <kinds>', 'only these kinds of faults, as far as the seed draws them', (given) =>
      given.split(','),
    )
    .option('--rule-off <rule>', 'switch a rule of the protocol off, from outside: R1, R2, ...')
    .option('--scenario <file>', 'replay the choices of a scenario')
    .option('--rules-on', 'with --scenario: replay it with every rule on')
    .option('--shrink', 'make what was violated short before it is told')
    .option('--json', 'print one JSON value')
    .addHelpText('after', '\nEnds with 0 if everything held, 1 if something was violated.')
    .action(async (given: Given) => {
      check(given)
      const kit = await import('rekindle/testing')
      process.exitCode = given.scenario === undefined ? await run(kit, given) : await replay(kit, given)
    })
  withExample(
    command,
    'rekindle simulate --seed 7 --steps 2000   # one run; the same seed is the same run',
    'rekindle simulate --seed 1 --seeds 300    # three hundred of them',
    'rekindle simulate --soak 10m              # as many as ten minutes allow, from a new seed on',
  )
}

const flag = (name: string) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

function check(given: Given): void {
  const together = (one: keyof Given, other: keyof Given, why: string) => {
    if (given[one] !== undefined && given[other] !== undefined)
      throw usage(`${flag(one)} and ${flag(other)} ${why}; give one of them`)
  }
  together('from', 'seed', 'say the same')
  together('soak', 'seeds', 'both say when it is over')
  together('faults', 'ruleOff', 'both say which faults there are')
  if (given.rulesOn && given.scenario === undefined) throw usage('--rules-on is for --scenario')
  for (const option of ['seed', 'from', 'seeds', 'soak', 'faults', 'ruleOff'] as const)
    together('scenario', option, 'both say what to run')
  if (given.from !== undefined && given.soak === undefined) throw usage('--from is for --soak; say --seed')
}

function duration(given: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(given) ?? []
  const ms = Number(count) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit as 's' | 'm' | 'h']
  if (!(ms > 0)) throw usage(`--soak ${given}: say a time such as 30s, 10m or 8h`)
  return ms
}

async function run(kit: Kit, given: Given): Promise<number> {
  const environment = realEnvironment()
  const begun = environment.monotonic()
  const { steps, soak, json } = given
  const from = given.seed ?? given.from ?? (soak === undefined ? 1 : environment.now() % MOST_SEED)
  const seeds = soak === undefined ? (given.seeds ?? 1) : Number.POSITIVE_INFINITY
  const options = optionsFrom(kit, given)
  const interrupt = interruptOnce()
  if (seeds > 1) tell(`from seed ${from} on, ${steps} steps each; Ctrl-C stops after the seed of then`)
  const line = new ProgressLine(environment, (sum) => inWords(sum, environment.monotonic() - begun))
  const sum = await kit.simulateSeeds({
    ...{ ...options, from, seeds, steps },
    isOver: () => interrupt.isAsked() || (soak !== undefined && environment.monotonic() - begun >= soak),
    onSeed: (now) => line.show(now),
  })
  line.end()
  interrupt.end()
  const elapsed = environment.monotonic() - begun
  const circumstances = { given, from, elapsed, wasInterrupted: interrupt.isAsked() }
  const found = sum.failed === null ? null : await failedRun(kit, sum.failed, options, given)
  if (json) printJson(resultOf(sum, found, circumstances))
  else report(kit, sum, found, circumstances)
  return sum.failed === null ? EXIT.done : EXIT.failed
}

function optionsFrom(kit: Kit, { faults, ruleOff }: Given): Omit<SimulationOptions, 'seed' | 'steps'> {
  if (ruleOff !== undefined) {
    if (!kit.rules.includes(ruleOff as Rule))
      throw usage(`--rule-off ${ruleOff}: say one of ${kit.rules.join(', ')}`)
    return kit.simulationOf(ruleOff as Rule).options
  }
  if (faults === undefined) return {}
  for (const name of faults)
    if (!kit.faultKinds.includes(name as FaultKind))
      throw usage(`--faults ${name}: say some of ${kit.faultKinds.join(', ')}`)
  return { mix: kit.onlyFaults(faults as readonly FaultKind[]) }
}

async function replay(kit: Kit, { scenario: file, rulesOn, json }: Given): Promise<number> {
  const read = readScenario(kit, file!)
  const scenario = rulesOn ? { ...read, rules_off: [], expect: 'holds' } : read
  const result = await kit.simulate(kit.replayOf(scenario))
  const found = result.violations[0]?.invariant ?? 'holds'
  const isExpected = found === scenario.expect
  const command = `rekindle simulate --scenario ${file}${rulesOn ? ' --rules-on' : ''}`
  const { violations, trace, digest } = result
  if (json)
    printJson({
      ...{ verdict: violations.length === 0 ? 'holds' : 'violated', expected: scenario.expect, violations },
      ...{ digest, trace },
    })
  else if (violations.length === 0) print(`every invariant held${isExpected ? ', as expected' : ''}`)
  else print(kit.counterexampleText({ command, violations, scenario, trace }))
  if (!isExpected) tell(`expected was ${scenario.expect}, found ${found}`)
  return violations.length === 0 ? EXIT.done : EXIT.failed
}

function readScenario(kit: Kit, file: string): Scenario {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw usage(`--scenario ${file}: ${(error as Error).message}`)
  }
  try {
    return kit.parseScenario(text)
  } catch (error) {
    if ((error as RekindleError).code === 'bad_input')
      throw usage(`--scenario ${file}: ${(error as RekindleError).message}`)
    throw error
  }
}

interface Circumstances {
  readonly given: Given
  readonly from: number
  readonly elapsed: number
  readonly wasInterrupted: boolean
}

function report(
  kit: Kit,
  sum: SeedsResult,
  found: FailedRun | null,
  { given, from, elapsed, wasInterrupted }: Circumstances,
): void {
  if (found !== null) print(kit.counterexampleText(found))
  const last = sum.next - 1
  const which = last === from ? `seed ${from}` : `seeds ${from} to ${last}`
  const end = wasInterrupted ? ' (interrupted)' : ''
  print(`${which}, ${given.steps} steps each: ${inWords(sum, elapsed)}${end}`)
  const reached = [...sum.reached].sort().map(([name, runs]) => `${name} in ${runs}`)
  print(`reached: ${reached.length === 0 ? 'nothing' : reached.join(', ')}`)
  if (sum.failed === null) print('every invariant held')
}

async function failedRun(
  kit: Kit,
  failed: SimulationResult,
  options: Omit<SimulationOptions, 'seed' | 'steps'>,
  { steps, faults, ruleOff, shrink }: Given,
): Promise<FailedRun> {
  const flags = [
    ...(faults === undefined ? [] : [`--faults ${faults.join(',')}`]),
    ...(ruleOff === undefined ? [] : [`--rule-off ${ruleOff}`]),
  ]
  const command = [`rekindle simulate --seed ${failed.seed} --steps ${steps}`, ...flags].join(' ')
  const rules_off = ruleOff === undefined ? [] : [ruleOff]
  const shows = `Found by: ${command}`
  if (!shrink) {
    const { violations, trace } = failed
    return { command, violations, trace, scenario: kit.scenarioOf(failed, { steps, shows, rules_off }) }
  }
  const shrunk = await kit.shrink({ ...options, seed: failed.seed, steps })
  const { violations, trace } = shrunk.result
  const scenario = kit.scenarioOf(shrunk.result, { steps: shrunk.steps, shows, rules_off })
  return { command: `${command} --shrink`, violations, trace, scenario }
}

function resultOf(
  sum: SeedsResult,
  found: FailedRun | null,
  { given, from, elapsed, wasInterrupted }: Circumstances,
): Readonly<Record<string, unknown>> {
  const { seeds, commits, reached, failed } = sum
  return {
    ...{ verdict: failed === null ? 'holds' : 'violated', from, seeds, steps: given.steps, commits },
    ...{ elapsed_ms: Math.round(elapsed), interrupted: wasInterrupted },
    reached: Object.fromEntries([...reached].sort()),
    failed: failed === null ? null : { seed: failed.seed, digest: failed.digest, ...found },
  }
}

function inWords({ seeds, commits, failed }: SeedsResult, elapsed: number): string {
  const seconds = Math.max(0.001, elapsed / 1_000)
  const verdict =
    failed === null ? 'no violation' : `seed ${failed.seed} violates ${failed.violations[0]!.invariant}`
  const count = `${seeds} ${seeds === 1 ? 'seed' : 'seeds'}`
  return `${count}, ${commits} commits, ${seconds.toFixed(1)} s, ${(seeds / seconds).toFixed(1)} seeds/s, ${verdict}`
}

/** The first Ctrl-C lets the seed of now end; the second is the system's. */
function interruptOnce(): { isAsked(): boolean; end(): void } {
  let isAsked = false
  const onInterrupt = () => {
    isAsked = true
    tell('\nstopping after this seed (once more to end at once)')
  }
  process.once('SIGINT', onInterrupt)
  return { isAsked: () => isAsked, end: () => void process.removeListener('SIGINT', onInterrupt) }
}

/** On a terminal a line that is rewritten; elsewhere one now and then. */
class ProgressLine {
  readonly #environment: Environment
  readonly #words: (sum: SeedsResult) => string
  #told: number
  #isOpen = false

  constructor(environment: Environment, words: (sum: SeedsResult) => string) {
    this.#environment = environment
    this.#words = words
    this.#told = environment.monotonic()
  }

  show(sum: SeedsResult): void {
    const now = this.#environment.monotonic()
    const isTerminal = process.stderr.isTTY === true
    if (now - this.#told < (isTerminal ? REWRITE_EVERY_MS : TELL_EVERY_MS)) return
    this.#told = now
    this.#isOpen = isTerminal
    if (isTerminal) process.stderr.write(`\r\x1b[K${this.#words(sum)}`)
    else tell(this.#words(sum))
  }

  end(): void {
    if (this.#isOpen) process.stderr.write('\r\x1b[K')
  }
}
