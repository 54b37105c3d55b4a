import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { ends, run } from '../kit/built.ts'
import { tempFolder } from './serve_rig.ts'

const folder = tempFolder()
afterAll(() => folder.remove())

test('a run in which everything holds ends with 0, and is told in two lines', async () => {
  const { code, stdout, stderr } = await ends(['simulate', '--seed', '3', '--steps', '200'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^seed 3, 200 steps each: 1 seed, \d+ commits, .* no violation\n/)
  expect(stdout).toMatch(/\nevery invariant held\n$/)
})

test('with --json the result is one value, and the same seed gives the same', async () => {
  const args = ['simulate', '--seed', '5', '--seeds', '2', '--steps', '200', '--json']
  const [one, other] = [await ends(args), await ends(args)]
  const { elapsed_ms: _, ...result } = JSON.parse(one.stdout)
  const { elapsed_ms: __, ...again } = JSON.parse(other.stdout)
  expect(again).toEqual(result)
  expect(result).toMatchObject({
    verdict: 'holds',
    from: 5,
    seeds: 2,
    steps: 200,
    interrupted: false,
    failed: null,
  })
  expect(result.commits).toBeGreaterThan(0)
})

test('Ctrl-C lets the seed end and tells what was found so far', async () => {
  const running = await run(['simulate', '--seeds', '1000000', '--steps', '100', '--json'])
  await running.says(/from seed 1 on, 100 steps each; Ctrl-C stops/)
  running.process.kill('SIGINT')
  await running.says(/stopping after this seed/)
  const { code, stdout } = await running.ended
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ verdict: 'holds', interrupted: true })
})

test('what is violated is told with the command that replays it first, shrunk, as a scenario and a diagram', async () => {
  const args = ['simulate', '--rule-off', 'R2', '--seeds', '30', '--shrink']
  const { code, stdout } = await ends(args)
  expect(code).toBe(1)
  expect(stdout).toMatch(
    /^rekindle simulate --seed \d+ --steps 2000 --rule-off R2 --shrink\nviolated: \w+ \(/,
  )
  expect(stdout).toContain('\nrule-off R2\nexpect ')
  expect(stdout).toContain('‼')
  // The scenario that it prints is replayed as it is, and holds with the rule on.
  const [scenario] = /^# Found by[\s\S]*?\n\n[\s\S]*?\n(?=\n)/m.exec(stdout)!
  const file = join(folder.path, 'found.scenario')
  writeFileSync(file, scenario)
  const replayed = await ends(['simulate', '--scenario', file])
  expect(replayed).toMatchObject({ code: 1, stderr: '' })
  expect(replayed.stdout).toContain('VIOLATED')
  const on = await ends(['simulate', '--scenario', file, '--rules-on'])
  expect(on).toMatchObject({ code: 0, stdout: 'every invariant held, as expected\n' })
})

describe('bad arguments end with 2 and a message that names the value', () => {
  const bad = join(folder.path, 'bad.scenario')
  writeFileSync(bad, 'seed 1\nsteps many\n')
  const cases: readonly [args: string, message: string][] = [
    ['--seed x', '--seed x: say a whole number from 0 to'],
    ['--steps 0', '--steps 0: say a whole number from 1 to'],
    ['--faults kill,fire', '--faults fire: say some of kill, crash, pause'],
    ['--rule-off R100', '--rule-off R100: say one of R1, R2'],
    ['--rules-on', '--rules-on is for --scenario'],
    ['--soak 10minutes', '--soak 10minutes: say a time such as 30s, 10m or 8h'],
    ['--soak 0s', '--soak 0s: say a time such as 30s, 10m or 8h'],
    ['--soak 1s --seeds 3', '--soak and --seeds both say when it is over; give one of them'],
    ['--from 3', '--from is for --soak; say --seed'],
    ['--scenario x --seed 3', '--scenario and --seed both say what to run; give one of them'],
    ['--scenario /no/such.scenario', '--scenario /no/such.scenario: ENOENT'],
    [`--scenario ${bad}`, 'bad.scenario: line 2: steps must be a whole number'],
  ]
  test.each(cases)('%s', async (args, message) => {
    const { code, stdout, stderr } = await ends(['simulate', ...args.split(' ')])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
  })
})
