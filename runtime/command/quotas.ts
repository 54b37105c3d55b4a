// quotas, quota set: what projects take, and how much they may. A limit is read strictly: JSON has no word
// for infinity but null, and null takes a limit away. Which resources there are, and what may be a limit
// of them, is the runtime's to say.

import type { Command } from 'commander'
import type { Quota } from '../index.ts'
import { usage } from './exit.ts'
import { type ClientOptions, clientCommand, clientFor, withExample } from './options.ts'
import { print, printJson, tableOf } from './output.ts'

export function addQuotaCommands(program: Command): void {
  clientCommand(program, 'quotas', 'list what each project takes, and its limits', 'rekindle quotas').action(
    async (options: ClientOptions) => {
      const { quotas } = await clientFor(options).ask<{ quotas: Quota[] }>('GET', ['quotas'])
      if (options.json) return printJson(quotas)
      if (quotas.length === 0) return print('no project has taken anything, and none has a limit')
      print(tableOf(['PROJECT', 'RESOURCE', 'TAKEN', 'LIMIT'], quotas.flatMap(linesOf)))
    },
  )

  const quota = withExample(
    program.command('quota').description('set the limits of a project'),
    'rekindle quota set lab volumes=10 gigabytes=500',
  )
  clientCommand(
    quota,
    'set <project> <limits...>',
    'set limits as resource=number; resource=none takes one away',
    'rekindle quota set lab volumes=10 gigabytes=none',
  ).action(async (project: string, given: string[], options: ClientOptions) => {
    const limits = Object.fromEntries(given.map(limitIn))
    const set = await clientFor(options).ask<Quota>('POST', ['quotas', project], { body: limits })
    if (options.json) printJson(set)
    else print(tableOf(['PROJECT', 'RESOURCE', 'TAKEN', 'LIMIT'], linesOf(set)))
  })
}

function limitIn(given: string): [string, number | null] {
  const [, resource, text] = /^([^=]+)=(.+)$/.exec(given) ?? []
  const limit = text === 'none' ? null : Number(text)
  if (resource === undefined || text?.trim() === '' || (limit !== null && !Number.isFinite(limit)))
    throw usage(`${given}: say resource=number, or resource=none, for example volumes=10`)
  return [resource, limit]
}

function linesOf({ id, used, limits }: Quota): string[][] {
  const resources = [...new Set([...Object.keys(used), ...Object.keys(limits)])].sort()
  return resources.map((resource) => [
    id,
    resource,
    String(used[resource] ?? 0),
    limits[resource] === undefined ? '-' : String(limits[resource]),
  ])
}
