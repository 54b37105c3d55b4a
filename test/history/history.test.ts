// The checker is checked: histories that are known to be linearizable pass, known faults are found and told
// in words.

import { describe, expect, test } from 'vitest'
import { volume } from '../../machines/volume.ts'
import {
  asks,
  creating,
  deleting,
  extending,
  historyOf,
  judged,
  reads,
  rowOf,
  type ToldCall,
} from './story.ts'

const made = asks('create', 0, 1, creating)
const available = rowOf(3, 'available')
const removed = asks('delete', 4, 5, deleting(4, 4))

describe('these are linearizable', () => {
  const holds = (title: string, ...calls: readonly ToldCall[]) =>
    test(title, () => {
      expect(judged(...calls).verdict).toBe('linearizable')
    })

  holds('one call after the other', made, reads(2, 3, creating), reads(4, 5, available))
  holds(
    'a look that overlaps an accept may see the row before it',
    made,
    asks('extend', 10, 20, extending(4, 4)),
    reads(12, 25, available),
    reads(11, 13, extending(4, 4)),
  )
  holds(
    'intervals that touch are concurrent',
    made,
    asks('extend', 10, 20, extending(4, 4)),
    reads(20, 25, available),
  )
  holds(
    'of two accepts at once one is refused',
    made,
    asks('extend', 10, 20, extending(4, 4)),
    asks('delete', 10, 20, { refused: 'extending' }),
  )
  holds(
    'the refused one may be the first to be answered',
    made,
    asks('extend', 10, 30, extending(4, 4)),
    asks('delete', 11, 12, { refused: 'extending' }),
  )
  holds(
    'an accept without an answer took effect',
    made,
    asks('delete', 10, null, null),
    reads(11, 12, deleting(4, 4)),
  )
  holds(
    'an accept without an answer took no effect',
    made,
    asks('delete', 10, null, null),
    reads(500, 501, available),
  )
  holds(
    'an accept without an answer took effect very late',
    made,
    asks('delete', 10, null, null),
    reads(500, 501, available),
    reads(600, 601, deleting(4, 4)),
  )
  holds(
    'two accepts without an answer, one after the other',
    made,
    asks('extend', 10, null, null),
    asks('delete', 10, null, null),
    reads(20, 21, extending(5, 4)),
    reads(30, 31, rowOf(6, 'available')),
    reads(40, 41, deleting(9, 7)),
  )
  holds(
    'a guard may refuse in a status that is right',
    made,
    reads(2, 3, available),
    asks('delete', 4, 5, { refused: 'available', guard: 'hasNoSnapshots' }),
    reads(6, 7, available),
  )
  holds(
    'a force operation interrupts another',
    made,
    asks('force_delete', 2, 3, rowOf(2, 'deleting', { name: 'force_delete', accepted: 2, previous: null })),
    reads(4, 5, rowOf(5, 'gone')),
  )
  holds(
    'a repeated accept tells no version',
    made,
    asks('delete', 10, 20, 'accepted'),
    reads(21, 22, rowOf(6, 'gone')),
  )
  holds(
    'what is gone is forgotten after a while',
    made,
    removed,
    reads(9, 10, rowOf(6, 'gone')),
    reads(11, 12, 'absent'),
  )
  holds(
    'an operation of another resource holds it',
    made,
    reads(2, 3, available),
    asks('extend', 4, 5, { refused: 'backing-up' }),
    reads(6, 7, rowOf(5, 'available')),
  )
  holds('a history that begins in the middle', reads(2, 3, available), asks('extend', 4, 5, extending(4, 4)))
})

const cancelled = { asked: { type: 'cancel' }, from: 2, to: 3, told: rowOf(2, 'gone') } as const

describe('a cancel', () => {
  test('takes a create back', () => {
    expect(judged(made, cancelled, reads(4, 5, rowOf(2, 'gone'))).verdict).toBe('linearizable')
  })

  test('without an answer may have taken it back as well', () => {
    const unanswered = { ...cancelled, to: null, told: null }
    expect(judged(made, unanswered, reads(4, 5, rowOf(2, 'gone'))).verdict).toBe('linearizable')
  })

  test('that nobody asked for did not take place', () => {
    expect(judged(made, reads(4, 5, rowOf(2, 'gone'))).verdict).toBe('not_linearizable')
  })

  test('that was taken wrote something', () => {
    const busy = rowOf(2, 'creating', { name: 'create', accepted: 1, previous: null })
    const took = { asked: { type: 'cancel' }, from: 6, to: 7, told: busy } as const
    expect(judged(made, reads(2, 3, busy), took).verdict).toBe('not_linearizable')
  })
})

describe('these are not', () => {
  const breaks = (title: string, number: number, ...calls: readonly ToldCall[]) =>
    test(title, () => {
      const verdict = judged(...calls)
      expect(verdict.verdict).toBe('not_linearizable')
      if (verdict.verdict === 'not_linearizable')
        expect(verdict.explanation).toContain(`explains the answer of #${number}.`)
    })

  breaks('a stale look', 3, made, reads(2, 3, available), reads(4, 5, creating))
  breaks(
    'a stale look after an accept that was answered',
    3,
    made,
    asks('extend', 10, 20, extending(4, 4)),
    reads(21, 25, available),
  )
  breaks(
    'a lost update',
    3,
    made,
    asks('extend', 10, 20, extending(4, 4)),
    reads(21, 22, rowOf(4, 'available')),
  )
  breaks(
    'two accepts of one version',
    3,
    made,
    asks('extend', 10, 20, extending(4, 4)),
    asks('delete', 10, 21, deleting(4, 4)),
  )
  breaks(
    'an accept while another operation was there',
    3,
    made,
    asks('extend', 10, 20, extending(4, 4)),
    asks('delete', 30, 31, deleting(5, 5)),
  )
  breaks('a refusal that should have been an accept', 2, made, asks('extend', 4, 5, { refused: 'available' }))
  breaks(
    'a refusal that saw what was not there',
    3,
    made,
    reads(2, 3, available),
    reads(6, 7, available),
    asks('delete', 4, 5, { refused: 'deleting' }),
  )
  breaks('an operation that nobody asked for', 3, made, reads(2, 3, available), reads(4, 5, deleting(4, 4)))
  breaks(
    'an accept without an answer that took effect twice',
    5,
    made,
    asks('delete', 10, null, null),
    reads(11, 12, deleting(4, 4)),
    reads(13, 14, rowOf(6, 'error_deleting')),
    reads(15, 16, rowOf(8, 'deleting', { name: 'delete', accepted: 7, previous: 'error_deleting' })),
  )
  breaks(
    'an accept that took effect before it was asked',
    3,
    made,
    reads(2, 3, available),
    reads(4, 5, deleting(4, 4)),
    asks('delete', 6, null, null),
  )
  breaks(
    'an end that the operation does not have',
    3,
    made,
    asks('extend', 10, 20, extending(4, 4)),
    reads(21, 22, rowOf(6, 'error_deleting')),
  )
  breaks(
    'a row that changed without a new version',
    3,
    made,
    reads(2, 3, available),
    reads(4, 5, { ...available, data: { size: 7 } }),
  )
  breaks(
    'what is gone comes back',
    4,
    made,
    removed,
    reads(9, 10, rowOf(6, 'gone')),
    reads(11, 12, rowOf(7, 'available')),
  )
  breaks('what was made and not deleted is absent', 2, made, reads(2, 3, 'absent'))
})

test('a fault is told with the shortest story that shows it', () => {
  const verdict = judged(
    made,
    reads(2, 3, available),
    reads(2.5, 3, available),
    asks('extend', 10, 12.25, extending(4, 4)),
    asks('delete', 11, 12, { refused: 'extending' }),
    reads(14, 15, extending(5, 4)),
    asks('delete', 15, null, null),
    reads(16, 18, rowOf(4, 'available')),
    reads(30, 31, rowOf(6, 'available')),
  )
  expect(verdict.verdict === 'not_linearizable' && `\n${verdict.explanation}\n`).toMatchInlineSnapshot(`
    "
    volume/v1: no order of these calls explains the answer of #8.
    Each stands with the time it was asked and the time it was answered; calls whose times overlap or touch
    may stand in any order, and one without an answer may have taken effect or not.
      #6 client 6 read [14 .. 15]: version 5 extending (extend accepted at version 4)
      #7 client 7 asks delete [15 .. ]: no answer
    > #8 client 8 read [16 .. 18]: version 4 available
    Before #8 the row was: version 5 extending (extend accepted at version 4), or on its way to an end.
    "
  `)
})

test('a search that would be too long is undecided, never passed', () => {
  const many = Array.from({ length: 30 }, () => asks('extend', 10, null, null))
  const history = historyOf([made, ...many, reads(20, 21, available), reads(30, 31, rowOf(90, 'gone'))])
  expect(history.check([volume], 20)).toEqual({ verdict: 'undecided', keys: ['volume/v1'] })
})

test('calls of a kind whose type is not given are an error', () => {
  const history = historyOf([made])
  expect(() => history.check([])).toThrow('volume/v1, whose type is not among those given')
})
