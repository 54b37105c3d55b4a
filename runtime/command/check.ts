// check: a user's own resource types, looked at before anything runs them. The testing kit does the looking:
// tables, matrix, dead ends, every crash of a small cluster, a few simulated runs. This prints what it says.

import type { Command } from 'commander'
import { definitionsFrom } from './definition_file.ts'
import { EXIT } from './exit.ts'
import { whole, withExample } from './options.ts'
import { print, printJson, tell } from './output.ts'

interface Given {
  readonly seeds: number
  readonly matrix?: true
  readonly json?: true
}

export function addCheckCommand(program: Command): void {
  const command = program
    .command('check <file>')
    .description('check resource types of your own: tables, dead ends, what a crash leaves behind')
    .option('--seeds <count>', 'simulated runs', whole('--seeds', 0, 1_000), 5)
    .option('--matrix', 'print every (status, event) pair of each type')
    .option('--json', 'print one JSON value')
    .action(run)
  command.addHelpText(
    'after',
    `
FILE exports what defineResource gives, by name or by default, and may export
\`inputs\`, what operations are asked with:

  export const inputs = { dns_record: { create: [{ name: 'a.example', value: '192.0.2.1' }] } }

Ends with 0 if all holds, 1 if something is violated, 2 if the file or a table is bad,
5 if it was not finished.`,
  )
  withExample(
    command,
    'rekindle check dns_record.js',
    'rekindle check dns_record.ts --matrix   # needs esbuild',
  )
}

async function run(file: string, given: Given): Promise<void> {
  const { types, inputs } = await definitionsFrom(file)
  const kit = await import('rekindle/testing')
  const { verdict, checks, matrices } = await kit.checkDefinitions(types, {
    inputs,
    seeds: given.seeds,
    onCheck: ({ kind, check }) => {
      if (!given.json) tell(`${kind}: ${check}`)
    },
  })
  process.exitCode = {
    ...{ holds: EXIT.done, violated: EXIT.failed, bad: EXIT.usage, 'not finished': EXIT.unfinished },
  }[verdict]
  if (given.json) return printJson({ verdict, checks, matrices })
  if (given.matrix) for (const text of Object.values(matrices)) print(text)
  for (const { kind, check, verdict: found, message } of checks)
    print(`${found === 'holds' ? 'ok' : found.toUpperCase()}  ${kind}: ${check}: ${message}`)
  print(verdict === 'holds' ? 'all holds' : `${file}: ${verdict}`)
}
