// The command line of serve.

import { type Command, Option } from 'commander'
import { whole, withExample } from './options.ts'
import type { ServeOptions } from './serve.ts'

export function addServeCommand(program: Command): void {
  withExample(
    program.command('serve').description('run nodes and schedulers here, with a local HTTP door'),
    'rekindle serve --data ./data --nodes ssd@file:h1,h2 --nodes hdd@file:h3',
  )
    .option('--data <folder>', 'where everything is kept', './.rekindle')
    .option('--port <port>', 'of the door; 0 takes a free one', whole('--port', 0, 65_535), 7878)
    .option('--host <address>', 'of the door', '127.0.0.1')
    .option(
      '--nodes <cluster@backend:hosts>',
      "nodes to run (repeat for more clusters); backends: file, qemu, noop (default: 'demo@file:h1,h2,h3')",
      (given: string, before: string[] = []) => [...before, given],
    )
    .option(
      '--driver <driver>',
      "of the default nodes: file (raw images), qemu (qcow2 images; needs qemu-img) or noop (default: 'file')",
    )
    .option('--settings <json>', 'times and limits, for example \'{"heartbeat_ms":500}\'')
    .addOption(
      new Option('--work-ms <ms>', 'slow every operation by so much, to have something to look at').argParser(
        whole('--work-ms', 0, 3_600_000),
      ),
    )
    .action(async (options: ServeOptions) => {
      const { serve } = await import('./serve.ts')
      await serve(options)
    })
}
