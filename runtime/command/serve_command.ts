// The command line of serve.

import { type Command, Option } from 'commander'
import { LOG_LEVELS } from '../log.ts'
import { oneOf, repeated, whole, withExample } from './options.ts'
import type { ServeFlags } from './serve_plan.ts'

export function addServeCommand(program: Command): void {
  withExample(
    program.command('serve').description('run nodes and schedulers here, with a local HTTP door'),
    'rekindle serve --data ./data --nodes ssd@file:h1,h2 --nodes hdd@file:h3',
    'rekindle serve --config /etc/rekindle.json --log json',
    'rekindle serve --host 0.0.0.0 --token-file ./token',
  )
    .option(
      '--config <file>',
      "configuration; flags override it (default: 'rekindle.config.json' if it is there)",
    )
    .option('--data <folder>', "where everything is kept (default: './.rekindle')")
    .option('--port <port>', 'of the door; 0 takes a free one (default: 7878)', whole('--port', 0, 65_535))
    .option(
      '--host <address>',
      "of the door; any but this machine's own needs a token (default: '127.0.0.1')",
    )
    .option('--token-file <file>', 'what clients have to send; also REKINDLE_TOKEN (default: none)')
    .option(
      '--nodes <cluster@backend:hosts>',
      "nodes to run (repeat for more clusters); backends: file, qemu, noop (default: 'demo@file:h1,h2,h3')",
      repeated,
    )
    .option(
      '--driver <driver>',
      "of the default nodes: file (raw images), qemu (qcow2 images; needs qemu-img) or noop (default: 'file')",
    )
    .option('--definitions <file>', 'resource types of your own, served as well (repeat for more)', repeated)
    .option('--settings <json>', 'times and limits, for example \'{"heartbeat_ms":500}\'')
    .option(
      '--log <format>',
      "text or json, one object a line (default: 'text')",
      oneOf('--log', ['text', 'json']),
    )
    .option(
      '--log-level <level>',
      `${LOG_LEVELS.join(', ')} (default: 'info')`,
      oneOf('--log-level', LOG_LEVELS),
    )
    .addOption(
      new Option('--work-ms <ms>', 'slow every operation by so much, to have something to look at').argParser(
        whole('--work-ms', 0, 3_600_000),
      ),
    )
    .action(async (flags: ServeFlags) => {
      const { serve } = await import('./serve.ts')
      await serve(flags)
    })
}
