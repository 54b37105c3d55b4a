// The flags of migrate; what it does is loaded when it is called.

import type { Command } from 'commander'
import type { MigrateFlags } from './migrate.ts'
import { repeated, withExample } from './options.ts'

export function addMigrateCommand(program: Command): void {
  const command = program
    .command('migrate')
    .description('bring the rows of a data folder to the versions of the definitions given')
    .option('--data <folder>', "where everything is kept (default: './.rekindle')")
    .option('--definitions <file>', 'resource types of your own (repeat for more)', repeated)
    .option('--config <file>', "what serve is started with (default: 'rekindle.config.json' if it is there)")
    .option('--dry-run', 'tell what would change, and write nothing')
    .option('--json', 'print one JSON value')
    .action(async (flags: MigrateFlags) => {
      const { migrate } = await import('./migrate.ts')
      await migrate(flags)
    })
  command.addHelpText(
    'after',
    `
serve does the same at its start. No serve may run on the folder meanwhile.

Ends with 0 if it is done, or would be; 1 if a row can't be migrated (nothing is written
then); 2 if the folder, a file or an option is bad; 3 if somebody works on the folder.`,
  )
  withExample(
    command,
    'rekindle migrate --data ./data --definitions tenant.js --dry-run',
    'rekindle migrate --data ./data --definitions tenant.js',
  )
}
