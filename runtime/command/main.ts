#!/usr/bin/env node
// The command. Every subcommand loads what it needs when it is called, and ends with a code of exit.ts.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, CommanderError } from 'commander'
import { addCommands } from './commands.ts'
import { EXIT, Exit } from './exit.ts'
import { withExample } from './options.ts'
import { printJson, tell } from './output.ts'
import { OperationFailed } from './wait.ts'

const program = new Command('rekindle')
  .description('Long-running operations on resources that survive their node.')
  .version(versionOfPackage(), '-V, --version')
  .exitOverride()
  .showHelpAfterError("('rekindle --help' tells more)")
withExample(program, 'rekindle serve')
addCommands(program)

// A reader that has seen enough (`rekindle list volume | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done)
  throw error
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = codeFor(error)
}

function codeFor(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  if (!(error instanceof Exit)) throw error
  tell(`rekindle: ${error.message}`)
  if (process.argv.includes('--json'))
    printJson(error instanceof OperationFailed ? error.row : { error: error.error })
  return error.exit
}

/** The package is a folder or two above, whether this runs from its sources or from what is built of them. */
function versionOfPackage(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const path = join(folder, 'package.json')
    if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')).version
    if (dirname(folder) === folder) return 'unknown'
  }
}
