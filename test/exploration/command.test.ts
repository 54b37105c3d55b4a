// rekindle explore as it is shipped: what it prints, and with which code it ends.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test, vi } from 'vitest'
import { builtCommand, ends } from '../kit/built.ts'

// The first one may have to build.
vi.setConfig({ testTimeout: 300_000 })

const explore = (...more: readonly string[]) => ends(['explore', ...more])
const small = ['--nodes', '1', '--operations', '1', '--schedulers', '1', '--only', 'create']

test('an exploration that holds ends with 0 and says what was seen within which faults', async () => {
  const { code, stdout } = await explore(...small)
  expect(code).toBe(0)
  expect(stdout).toContain('faults: 1 crash, 0 pauses, 0 lost doorbells, 0 duplicated doorbells')
  expect(stdout).toMatch(/every reachable state was seen: [\d,]+ states, [\d,]+ transitions, depth \d+/)
  expect(stdout).toMatch(/one_worker +holds/)
  expect(stdout).toContain('reached: claim_lost')
})

test('a violation ends with 1, with its steps and a diagram', async () => {
  const { code, stdout } = await explore('--rule-off', 'R2', '--smallest')
  expect(code).toBe(1)
  expect(stdout).toContain('VIOLATED cleaned_only_if_gone: the claim of life 2 of h1')
  expect(stdout).toContain('faults used: 1 crash\n')
  expect(stdout).toMatch(/ +1 {2}api accepts create: volume1/)
  expect(stdout).toContain('‼')
})

test('with --json it prints one value', async () => {
  const { code, stdout, stderr } = await explore(...small, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({
    complete: true,
    invariants: { one_worker: 'holds', all_at_rest: 'holds' },
    counterexample: null,
  })
})

test('what is not finished within its limit ends with 5', async () => {
  const { code, stdout } = await explore('--most-states', '1000')
  expect(code).toBe(5)
  expect(stdout).toContain('NOT FINISHED: as many states as were allowed')
})

test('Ctrl-C stops it, and what was done so far is told', async () => {
  const main = await builtCommand()
  const child = spawn(process.execPath, [main, 'explore', '--crashes', '2', '--pauses', '2'])
  let stdout = ''
  child.stdout.on('data', (data) => {
    stdout += data
  })
  const ended = once(child, 'close')
  await once(child.stderr, 'data')
  child.kill('SIGINT')
  expect((await ended)[0]).toBe(5)
  expect(stdout).toContain('NOT FINISHED: stopped')
})

test('what can not be explored is a mistake of the caller', async () => {
  for (const [mistake, message] of [
    [['--nodes', '9'], '--nodes 9: say a whole number from 1 to 4'],
    [['--rule-off', 'R10'], '--rule-off R10: say one of R1, R2, R3'],
    [['--one-process', '--pauses', '1'], 'in one process no node stalls alone'],
  ] as const) {
    const { code, stderr } = await explore(...mistake)
    expect(stderr).toContain(message)
    expect(code).toBe(2)
  }
})

test('its help has examples', async () => {
  const { code, stdout } = await explore('--help')
  expect(code).toBe(0)
  expect(stdout).toContain('$ rekindle explore --rule-off R2 --smallest')
})

test('a budget that can not be is wrong usage, and its own flag is named', async () => {
  const { code, stderr } = await explore('--crashes', '9')
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('--crashes 9: say') })
})
