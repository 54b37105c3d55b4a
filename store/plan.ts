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
    const expected = expect.find((expectation) => expectation.key === key)
    if (expected === undefined) throw new TypeError(`${key} is changed but not expected`)
    if (planned.length > 0 && planned.some((other) => other.key === key))
      throw new TypeError(`${key} is changed twice in one transaction`)
    // The expectation's text has been looked up with before, so its hash is known.
    const { key: known, version } = expected
    planned.push('put' in change ? planPut(known, version, change.put) : planRemoval(known, version))
  }
  return planned
}

function planPut(key: Key, expected: number, row: StoredRow): Planned {
  if (typeof row.kind !== 'string' || row.kind === '' || row.kind.includes('/') || typeof row.id !== 'string')
    throw new TypeError(`${key}: a kind is a text without a slash, an id is a text`)
  if (row.version !== expected + 1)
    throw new TypeError(`${key} is put with version ${row.version}; ${expected + 1} follows the one expected`)
  const copy = copyOfObject(row) as StoredRow | null
  // The text of the copy, so that both say the same, whatever a getter of the original says next time.
  const text = JSON.stringify(copy ?? row)
  return { key, version: row.version, row: copy ?? freeze(JSON.parse(text) as StoredRow), text }
}

/**
 * A frozen copy of a plain object of JSON; parts that are frozen all the way down are not copied again, and a
 * row shares most of its parts with the one before. Null where JSON would say something else than the object
 * (a Date, an undefined, NaN): then its text is parsed. Against parsing every text it takes half the time
 * (3 µs a row), and leaves less to the garbage collector.
 */
function copyOfObject(value: object): object | null {
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype) return Array.isArray(value) ? copyOfList(value) : null
  let copy: { [name: string]: unknown } | null = Object.isFrozen(value) ? null : { ...value }
  for (const name in value) {
    const field = (value as { [name: string]: unknown })[name]
    if (typeof field === 'object' && field !== null) {
      const inner = copyOfObject(field)
      if (inner === null) return null
      if (inner === field) continue
      copy ??= { ...value }
      copy[name] = inner
    } else if (!isJson(field)) return null
  }
  return copy === null ? value : Object.freeze(copy)
}

function copyOfList(value: readonly unknown[]): object | null {
  const copy: unknown[] = []
  let isOwn = Object.isFrozen(value)
  // By index, so that a hole is met as well.
  for (let index = 0; index < value.length; index++) {
    const item = value[index]
    const isObject = typeof item === 'object' && item !== null
    const inner = isObject ? copyOfObject(item) : item
    if (isObject ? inner === null : !isJson(item)) return null
    isOwn &&= inner === item
    copy.push(inner)
  }
  return isOwn ? value : Object.freeze(copy)
}

/** As JSON has it: neither undefined nor a function, no number that it can't write. */
function isJson(value: unknown): boolean {
  return typeof value === 'number'
    ? Number.isFinite(value) && !Object.is(value, -0)
    : typeof value === 'string' || typeof value === 'boolean' || value === null
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
