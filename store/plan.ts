// What a transaction asks for, checked and copied at the call: rows go in as JSON and become frozen, so
// nobody can change one in place and a row reads the same before and after reopening. It may not look at
// a row that is stored.

import { type Change, type Expectation, type Key, keyOf, type StoredRow } from './store.ts'

/** One change with the version it leads to: 0 and null for a removal. */
export interface Planned {
  readonly key: Key
  readonly version: number
  readonly row: StoredRow | null
  /** The JSON of the row, or of the key removed. Made once, for the copy and for the disk. */
  readonly text: string
}

/**
 * Throws a `TypeError` that names the key where the call breaks the contract: a mistake in the program, not
 * a conflict. Nothing is changed by it.
 */
export function plan(expect: readonly Expectation[], changes: readonly Change[]): Planned[] {
  const planned: Planned[] = []
  for (const change of changes) {
    const key = 'put' in change ? keyOf(change.put) : change.remove
    const version = expect.find((expectation) => expectation.key === key)?.version
    if (version === undefined) throw new TypeError(`${key} is changed but not expected`)
    if (planned.some((other) => other.key === key))
      throw new TypeError(`${key} is changed twice in one transaction`)
    planned.push('put' in change ? planPut(key, version, change.put) : planRemoval(key, version))
  }
  return planned
}

function planPut(key: Key, expected: number, row: StoredRow): Planned {
  if (typeof row.kind !== 'string' || row.kind === '' || row.kind.includes('/') || typeof row.id !== 'string')
    throw new TypeError(`${key}: a kind is a text without a slash, an id is a text`)
  if (row.version !== expected + 1)
    throw new TypeError(`${key} is put with version ${row.version}; ${expected + 1} follows the one expected`)
  const text = JSON.stringify(row)
  return { key, version: row.version, row: freeze(JSON.parse(text) as StoredRow), text }
}

function planRemoval(key: Key, expected: number): Planned {
  if (expected === 0) throw new TypeError(`${key} is removed but expected to be absent`)
  return { key, version: 0, row: null, text: JSON.stringify(key) }
}

/** Freezes JSON all the way down, in place. */
export function freeze<T extends object>(value: T): T {
  for (const name in value) {
    const field = value[name]
    if (typeof field === 'object' && field !== null) freeze(field)
  }
  return Object.freeze(value)
}
