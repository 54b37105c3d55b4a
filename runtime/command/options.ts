// Options that several commands share, and how what they give is read.

import { type Command, Option } from 'commander'
import { Client } from './client.ts'
import { Exit, usage } from './exit.ts'
import { tokenFrom } from './token.ts'

export interface ClientOptions {
  readonly url: string
  readonly json?: true
  readonly tokenFile?: string
}

export const DEFAULT_URL = 'http://127.0.0.1:7878'

/** A command that asks a running server: `--url`, `--json`, and an example at the end of its help. */
export function clientCommand(program: Command, usageLine: string, what: string, example: string): Command {
  return withExample(program.command(usageLine).description(what), example)
    .addOption(new Option('--url <url>', 'where rekindle serves').env('REKINDLE_URL').default(DEFAULT_URL))
    .addOption(
      new Option('--token-file <file>', 'the token of the server; also REKINDLE_TOKEN').env(
        'REKINDLE_TOKEN_FILE',
      ),
    )
    .option('--json', 'print one JSON value')
}

/** Ends the help of a command with lines to try. */
export function withExample(command: Command, ...examples: readonly string[]): Command {
  const lines = examples.map((example) => `\n  $ ${example}`).join('')
  return command.addHelpText('after', `\n${examples.length === 1 ? 'Example' : 'Examples'}:${lines}`)
}

export function clientFor({ url, tokenFile }: ClientOptions): Client {
  try {
    return new Client(url, { token: tokenFrom(tokenFile) })
  } catch (error) {
    throw error instanceof Exit ? error : usage((error as Error).message)
  }
}

/** Collects an option that may be given several times. */
export function repeated(given: string, before: readonly string[] = []): readonly string[] {
  return [...before, given]
}

/** One of a few words. */
export function oneOf<Word extends string>(name: string, words: readonly Word[]): (given: string) => Word {
  return (given) => {
    const found = words.find((word) => word === given)
    if (found === undefined) throw usage(`${name} ${given}: say one of ${words.join(', ')}`)
    return found
  }
}

/** Collects `--set name=value`: JSON where it is JSON, else text. A value of `"12"` in quotes is text. */
export function setOption(command: Command, what: string): Command {
  return command.option('-s, --set <name=value>', what, (given: string, before: [string, unknown][] = []) => {
    const at = given.indexOf('=')
    if (at < 1) throw usage(`--set ${given}: say name=value, for example --set size=1`)
    const name = given.slice(0, at)
    if (before.some(([known]) => known === name)) throw usage(`--set ${name} is given twice`)
    const text = given.slice(at + 1)
    let value: unknown = text
    try {
      value = JSON.parse(text)
    } catch {
      // Text, then.
    }
    return [...before, [name, value]] as [string, unknown][]
  })
}

/** Names and values, in the order given. */
export type Fields = [string, unknown][]

/** A whole number from a command line. */
export function whole(name: string, least: number, most: number): (given: string) => number {
  return (given) => {
    const value = Number(given)
    if (!/^\d+$/.test(given) || value < least || value > most)
      throw usage(`${name} ${given}: say a whole number from ${least} to ${most}`)
    return value
  }
}
