// The process of one contestant: nobody's memory, code cache or garbage is another's. It opens what it is told,
// loads it, closes it, answers with the figures, and ends when its parent does.

import { type ContestantName, openContestant, type Place } from './contestants.ts'
import { load, type Timing } from './load.ts'

/** One round. */
export interface Round {
  readonly name: ContestantName
  readonly place: Place
  readonly working: number
  readonly timing: Timing
}

async function round({ name, place, working, timing }: Round) {
  const opened = await openContestant(name, place, working)
  try {
    return await load(timing, opened)
  } finally {
    await opened.close()
  }
}

process.on('message', (asked: Round) => {
  round(asked).then(
    (loaded) => process.send!({ loaded }),
    (error) => process.send!({ error: String(error instanceof Error ? error.stack : error) }),
  )
})
process.on('disconnect', () => process.exit())
