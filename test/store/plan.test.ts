// What becomes of a row that is put, whatever it holds: the copy that is kept says what its text says.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { freeze, plan } from '../../store/plan.ts'

const odd = fc.constantFrom<unknown>(undefined, new Date(0), Number.NaN, -0, () => 1, Symbol('s'), new Map())
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.string(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    odd,
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'toJSON', 'length')), tie('any'), {
      maxKeys: 3,
      noNullPrototype: false,
    }),
  ),
})).any

const isFrozen = (of: unknown): boolean =>
  typeof of !== 'object' || of === null || (Object.isFrozen(of) && Object.values(of).every(isFrozen))

test('a row that is put is kept as its text says, frozen all the way down, and is nobody else’s', () => {
  fc.assert(
    fc.property(value, value, (data, shared) => {
      const parsed = JSON.stringify(shared) === undefined ? null : JSON.parse(JSON.stringify(shared))
      const own = typeof parsed === 'object' && parsed !== null ? freeze(parsed) : parsed
      const row = { kind: 'volume', id: 'a', version: 1, data, own }
      const [planned] = plan([{ key: 'volume/a', version: 0 }], [{ put: row }])
      expect(planned!.text).toBe(JSON.stringify(row))
      expect(planned!.row).toEqual(JSON.parse(planned!.text))
      expect(isFrozen(planned!.row)).toBe(true)
      expect(planned!.row).not.toBe(row)
      const kept = planned!.row as unknown as { data: unknown; own: unknown }
      if (typeof data === 'object' && data !== null && !Object.isFrozen(data))
        expect(kept.data).not.toBe(data)
    }),
    { numRuns: 2_000 },
  )
})

test('what is frozen already is not copied again', () => {
  const data = freeze({ name: 'a', tags: [{ x: 1 }] })
  const row = { kind: 'volume', id: 'a', version: 1, data }
  const [planned] = plan([{ key: 'volume/a', version: 0 }], [{ put: row }])
  expect((planned!.row as { data?: unknown }).data).toBe(data)
})
