// The list of mutations can't rot: each place is there, once. A few cheap ones run with every test; all of
// them, each red or the run is, with `npm run mutations`.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Bench, mutate, repository } from './bench.ts'
import { type Mutation, mutations, quick } from './mutations.ts'

const root = repository()

describe('the list of mutations', () => {
  test('has at least twenty, each with a name of its own', () => {
    expect(new Set(mutations.map(({ name }) => name)).size).toBe(mutations.length)
    expect(mutations.length).toBeGreaterThanOrEqual(20)
  })

  test('names for each a place that is there exactly once, and tests that are there', () => {
    const amiss = mutations.filter((mutation) => {
      const text = readFileSync(join(root, mutation.file), 'utf8')
      const mutated = mutate(text, mutation)
      const absent = mutation.tests.some((file) => !existsSync(join(root, file)))
      return mutated === null || mutated === text || absent || mutation.tests.length === 0
    })
    expect(amiss.map(({ name, file, find }) => `${name}: ${file}: ${find}`)).toEqual([])
  })

  test('keeps to the shipped code, every ring of it', () => {
    const rings = new Set(mutations.map(({ file }) => file.split('/')[0]))
    expect([...rings].sort()).toEqual(['machines', 'runtime', 'store'])
  })
})

describe('a mutation', () => {
  let bench: Bench
  beforeAll(async () => {
    bench = await Bench.copyOf(root)
  })
  afterAll(() => bench.close())

  const harmless: Mutation = {
    name: 'harmless',
    breaks: 'nothing',
    file: 'store/json/checksum.ts',
    find: '// CRC-32',
    replace: '// crc-32',
    tests: ['test/store/checksum.test.ts'],
  }

  test.each(quick)('%s turns a test red', async (name) => {
    const mutation = mutations.find((one) => one.name === name)!
    expect(await bench.try(mutation)).toMatchObject({ verdict: 'red', test: expect.any(String) })
  })

  test('that nothing sees survives', async () => {
    expect(await bench.try(harmless)).toMatchObject({ verdict: 'survived' })
  })

  test('that does not compile proves nothing', async () => {
    const outcome = await bench.try({ ...harmless, find: 'length: 256', replace: "length: 'many'" })
    expect(outcome).toMatchObject({ verdict: 'void', why: expect.stringContaining('does not compile') })
  })

  test('that has no place, or two, proves nothing', async () => {
    expect(await bench.try({ ...harmless, find: 'not there' })).toMatchObject({ verdict: 'void' })
    expect(await bench.try({ ...harmless, find: 'crc32' })).toMatchObject({ verdict: 'void' })
  })
})
