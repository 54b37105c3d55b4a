// npm run mutations: makes one line of the shipped code wrong at a time, in a copy, and expects a test to turn
// red. Prints what was red by which test; exits 1 when a mutation survives or proves nothing, 130 on Ctrl-C.

import { parseArgs } from 'node:util'
import { Bench, type Outcome, repository } from './bench.ts'
import { type Mutation, mutations } from './mutations.ts'

const HELP = `npm run mutations -- [--only NAME[,NAME...]] [--at-once N] [--json]

Applies one-line mutations of machines/, store/ and runtime/ one by one to a copy of the repository and runs
the tests that are to turn red. The working tree is only read.

  --only NAME      these only; a part of the name is enough
  --at-once N      copies that work side by side (default 2)
  --skip-control   don't see first that the tests are green without a mutation
  --json           the table as JSON on stdout
  --list           the mutations, without running anything
  --help           this text

Exits 0 when every mutation turned a test red, 1 when one survived or proves nothing.
`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    'at-once': { type: 'string', default: '2' },
    'skip-control': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Row {
  readonly mutation: Mutation
  readonly outcome: Outcome
}

const say = (line: string) => process.stderr.write(`${line}\n`)
const print = (text: string) => process.stdout.write(`${text}\n`)
const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`

function told(outcome: Outcome): string {
  if (outcome.verdict === 'red') return `${outcome.test}: ${outcome.by}`
  return outcome.verdict === 'survived' ? 'SURVIVED: no test turned red' : `VOID: ${outcome.why}`
}

function table(rows: readonly Row[]): string {
  const cells = rows.map(({ mutation, outcome }) => [
    mutation.name,
    mutation.breaks,
    seconds(outcome.ms),
    told(outcome),
  ])
  const lines = [['mutation', 'breaks', 'after', 'red by'], ...cells]
  const widths = [0, 1, 2].map((column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .join('\n')
}

function chosen(): readonly Mutation[] {
  const asked = values.only?.split(',') ?? ['']
  for (const part of asked)
    if (!mutations.some(({ name }) => name.includes(part))) throw new Error(`no mutation is named '${part}'`)
  return mutations.filter(({ name }) => asked.some((part) => name.includes(part)))
}

async function main(): Promise<number> {
  if (values.help) {
    print(HELP.trimEnd())
    return 0
  }
  const todo = chosen()
  if (values.list) {
    print(values.json ? JSON.stringify(todo, null, 2) : todo.map((m) => `${m.name}: ${m.breaks}`).join('\n'))
    return 0
  }
  const began = performance.now()
  const benches: Bench[] = []
  const close = () => {
    for (const bench of benches) bench.close()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      close()
      process.exit(signal === 'SIGINT' ? 130 : 143)
    })
  try {
    const copies = Math.min(Math.max(1, Number(values['at-once']) || 1), todo.length)
    for (let copy = 0; copy < copies; copy++) benches.push(await Bench.copyOf(repository()))
    if (!values['skip-control']) {
      const files = [...new Set(todo.flatMap(({ tests }) => tests))]
      say(`control: ${files.length} test files without a mutation`)
      const { failed, broken } = await benches[0]!.run(files)
      if (failed.length > 0 || broken !== null) {
        for (const { title, message } of failed) say(`red without any mutation: ${title}: ${message}`)
        if (broken !== null) say(broken)
        return 1
      }
      say(`control: green after ${seconds(performance.now() - began)}`)
    }
    const rows = await all(benches, todo)
    const bad = rows.filter(({ outcome }) => outcome.verdict !== 'red')
    if (values.json)
      print(
        JSON.stringify(
          rows.map(({ mutation, outcome }) => ({ ...mutation, ...outcome })),
          null,
          2,
        ),
      )
    else print(table(rows))
    say(
      `${rows.length} mutations: ${rows.length - bad.length} red, ${bad.length} not; ${seconds(performance.now() - began)}`,
    )
    return bad.length === 0 ? 0 : 1
  } finally {
    close()
  }
}

/** In the order of the list, whichever copy was done first. */
async function all(benches: readonly Bench[], todo: readonly Mutation[]): Promise<Row[]> {
  const rows: Row[] = []
  let next = 0
  const work = async (bench: Bench) => {
    for (let index = next++; index < todo.length; index = next++) {
      const mutation = todo[index]!
      const outcome = await bench.try(mutation)
      rows[index] = { mutation, outcome }
      const done = rows.filter((row) => row !== undefined).length
      say(`${done}/${todo.length} ${mutation.name} (${seconds(outcome.ms)}): ${told(outcome)}`)
    }
  }
  await Promise.all(benches.map(work))
  return rows
}

process.exitCode = await main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error))
  return 1
})
