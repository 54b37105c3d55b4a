// The command line of demo.

import type { Command } from 'commander'
import { withExample } from './options.ts'

export function addDemoCommand(program: Command): void {
  withExample(
    program
      .command('demo')
      .description('a story on real files: a node is killed half-way, the others put its work right'),
    'rekindle demo',
  )
    .option(
      '--data <folder>',
      'keep the files here; by default they are made in a temporary folder and removed',
    )
    .option('--json', 'print the result as one JSON value')
    .action(async (options: { data?: string; json?: true }) => {
      const { demo } = await import('./demo.ts')
      process.exitCode = await demo(options)
    })
}
