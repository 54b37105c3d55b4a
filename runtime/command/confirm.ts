// Asks before what can't be taken back, where a person sits at a terminal. A script is not asked: it meant it.

import { createInterface } from 'node:readline/promises'
import { EXIT, Exit } from './exit.ts'
import { plain } from './output.ts'

/** Returns where it is meant; ends the command with 130 where the answer is not yes. */
export async function confirm(question: string, { yes }: { readonly yes?: true }): Promise<void> {
  if (yes || process.stdin.isTTY !== true || process.stderr.isTTY !== true) return
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await asking.question(`${plain(question)} [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim()))
      throw new Exit(EXIT.interrupted, 'nothing was done', { code: 'not_confirmed' })
  } finally {
    asking.close()
  }
}
