// Every subcommand, in the order of the help. What each loads, it loads when it is called.

import type { Command } from 'commander'
import { addCheckCommand } from './check.ts'
import { addCleanupCommand, addClusterActions } from './cluster_actions.ts'
import { addConfigCommands } from './config_command.ts'
import { addDemoCommand } from './demo_command.ts'
import { addEventsCommand } from './events.ts'
import { addExploreCommand } from './explore.ts'
import { addMigrateCommand } from './migrate_command.ts'
import { addNodeActions } from './node_actions.ts'
import { addNodeCommands } from './nodes.ts'
import { addQuotaCommands } from './quotas.ts'
import { addResourceCommands } from './resources.ts'
import { addServeCommand } from './serve_command.ts'
import { addSimulateCommand } from './simulate.ts'
import { addStuckCommand } from './stuck.ts'

export function addCommands(program: Command): void {
  addServeCommand(program)
  addConfigCommands(program)
  addDemoCommand(program)
  addResourceCommands(program)
  addNodeCommands(program)
  addNodeActions(program)
  addClusterActions(program)
  addCleanupCommand(program)
  addMigrateCommand(program)
  addStuckCommand(program)
  addQuotaCommands(program)
  addEventsCommand(program)
  addExploreCommand(program)
  addCheckCommand(program)
  addSimulateCommand(program)
}
