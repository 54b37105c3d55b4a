// config check, config schema: the configuration file of `serve`, judged and described without starting anything.

import type { Command } from 'commander'
import { realEnvironment } from '../environment.ts'
import { withExample } from './options.ts'
import { print, printJson } from './output.ts'

export function addConfigCommands(program: Command): void {
  const config = withExample(
    program.command('config').description('check or describe the configuration file of serve'),
    'rekindle config check rekindle.config.json',
    'rekindle config schema > rekindle.schema.json',
  )
  withExample(
    config
      .command('check <file>')
      .description('say everything that keeps serve from starting with this file; start nothing')
      .option('--json', 'print one JSON value'),
    'rekindle config check rekindle.config.json',
  ).action(async (file: string, { json }: { json?: true }) => {
    const { planFrom } = await import('./serve_plan.ts')
    const { nodes, types, host, port, data } = await planFrom({ config: file }, realEnvironment())
    const told = nodes.map(({ topic, driver, config: { host: name } }) => ({ topic, host: name, driver }))
    const kinds = types.map(({ kind }) => kind)
    if (json) return printJson({ ok: true, door: { host, port }, data, nodes: told, kinds })
    print(
      `${file}: good; ${told.length} nodes, kinds ${kinds.join(', ')}, data in ${data}, door ${host}:${port}`,
    )
  })
  withExample(
    config
      .command('schema')
      .description('print the JSON schema, for editors: name it as "$schema" in the file'),
    'rekindle config schema > rekindle.schema.json',
  ).action(async () => {
    const { configurationSchema } = await import('./configuration.ts')
    print(JSON.stringify(configurationSchema(), null, 2))
  })
}
