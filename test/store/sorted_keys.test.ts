// Sorted keys against a plain sorted array, with enough keys that chunks are cut and emptied.

import { expect, test } from 'vitest'
import { SortedKeys } from '../../store/sorted_keys.ts'

const orders: [string, (i: number) => number][] = [
  ['in order', (i) => i],
  ['in reverse order', (i) => 9_999 - i],
  // 7919 is prime, so each number comes once.
  ['in no order', (i) => (i * 7_919) % 10_000],
]

test.each(orders)('keys that come %s are kept in order, found from any place, and removed', (_, nth) => {
  const all = Array.from({ length: 10_000 }, (_, i) => `k${String(nth(i)).padStart(5, '0')}`)
  const keys = new SortedKeys()
  for (const key of all) keys.add(key)
  const sorted = all.toSorted()
  expect(keys.size).toBe(10_000)
  expect([...keys.from()]).toEqual(sorted)
  for (const [i, key] of sorted.entries()) {
    if (i % 97 > 0) continue
    expect(keys.from(key).next().value).toBe(key)
    expect(keys.from(`${key}!`).next().value).toBe(sorted[i + 1])
  }
  expect(keys.from('z').next().done).toBe(true)
  const left = sorted.filter((_, i) => i % 3 === 0 && (i < 4_000 || i > 8_000))
  for (const key of all) if (!left.includes(key)) keys.remove(key)
  expect([...keys.from()]).toEqual(left)
  for (const key of left) keys.remove(key)
  expect([keys.size, [...keys.from()]]).toEqual([0, []])
  keys.add('again')
  expect([...keys.from()]).toEqual(['again'])
})
