// The table with tiny chunks, so that they are cut and emptied all the time, against a plain map of rows.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { keyOf, type StoredRow } from '../../store/store.ts'
import { Table } from '../../store/table.ts'

const statuses = ['available', 'error', 'deleting']

test('rows stay in key order and in the right bucket however chunks are cut and emptied', () => {
  const change = fc.record({ id: fc.nat(60), status: fc.constantFrom(null, ...statuses) })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), fc.nat(60), (changes, at) => {
      const table = new Table(4)
      const model = new Map<string, StoredRow>()
      for (const { id, status } of changes) {
        const key = `volume/${String(id).padStart(2, '0')}`
        const version = (model.get(key)?.version ?? 0) + 1
        const row = status === null ? null : { kind: 'volume', id: key.slice(7), version, status }
        table.set(key, row)
        if (row === null) model.delete(key)
        else model.set(key, row)
      }
      const sorted = [...model.values()].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
      const from = `volume/${String(at).padStart(2, '0')}`
      expect(table.size).toBe(sorted.length)
      expect(table.list({}).rows).toEqual(sorted)
      expect(table.range(undefined, undefined, 100)).toEqual(sorted)
      expect(table.range(from, 'volume/50', 5)).toEqual(
        sorted.filter((row) => keyOf(row) >= from && keyOf(row) < 'volume/50').slice(0, 5),
      )
      for (const status of statuses) {
        const wanted = sorted.filter((row) => row.status === status)
        expect(table.count({ status })).toBe(wanted.length)
        expect(table.list({ kind: 'volume', status }, { after: from }).rows).toEqual(
          wanted.filter((row) => keyOf(row) > from),
        )
      }
    }),
    { numRuns: 200 },
  )
})
