// A few seconds of what `npm run fuzz` does for as long as one likes.

import { expect, test } from 'vitest'
import { fuzz, toldOf } from './fuzz.ts'

const RUNS = 90
const SEED = 1

test('whatever is sent, the door answers as its document says, never with 500, and what it refuses changes nothing', async () => {
  const { fault, statuses, done, requests } = await fuzz({ seed: SEED, runs: RUNS })
  if (fault !== null)
    expect.fail(
      `npm run fuzz -- --seed ${SEED} --runs ${RUNS} --path ${fault.path}\n${fault.message}\n${toldOf(fault.steps)}`,
    )
  expect(requests).toBeGreaterThan(RUNS)
  // A fuzz that is always refused early sees nothing.
  for (const status of [200, 202, 400, 403, 404, 405, 409, 413, 415])
    expect(statuses, String(status)).toHaveProperty(String(status))
  expect(done.size).toBeGreaterThan(20)
})
