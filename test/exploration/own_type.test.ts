// A user's own type is explored like the built-in ones, in three lines; and a table whose cleanup leaves the
// backend in another state than it says is found, with the way that leads there.

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineResource } from '../../machines/index.ts'
import { explore } from '../kit/index.ts'

const data = z.strictObject({ name: z.string() })
const inputs = { site: { create: [{ name: 'www' }] } }

const site = defineResource({
  kind: 'site',
  data,
  statuses: ['live', 'error'],
  operations: {
    create: { from: 'new', via: 'creating', to: 'live', failed: 'error', cleanup: 'requeue' },
    remove: { from: ['live', 'error'], via: 'removing', to: 'gone', failed: 'error', cleanup: 'requeue' },
  },
})

const explored = { inputs, operations: 2, schedulers: 1 } as const

describe("A user's own type", () => {
  test('keeps every invariant through a crash at any moment', async () => {
    const { complete, counterexample } = await explore({ types: [site], ...explored })
    expect(counterexample).toBeNull()
    expect(complete).toBe(true)
  })

  test('keeps them through a pause, and in a cluster named as its first host', async () => {
    const found = await explore({
      types: [site],
      ...explored,
      operations: 1,
      crashes: 0,
      pauses: 1,
      clusterIsHost: true,
    })
    expect(found.counterexample).toBeNull()
    expect(found.complete).toBe(true)
  })

  test('whose inputs are missing names kind and operation where it is asked for', async () => {
    await expect(explore({ types: [site], only: ['create'] })).rejects.toThrow(/site.*create|create.*site/)
    await expect(explore({ types: [site], inputs: { site: { grow: [{}] } } })).rejects.toThrow(
      'inputs.site.grow: there is no such operation',
    )
  })
})

describe('A table that is wrong about its backend', () => {
  test('a create that is put right as gone leaves its object behind, unless the driver undoes it', async () => {
    const leaky = defineResource({
      ...site.table,
      operations: {
        ...site.table.operations,
        create: { from: 'new', via: 'creating', to: 'live', failed: 'error', cleanup: 'gone' },
      },
    })
    const found = await explore({ types: [leaky], ...explored, operations: 1 })
    expect(found.counterexample).toMatchObject({
      invariant: 'store_and_backend_agree',
      message: 'site site1 is gone, but what it was is still at the backend',
      faults: { crashes: 1, pauses: 0 },
    })
    expect(found.counterexample!.steps).toContainEqual(
      expect.stringMatching(/^driver h. create of site1 with fence 1 has its effect: it is there now$/),
    )
    const undone = await explore({
      types: [leaky],
      ...explored,
      operations: 1,
      driver: { undoes: true },
    })
    expect(undone.counterexample).toBeNull()
    expect(undone.complete).toBe(true)
  })

  test('a remove that is put right as live claims what is not there any more', async () => {
    const forgetful = defineResource({
      ...site.table,
      operations: {
        ...site.table.operations,
        remove: { from: ['live', 'error'], via: 'removing', to: 'gone', failed: 'error', cleanup: 'restore' },
      },
    })
    const { counterexample } = await explore({ types: [forgetful], ...explored })
    expect(counterexample).toMatchObject({
      invariant: 'store_and_backend_agree',
      message: 'site site1 is live, but there is nothing at the backend',
    })
  })
})
