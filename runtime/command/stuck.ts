// stuck: what does not get on by itself, since when, why, and what to do.

import type { Command } from 'commander'
import type { Stuck } from '../index.ts'
import { type ClientOptions, clientCommand, clientFor } from './options.ts'
import { print, printJson, tableOf } from './output.ts'

export function addStuckCommand(program: Command): void {
  clientCommand(
    program,
    'stuck',
    'list what does not get on by itself, since when, why, and what to do',
    'rekindle stuck',
  ).action(async (options: ClientOptions) => {
    const { stuck } = await clientFor(options).ask<{ stuck: Stuck[] }>('GET', ['stuck'])
    if (options.json) return printJson(stuck)
    if (stuck.length === 0) return print('nothing is stuck')
    print(
      tableOf(
        ['WHAT', 'REASON', 'WHY'],
        stuck.map(({ kind, id, reason, message }) => [`${kind} ${id}`, reason, message]),
      ),
    )
  })
}
