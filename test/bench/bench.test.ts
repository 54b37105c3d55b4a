// What the bench measures with is right: the floor writes the rows that the runtime writes, the parts of a
// profile add up, tables and spreads say what they were given. No speed is asserted.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Round } from './contestant.ts'
import { openContestant } from './contestants.ts'
import { rowsOf } from './floor.ts'
import { load } from './load.ts'
import { partOf, partsOf } from './profile.ts'
import { figure, percentile, spreadOf, spreadText, tableText } from './spread.ts'
import { throughput } from './throughput.ts'
import { createOnce, openRuntime } from './whole.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rekindle-bench-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('the floor writes the rows that the runtime writes for one operation', async () => {
  const own = join(folder, 'rows')
  const runtime = await openRuntime(own, { nodes: 1, working: 1 })
  await createOnce(runtime)
  await runtime.stop()
  const journal = (await readdir(own)).filter((name) => name.endsWith('.jsonl')).sort()
  const lines = (await Promise.all(journal.map((name) => readFile(join(own, name), 'utf8')))).join('')
  const puts = lines
    .split('\n')
    .filter((line) => line.includes('"changes"'))
    .flatMap((line) => JSON.parse(line.slice(line.indexOf('{'))).changes as { put?: { kind: string } }[])
    .flatMap(({ put }) => (put?.kind === 'volume' ? [put] : []))
  const ours = rowsOf(1) as readonly object[]
  expect(puts.map((row) => fieldsOf(row))).toEqual(ours.map(fieldsOf))
  const sizeOf = (rows: readonly object[]) => JSON.stringify(rows).length
  expect(Math.abs(sizeOf(puts) / sizeOf(ours) - 1)).toBeLessThan(0.1)
})

/** The paths of all values but the free-form texts. */
function fieldsOf(row: object): string[] {
  return Object.entries(row)
    .flatMap(([name, value]) =>
      value !== null && typeof value === 'object' && name !== 'input' && name !== 'data'
        ? fieldsOf(value).map((rest) => `${name}.${rest}`)
        : [`${name}: ${value === null ? 'null' : typeof value}`],
    )
    .sort()
}

test('a round of the runtime beside its floor has every figure', async () => {
  const said: string[] = []
  const here = async ({ name, place, working, timing }: Round) => {
    const opened = await openContestant(name, place, working)
    return load(timing, opened).finally(() => opened.close())
  }
  const shape = { in_flight: 4, callers: 2, bulk: 3 }
  const rounds = { rounds: 1, duration_ms: 30 }
  const say = (line: string) => said.push(line)
  const [level] = await throughput(['floor', 'rekindle'], { folder }, [shape], rounds, here, say)
  expect(level).toMatchObject({ in_flight: 4, outstanding: 6 })
  expect(level!.contestants.map(({ name }) => name)).toEqual(['floor', 'rekindle'])
  for (const { name: of, server_cpu_ms, ...figures } of level!.contestants) {
    expect(server_cpu_ms.median).toBe(0)
    for (const [name, { median, least, most }] of Object.entries(figures)) {
      expect(median, `${of} ${name}`).toBeGreaterThan(0)
      expect(least <= median && median <= most, `${of} ${name}`).toBe(true)
    }
  }
  expect(level!.contestants[1]!.rekindle_over.median).toBe(1)
  expect(said).toEqual(['round 1 of 1: 4 in flight, 6 outstanding'])
  expect((await readdir(folder)).filter((name) => /^(?:rekindle|floor)/.test(name))).toEqual([])
})

test('a profile is grouped by file and function, idle time left out, and its parts add up', () => {
  const frame = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, scriptId: '1', lineNumber: 0, columnNumber: 0 },
  })
  const parts = partsOf(
    {
      nodes: [
        frame(1, '(idle)', ''),
        frame(2, 'follow', 'file:///x/machines/compiled.js'),
        frame(3, '(garbage collector)', ''),
      ],
      samples: [1, 2, 3, 2],
      timeDeltas: [0, 1_000, 60, 30, 10],
    },
    10,
  )
  expect(parts.map(({ part, us_per_operation }) => [part, us_per_operation])).toEqual([
    ['transition', 7],
    ['GC', 3],
  ])
  expect(parts.map(({ share }) => share)).toEqual([0.7, 0.3])
  expect(partOf({ functionName: 'isUp', url: 'file:///x/machines/vocabulary.js' })).toBe('guard')
  expect(partOf({ functionName: 'fdatasync', url: 'node:fs' })).toBe('journal')
})

test('spreads, percentiles and tables', () => {
  expect(spreadOf([3, 1, 2, 10])).toEqual({ median: 2.5, least: 1, most: 10 })
  expect(() => spreadOf([])).toThrow(/at least one/)
  expect([0.5, 0.99].map((share) => percentile([1, 2, 3, 4], share))).toEqual([2, 4])
  expect([12_345, 0.08712, Number.NaN].map(figure)).toEqual(['12,300', '0.0871', '-'])
  expect(spreadText({ median: 2, least: 1, most: 3 })).toBe('2 (1-3)')
  expect(tableText(['a'], [['long']])).toBe('| a    |\n|------|\n| long |')
})
