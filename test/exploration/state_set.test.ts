// What a search keeps its states in: found again, numbered in order, whatever their bits are.

import { describe, expect, test } from 'vitest'
import { Layout } from '../kit/exploration/layout.ts'
import { StateSet, Words } from '../kit/exploration/state_set.ts'

/** Numbers that look random, the same each time. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    yield state
  }
}

describe('the set of states', () => {
  test('finds a state again under its number, and gives a new one the next', () => {
    const set = new StateSet(3)
    const known = new Map<string, number>()
    const source = numbers(7)
    for (let i = 0; i < 200_000; i++) {
      // Few different words, so that many states come twice and differ in one word only.
      const state = Uint32Array.from({ length: 3 }, () => (source.next().value as number) >>> 27)
      const text = state.join()
      const index = set.add(state, i === 0 ? null : 0)
      expect(index).toBe(known.get(text) ?? known.size)
      known.set(text, index)
    }
    expect(set.size).toBe(known.size)
    const state = new Uint32Array(3)
    for (const [text, index] of known) {
      set.read(index, state)
      expect(state.join()).toBe(text)
    }
  })

  test('keeps all 32 bits of every word apart', () => {
    const set = new StateSet(2)
    for (let word = 0; word < 2; word++)
      for (let bit = 0; bit < 32; bit++) {
        const state = new Uint32Array(2)
        state[word] = 2 ** bit
        expect(set.add(state, null)).toBe(word * 32 + bit)
      }
  })

  test('knows from which state each was found, and what it takes of memory', () => {
    const set = new StateSet(1)
    set.add(Uint32Array.of(5), null)
    set.add(Uint32Array.of(6), 0)
    set.add(Uint32Array.of(7), 1)
    set.add(Uint32Array.of(6), 2)
    expect([0, 1, 2].map((index) => set.parentOf(index))).toEqual([null, 0, 1])
    expect(set.bytes).toBeGreaterThan(3 * 8)
  })

  test('a list of words grows past its first piece', () => {
    const words = new Words()
    for (let i = 0; i < 150_000; i++) words.push(2 ** 32 - 1 - i)
    expect([words.length, words.at(0), words.at(65_536), words.at(149_999)]).toEqual([
      150_000,
      2 ** 32 - 1,
      2 ** 32 - 1 - 65_536,
      2 ** 32 - 1 - 149_999,
    ])
  })
})

describe('the layout of a state', () => {
  test('what is packed is unpacked as it was, fields of 16 bits and of one', () => {
    const layout = new Layout()
    layout.group('a', 3, { wide: 16, narrow: 1, middle: 7 })
    layout.group('b', 5, { most: 12 })
    const packed = new Uint32Array(layout.words)
    const back = new Uint16Array(layout.length)
    const source = numbers(3)
    for (let i = 0; i < 1_000; i++) {
      const state = Uint16Array.from({ length: layout.length }, (_, at) => {
        const bits = at >= 9 ? 12 : [16, 1, 7][at % 3]!
        return (source.next().value as number) >>> (32 - bits)
      })
      layout.pack(state, packed)
      layout.unpack(packed, back)
      expect(back).toEqual(state)
    }
  })

  test('a number that has no room is an error that names its field', () => {
    const layout = new Layout()
    layout.group('node', 2, { life: 2 })
    const packed = new Uint32Array(layout.words)
    expect(() => layout.pack(Uint16Array.of(3, 4), packed)).toThrow('node 2 life is 4, more than 3')
  })
})
