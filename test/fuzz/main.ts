// npm run fuzz: requests made from the door's own OpenAPI document, valid and spoiled, against a door over a
// runtime in memory, for as long as one likes. Prints the command that repeats a failing run, with the shortest
// requests that show the fault; exits 1 then.

import { parseArgs } from 'node:util'
import { fuzz, toldOf } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    runs: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '60' },
    path: { type: 'string' },
  },
})
const [seed, runs, seconds] = [values.seed, values.runs, values.seconds].map(Number) as [
  number,
  number,
  number,
]
if (![seed, runs, seconds].every((number) => Number.isFinite(number) && number >= 0)) {
  process.stderr.write('usage: npm run fuzz -- [--seconds 60] [--runs N] [--seed N] [--path P]\n')
  process.exit(2)
}
process.on('unhandledRejection', (error) => {
  process.stderr.write(`nobody handled: ${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
})

const { path } = values
const print = (line: string) => process.stdout.write(`${line}\n`)
print(`seed ${seed}; repeat with: npm run fuzz -- --seed ${seed} --runs ${runs}`)
const { fault, requests, statuses, done, documented } = await fuzz({
  seed,
  runs,
  ...(path === undefined ? { within_ms: seconds * 1_000 } : { path }),
})
print(
  `${requests} requests; by status: ${Object.entries(statuses)
    .map(([status, count]) => `${status}: ${count}`)
    .join(', ')}`,
)
print(`${done.size} of the ${documented} operations of the document were answered well at least once`)
if (fault === null) print('nothing found')
else {
  print(`FOUND: ${fault.message}`)
  print(toldOf(fault.steps))
  print(`repeat with: npm run fuzz -- --seed ${seed} --runs ${runs} --path ${fault.path}`)
  process.exitCode = 1
}
