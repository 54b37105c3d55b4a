// A scripted workload on one store, what was answered to it, and what a store that is opened again may hold:
// all that was acknowledged, nothing that was refused, and of the rest whole transactions in the order of
// their calls.

import { expect } from 'vitest'
import {
  type Change,
  type Expectation,
  type Key,
  keyOf,
  type Store,
  type StoredRow,
} from '../../store/store.ts'
import { randomOf } from '../kit/faulty_file_system.ts'

export interface Asked {
  readonly expect: readonly Expectation[]
  readonly changes: readonly Change[]
  /** `unknown` also while it is not answered. */
  outcome: 'unknown' | 'committed' | 'conflict' | 'refused'
  offset: number
}

export type State = Map<Key, StoredRow>

/**
 * Bursts of transactions over a few rows: puts, rewrites, removals, several rows in one, and chains on one
 * row whose calls do not wait for each other. What is asked follows from the seed and the answers alone.
 */
export async function work(store: Store, asked: Asked[], seed: number, bursts: number): Promise<void> {
  const random = randomOf(seed)
  const pick = (most: number) => Math.floor(random() * most)
  const offset = store.offset()
  const known = new Map<Key, number>()
  for (const one of (await store.list({})).rows) known.set(keyOf(one), one.version)
  for (let burst = 0; burst < bursts; burst++) {
    const versions = new Map(known)
    const answers: Promise<void>[] = []
    const calls = 1 + pick(5)
    for (let call = 0; call < calls; call++) {
      const expectations: Expectation[] = []
      const changes: Change[] = []
      const ids = new Set(Array.from({ length: 1 + pick(3) }, () => pick(9)))
      for (const id of ids) {
        const key = `row/${id}`
        const version = versions.get(key) ?? 0
        expectations.push({ key, version })
        const removed = version > 0 && pick(4) === 0
        versions.set(key, removed ? 0 : version + 1)
        const text = `${offset} ${burst} ${call} ${'x'.repeat(pick(300))}`
        changes.push(
          removed ? { remove: key } : { put: { kind: 'row', id: String(id), version: version + 1, text } },
        )
      }
      answers.push(ask(store, asked, expectations, changes))
    }
    await Promise.all(answers)
    known.clear()
    for (const one of (await store.list({})).rows) known.set(keyOf(one), one.version)
  }
}

export async function ask(
  store: Store,
  asked: Asked[],
  expectations: readonly Expectation[],
  changes: readonly Change[],
): Promise<void> {
  const mine: Asked = { expect: expectations, changes, outcome: 'unknown', offset: 0 }
  asked.push(mine)
  try {
    const result = await store.transact(expectations, changes)
    mine.outcome = result.ok ? 'committed' : 'conflict'
    if (result.ok) mine.offset = result.offset
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'store_refused') mine.outcome = 'refused'
    else if (code !== 'store_lost') throw error
  }
}

/** Checks what a store that was opened again holds; gives it back as where the next workload begins. */
export async function check(store: Store, before: { state: State; offset: number }, asked: readonly Asked[]) {
  const state = new Map(before.state)
  const acknowledged = asked
    .filter(({ outcome }) => outcome === 'committed')
    .sort((a, b) => a.offset - b.offset)
  expect(acknowledged.map(({ offset }) => offset)).toEqual(acknowledged.map((_, i) => before.offset + i + 1))
  for (const { changes } of acknowledged) apply(state, changes)
  let offset = before.offset + acknowledged.length
  expect(store.offset()).toBeGreaterThanOrEqual(offset)
  for (const { expect: expectations, changes, outcome } of asked) {
    if (offset === store.offset()) break
    const holds = expectations.every(({ key, version }) => (state.get(key)?.version ?? 0) === version)
    if (outcome !== 'unknown' || !holds) continue
    apply(state, changes)
    offset++
  }
  expect(store.offset()).toBe(offset)
  expect(await rowsOf(store)).toEqual(state)
  return { state, offset }
}

export async function rowsOf(store: Store): Promise<State> {
  return new Map((await store.list({})).rows.map((one) => [keyOf(one), one]))
}

function apply(state: State, changes: readonly Change[]): void {
  for (const change of changes) {
    if ('put' in change) state.set(keyOf(change.put), change.put)
    else state.delete(change.remove)
  }
}
