// Exhaustive explorations of the shipped charts: small clusters in which every reachable state is seen, with
// crashes and pauses at every moment; and what is said of an exploration that was not finished.

import { describe, expect, test } from 'vitest'
import { type Exploring, explore } from '../kit/exploration/index.ts'

const lives = { only: ['create', 'delete'] } as const

const counts = ({ states, transitions, depth }: Awaited<ReturnType<typeof explore>>) => ({
  states,
  transitions,
  depth,
})

describe('every reachable state of', () => {
  test('two nodes, one volume, two operations, one crash and two schedulers keeps every invariant', async () => {
    const found = await explore({ nodes: 2, operations: 2, crashes: 1, schedulers: 2 })
    expect(found.counterexample).toBeNull()
    expect(found).toMatchObject({ complete: true, why: 'all states' })
    expect(found.states).toBeGreaterThan(50_000)
    expect(found.sometimes).toMatchObject({
      claim_lost: true,
      cleanup_lost: true,
      crash_before_claim: true,
      crash_after_claim: true,
      crash_after_effect_before_finish: true,
      requeued_elsewhere: true,
    })
  }, 300_000)

  test('a live node that is declared down while it goes on keeps every invariant', async () => {
    const found = await explore({ ...lives, operations: 1, crashes: 0, pauses: 1 })
    expect(found.counterexample).toBeNull()
    expect(found.complete).toBe(true)
    expect(found.sometimes).toMatchObject({ zombie_refused: true, self_fenced: true })
  })

  test.each<[string, Exploring]>([
    ['a crash', { crashes: 1 }],
    ['a pause', { crashes: 0, pauses: 1 }],
    ['a lost and a doubled doorbell', { crashes: 0, lostDoorbells: 1, duplicatedDoorbells: 1 }],
  ])('a cluster named as its first host keeps every invariant through %s', async (_, faults) => {
    const found = await explore({ only: ['create'], operations: 1, clusterIsHost: true, ...faults })
    expect(found.counterexample).toBeNull()
    expect(found.complete).toBe(true)
  })

  test('a driver without a fence keeps every invariant while its calls heed the abort', async () => {
    const found = await explore({ ...lives, operations: 1, crashes: 1, driver: { fences: false } })
    expect(found.counterexample).toBeNull()
    expect(found.complete).toBe(true)
  })

  test('calls that fail end in the failed status, and nothing is left behind', async () => {
    const found = await explore({ ...lives, operations: 2, crashes: 0, failures: 2 })
    expect(found.counterexample).toBeNull()
    expect(found.complete).toBe(true)
  })

  test('snapshots, which belong to a volume that stands beside them, keep every invariant', async () => {
    const found = await explore({ kind: 'snapshot', only: ['create', 'delete'], schedulers: 1 })
    expect(found.counterexample).toBeNull()
    expect(found.complete).toBe(true)
  })
})

describe('an exploration', () => {
  const small: Exploring = { ...lives, operations: 1, schedulers: 1 }

  test('gives the same counts each time', async () => {
    expect(counts(await explore(small))).toEqual(counts(await explore(small)))
  })

  test('finds the same with interchangeable nodes and schedulers apart, in more states', async () => {
    const two = { ...small, schedulers: 2 }
    const merged = await explore(two)
    const apart = await explore({ ...two, merge: false })
    expect(apart.invariants).toEqual(merged.invariants)
    expect(apart.sometimes).toEqual(merged.sometimes)
    expect(apart.states).toBeGreaterThan(1.5 * merged.states)
  })

  test('finds a violation after as many steps with interchangeable ones apart', async () => {
    const off = { ...small, operations: 1, crashes: 1, ruleOff: 'R2' } as const
    const merged = await explore(off)
    const apart = await explore({ ...off, merge: false })
    expect(apart.counterexample?.invariant).toBe(merged.counterexample?.invariant)
    expect(apart.counterexample?.steps.length).toBe(merged.counterexample?.steps.length)
  })

  test('that reaches its limit says so, and judges nothing', async () => {
    const found = await explore({ ...small, limits: { states: 100 } })
    expect(found).toMatchObject({ complete: false, why: 'most states', counterexample: null })
    expect(new Set(Object.values(found.invariants))).toEqual(new Set(['not checked']))
    expect(found.bytes).toBeGreaterThan(0)
  })

  test('that is stopped says what it did so far', async () => {
    const stopping = new AbortController()
    const seen: number[] = []
    const found = await explore({
      operations: 2,
      signal: stopping.signal,
      onProgress: ({ states }) => {
        seen.push(states)
        stopping.abort()
      },
    })
    expect(found).toMatchObject({ complete: false, why: 'stopped' })
    expect(seen).toHaveLength(1)
    expect(found.states).toBeGreaterThanOrEqual(seen[0]!)
  })

  test('names its fault budget and what it leaves out', async () => {
    const found = await explore({ operations: 0, pauses: 2, crashes: 0, driver: { fences: false } })
    expect(found.configuration).toContain('0 crashes, 2 pauses, 0 lost doorbells, 0 duplicated doorbells')
    expect(found.leftOut).toContainEqual({
      operation: 'force_delete',
      why: expect.stringContaining('the backend has no mark'),
    })
  })

  test.each<[string, Exploring, string]>([
    ['an unknown kind', { kind: 'disk' }, "no type 'disk' is given; there are volume, snapshot, backup"],
    ['an unknown operation', { only: ['grow'] }, "volume has no operation 'grow'"],
    ['too many nodes', { nodes: 9 }, 'nodes is 9; a whole number from 1 to 4 is explored'],
    ['a pause in one process', { process: 'one', pauses: 1 }, 'in one process no node stalls alone'],
  ])('of %s is refused with what would do', async (_, options, message) => {
    await expect(explore(options)).rejects.toThrow(message)
    await expect(explore(options)).rejects.toMatchObject({ code: 'bad_input' })
  })
})
