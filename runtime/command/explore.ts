// explore: every reachable state of a small configuration of the shipped charts, with the faults of a budget at
// every moment. Prints the verdicts; a violation with the shortest way to it. The search is the testing
// kit's: this says what to search, and tells what was found.

import { type Command, Option } from 'commander'
import type { Exploration, ExplorationProgress, ExploreOptions, Rule } from 'rekindle/testing'
import type { RekindleError } from '../index.ts'
import { EXIT, usage } from './exit.ts'
import { whole, withExample } from './options.ts'
import { print, printJson, tell } from './output.ts'

interface Given {
  readonly kind?: string
  readonly nodes: number
  readonly resources: number
  readonly operations: number
  readonly schedulers: number
  readonly crashes: number
  readonly pauses: number
  readonly lostDoorbells: number
  readonly duplicatedDoorbells: number
  readonly failures: number
  readonly twins: number
  readonly clusterIsHost?: true
  readonly oneProcess?: true
  readonly withoutFence?: true
  readonly only?: readonly string[]
  readonly ruleOff?: string
  readonly smallest?: true
  readonly mostStates: number
  readonly within: number
  readonly json?: true
}

/** Between two progress lines where nobody watches a terminal. */
const LINE_EVERY_MS = 10_000
const REDRAW_EVERY_MS = 500

export function addExploreCommand(program: Command): void {
  const budget = (name: string, what: string, usual: string) =>
    new Option(`${name} <count>`, what).argParser(whole(name, 0, 7)).default(Number(usual))
  const command = program
    .command('explore')
    .description('visit every reachable state of a small cluster, faults included')
    .option('--kind <kind>', 'whose resources: volume, snapshot or backup (default: volume)')
    .option('--only <operation...>', 'ask for these operations only')
    .addOption(new Option('--nodes <count>').argParser(whole('--nodes', 1, 4)).default(2))
    .addOption(new Option('--resources <count>').argParser(whole('--resources', 1, 3)).default(1))
    .addOption(budget('--operations', 'operations that clients ask for', '2'))
    .addOption(new Option('--schedulers <count>').argParser(whole('--schedulers', 0, 3)).default(2))
    .addOption(budget('--crashes', 'crashes of a node or a scheduler', '1'))
    .addOption(budget('--pauses', 'live nodes whose beats stand still', '0'))
    .addOption(budget('--lost-doorbells', 'doorbells lost', '0'))
    .addOption(budget('--duplicated-doorbells', 'doorbells that come twice', '0'))
    .addOption(budget('--failures', 'driver calls that fail', '0'))
    .addOption(budget('--twins', 'further processes configured as the first host', '0'))
    .option('--cluster-is-host', 'the cluster is named as its first host (rule R17)')
    .option('--one-process', 'all nodes in one process: a crash ends a node alone')
    .option('--without-fence', 'the driver has no mark at its backend')
    .option('--rule-off <rule>', 'switch a rule of the protocol off, from outside: R1, R2, ...')
    .option('--smallest', 'with --rule-off: the smallest configuration that finds it, whatever else is given')
    .addOption(
      new Option('--most-states <count>', 'give up at so many states, about 100 bytes each')
        .argParser(whole('--most-states', 1, 1_000_000_000))
        .default(20_000_000),
    )
    .addOption(
      new Option('--within <seconds>', 'give up after so long')
        .argParser(whole('--within', 1, 1_000_000))
        .default(3_600),
    )
    .option('--json', 'print one JSON value')
    .action(run)
  command.addHelpText(
    'after',
    '\nEnds with 0 if all holds, 1 if an invariant is violated, 5 if it was not finished.',
  )
  withExample(
    command,
    'rekindle explore --nodes 2 --operations 2 --crashes 1',
    'rekindle explore --crashes 0 --pauses 1   # a live node is declared down',
    'rekindle explore --rule-off R2 --smallest',
  )
}

async function run(given: Given): Promise<void> {
  const kit = await import('rekindle/testing')
  const options = optionsFrom(given, kit)
  const stopping = new AbortController()
  process.on('SIGINT', () => stopping.abort())
  process.on('SIGTERM', () => stopping.abort())
  const meter = new Meter()
  if (!given.json) tell('exploring; Ctrl-C stops it and tells what was done')
  let found: Exploration
  try {
    found = await kit.explore({
      ...options,
      limits: { states: given.mostStates, ms: given.within * 1_000 },
      onProgress: (progress) => meter.show(progress),
      signal: stopping.signal,
    })
  } catch (error) {
    if ((error as RekindleError).code === 'bad_input') throw usage((error as RekindleError).message)
    throw error
  } finally {
    meter.end()
  }
  if (given.json) printJson(found)
  else for (const line of linesFor(found, kit.diagram)) print(line)
  process.exitCode =
    found.counterexample !== null ? EXIT.failed : found.complete ? EXIT.done : EXIT.unfinished
}

function optionsFrom(
  given: Given,
  kit: { readonly rules: readonly string[]; explorationOf(rule: Rule): ExploreOptions },
): ExploreOptions {
  const { ruleOff, smallest, json: _, mostStates: __, within: ___, ...rest } = given
  if (ruleOff !== undefined && !kit.rules.includes(ruleOff))
    throw usage(`--rule-off ${ruleOff}: say one of ${kit.rules.join(', ')}`)
  const off = ruleOff as Rule | undefined
  if (smallest) {
    if (off === undefined) throw usage('--smallest needs --rule-off')
    return { ...kit.explorationOf(off), ruleOff: off }
  }
  const { oneProcess, withoutFence, ...options } = rest
  return {
    ...options,
    ...(off === undefined ? {} : { ruleOff: off }),
    ...(oneProcess ? { process: 'one' as const } : {}),
    ...(withoutFence ? { driver: { fences: false } } : {}),
  }
}

/** How far it is, on stderr: a line that is drawn over on a terminal, else one now and then. */
class Meter {
  #told = 0
  #drawn = false

  show(progress: ExplorationProgress): void {
    const isTerminal = process.stderr.isTTY === true
    if (progress.ms - this.#told < (isTerminal ? REDRAW_EVERY_MS : LINE_EVERY_MS)) return
    this.#told = progress.ms
    const { states, frontier, depth, ms, transitions, bytes } = progress
    const line = `${number(states)} states, ${number(frontier)} to look at, depth ${depth}, ${number((transitions * 1_000) / ms)} successors/s, ${megabytes(bytes)}`
    if (!isTerminal) {
      tell(line)
      return
    }
    process.stderr.write(`\r\x1b[K${line}`)
    this.#drawn = true
  }

  end(): void {
    if (this.#drawn) process.stderr.write('\r\x1b[K')
  }
}

/** `1 crash`, `2 lost doorbells`, of the names of a budget. */
function counted(count: number, name: string): string {
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return `${count} ${count === 1 ? words.replace(/(crash)es$|s$/, '$1') : words}`
}

const number = (value: number) => Math.round(value).toLocaleString('en-US')
const megabytes = (bytes: number) => `${number(bytes / 1_000_000)} MB`

const WHY: { readonly [W in Exploration['why']]: string } = {
  'all states': 'every reachable state was seen',
  violated: 'an invariant is violated',
  'most states': 'NOT FINISHED: as many states as were allowed (--most-states)',
  'most time': 'NOT FINISHED: as long as was allowed (--within)',
  stopped: 'NOT FINISHED: stopped',
}

function linesFor(found: Exploration, diagram: (trace: never) => string): string[] {
  const { counterexample, invariants, sometimes, leftOut } = found
  const missed = Object.entries(sometimes).filter(([, reached]) => !reached)
  const lines = [
    found.configuration,
    ...leftOut.map(({ operation, why }) => `  left out: ${operation} (${why})`),
    `${WHY[found.why]}: ${number(found.states)} states, ${number(found.transitions)} transitions, depth ${found.depth}`,
    `${number(found.states_per_second)} states/s, ${number(found.successors_per_second)} successors/s, ${megabytes(found.bytes)}, ${(found.ms / 1_000).toFixed(1)} s`,
    '',
    ...Object.entries(invariants).map(([name, verdict]) => `  ${name.padEnd(26)}${verdict}`),
    '',
    `  reached: ${Object.entries(sometimes)
      .filter(([, reached]) => reached)
      .map(([name]) => name)
      .join(', ')}`,
    ...(missed.length === 0 ? [] : [`  never: ${missed.map(([name]) => name).join(', ')}`]),
  ]
  if (counterexample === null) return lines
  const { invariant, message, steps, faults, trace } = counterexample
  const used = Object.entries(faults).filter(([, count]) => count > 0)
  return [
    ...lines,
    '',
    `VIOLATED ${invariant}: ${message}`,
    `after ${steps.length} steps; faults used: ${used.length === 0 ? 'none' : used.map(([name, count]) => counted(count, name)).join(', ')}`,
    '',
    ...steps.map((step, i) => `${String(i + 1).padStart(4)}  ${step}`),
    '',
    diagram(trace as never),
  ]
}
