// The simulation of types and drivers of one's own: what is wrong with them is found and shrunk to a story that a
// person can read, and what is right stays silent.

import { expect, test } from 'vitest'
import { z } from 'zod'
import { defineResource } from '../../machines/definition.ts'
import type { Driver, DriverContext } from '../../runtime/driver.ts'
import { diagram } from '../kit/diagram.ts'
import { shrink } from '../kit/simulation/shrink.ts'
import { type SimulationOptions, simulate } from '../kit/simulation/simulation.ts'

const record = (cleanup: string) =>
  defineResource({
    kind: 'record',
    data: z.strictObject({ name: z.string() }),
    statuses: ['active', 'error'],
    operations: {
      create: { from: 'new', via: 'creating', to: 'active', failed: 'error', cleanup },
      delete: {
        ...{ from: ['active', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
      },
    },
  })

const inputs = { record: { create: [{ name: 'www' }] } }

/** A zone that keeps its records by id; a second removal is a fault of the caller unless it is forgiving. */
function zone(isForgiving: boolean): () => Driver {
  return () => {
    const records = new Set<string>()
    return {
      operations: {
        record: {
          create: async ({ row }: DriverContext) => {
            records.add(row.id)
          },
          delete: async ({ row }: DriverContext) => {
            if (!records.delete(row.id) && !isForgiving) throw new Error(`there is no record ${row.id}`)
          },
        },
      },
    }
  }
}

/** The first of a few seeds that finds something, or null. */
async function found(options: Omit<SimulationOptions, 'seed'>, seeds: number): Promise<number | null> {
  for (let seed = 1; seed <= seeds; seed++)
    if ((await simulate({ ...options, seed })).violations.length > 0) return seed
  return null
}

test('a type and a driver that are right stay silent, with the generic backend and with their own', async () => {
  const options = { steps: 600, resources: [record('requeue')], inputs }
  expect(await found(options, 4)).toBeNull()
  expect(await found({ ...options, driver: zone(true) }, 4)).toBeNull()
})

test('a delete that fails when all is gone already is found, and shrunk to a crash after its effect', async () => {
  const options = { steps: 600, resources: [record('requeue')], inputs, driver: zone(false) }
  const seed = await found(options, 60)
  expect(seed).not.toBeNull()
  const { invariant, schedule, result } = await shrink({ ...options, seed: seed! }, { runs: 200 })
  expect(invariant).toBe('driver_idempotent')
  expect(result.violations[0]!.message).toMatch(
    /^delete of record\/\S+ was done .* and fails .* there is no record/,
  )
  expect(schedule.length).toBeLessThanOrEqual(10)
  expect(diagram(result.trace)).toContain('VIOLATED driver_idempotent')
}, 120_000)

test('a cleanup to gone that leaves the backend object behind is found and shrunk', async () => {
  const options = { steps: 600, resources: [record('gone')], inputs, topology: { undoes: false } }
  const seed = await found(options, 60)
  expect(seed).not.toBeNull()
  const { invariant, schedule, result } = await shrink({ ...options, seed: seed! }, { runs: 200 })
  expect(invariant).toBe('store_and_backend_agree')
  expect(result.violations[0]!.message).toMatch(/^record\/\S+ is gone and still exists/)
  expect(schedule.length).toBeLessThanOrEqual(10)
}, 120_000)

test("an invariant of one's own is checked after every commit", async () => {
  const names = { name: 'two_at_most', when: 'always' as const, check: atMostTwo }
  const options = { steps: 600, resources: [record('requeue')], inputs, invariants: [names] }
  const seed = await found(options, 20)
  const { violations } = await simulate({ ...options, seed: seed! })
  expect(violations[0]).toEqual({ invariant: 'two_at_most', message: 'there are 3' })
})

const atMostTwo = (rows: readonly unknown[]) => (rows.length > 2 ? `there are ${rows.length}` : null)
