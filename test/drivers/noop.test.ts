// The driver that does nothing, and the wrapper that makes any driver slow.

import { describe, expect, test } from 'vitest'
import type { Driver, DriverContext } from '../../runtime/driver.ts'
import { noopDriver } from '../../runtime/drivers/noop.ts'
import { slowed } from '../../runtime/drivers/slowed.ts'
import { contextOf, type DriverStep, driverContract, rowOf } from '../kit/driver_contract.ts'

const zone = { kind: 'dns-zone', id: 'z1' }
const story: DriverStep[] = [
  { ref: zone, operation: 'create', makes: { name: 'a' } },
  { ref: zone, operation: 'turn_round' },
  { ref: zone, operation: 'delete' },
]

/** Timers that fire at once, and what was asked of them. */
function instantTimers() {
  const asked: number[] = []
  const timer = (ms: number, run: () => void) => {
    asked.push(ms)
    queueMicrotask(run)
    return { clear: () => undefined }
  }
  return { asked, environment: { timer } }
}

function opened(driver: Driver) {
  return async () => ({ driver, look: async () => null, close: async () => {} })
}

function call(driver: Driver, operation: string, given: Partial<DriverContext> = {}) {
  return driver.operations[zone.kind]![operation]!(contextOf(rowOf(zone, {}), operation, given))
}

describe('the no-op driver', () => {
  for (const { title, run } of driverContract({ story, open: opened(noopDriver()) })) test(title, run)

  test('does what it is given and nothing for the rest, of that kind and of any other', async () => {
    const driver = noopDriver({ 'dns-zone': { grow: async ({ input }) => ({ size: input.size ?? 0 }) } })
    expect(await call(driver, 'grow', { input: { size: 3 } })).toEqual({ size: 3 })
    expect(await call(driver, 'delete')).toBeUndefined()
    expect(await driver.operations.other!.create!(contextOf(rowOf(zone, {}), 'create'))).toBeUndefined()
  })

  test('is no thenable, has every name, and cannot fence', async () => {
    const { operations, fence } = noopDriver()
    expect(await operations).toBe(operations)
    expect('volume' in operations && 'create' in operations.volume!).toBe(true)
    expect(fence).toBeUndefined()
  })
})

describe('a slowed driver', () => {
  for (const { title, run } of driverContract({
    story,
    open: opened(slowed(noopDriver(), 100, instantTimers().environment)),
  }))
    test(title, run)

  test('waits that long before each operation and then does it', async () => {
    const { asked, environment } = instantTimers()
    const driver = slowed(noopDriver({ 'dns-zone': { grow: async () => ({ size: 3 }) } }), 500, environment)
    expect(await call(driver, 'grow')).toEqual({ size: 3 })
    expect(asked.reduce((sum, ms) => sum + ms, 0)).toBe(500)
  })

  test('aborted while it waits rejects with the reason, clears its timer and never calls the driver', async () => {
    const control = new AbortController()
    const reason = new Error('cancelled')
    let calls = 0
    let cleared = 0
    const inner = noopDriver({ 'dns-zone': { create: async () => void calls++ } })
    const driver = slowed(inner, 500, { timer: () => ({ clear: () => void cleared++ }) })
    const settled = call(driver, 'create', { signal: control.signal }).catch((error) => error)
    control.abort(reason)
    expect(await settled).toBe(reason)
    expect([calls, cleared]).toEqual([0, 1])
  })

  test('has what the driver has, bound to it, and no more', async () => {
    class Counting implements Driver {
      #raised = 0
      readonly operations = Object.freeze({ 'dns-zone': Object.freeze({ create: async () => undefined }) })
      async fence() {
        this.#raised++
      }
      raised() {
        return this.#raised
      }
    }
    const inner = new Counting()
    const driver = slowed(inner, 1, instantTimers().environment)
    await driver.fence!(rowOf(zone, {}), 1)
    expect(inner.raised()).toBe(1)
    expect(driver.undo).toBeUndefined()
    expect(await call(driver, 'create')).toBeUndefined()
    expect(driver.operations['dns-zone']!.delete).toBeUndefined()
    expect(driver.operations.other).toBeUndefined()
    expect(Object.keys(driver.operations)).toEqual(['dns-zone'])
  })
})
