// stuck: what does not get on by itself, since when, why, and what to do.

import type { Command } from 'commander'
import type { Stuck } from '../index.ts'
import { type ClientOptions, clientCommand, clientFor } from './options.ts'
import { dayAndTime, print, printJson, tableOf } from './output.ts'

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
        ['WHAT', 'SINCE', 'REASON', 'WHY, AND WHAT TO DO'],
        stuck.map(({ kind, id, since, reason, message, what_to_do }) => [
          ...[`${kind} ${id}`, dayAndTime(since), reason],
          `${message}: ${what_to_do}`,
        ]),
      ),
    )
  })
}
