// Hand-made traces and the diagrams a reader gets of them, whole.

import { expect, test } from 'vitest'
import { diagram } from '../kit/diagram.ts'
import { inShort, Trace } from '../kit/trace.ts'

/** A node takes a delete, is killed, starts again; its first life's claim is cleaned while the second works. */
function fastRestart(): Trace {
  let now = 0
  const trace = new Trace(() => now)
  const at = (ms: number, event: Parameters<Trace['add']>[0]) => {
    now = ms
    trace.add(event)
  }
  const key = 'volume/v1'
  at(0, { kind: 'message', lane: 'client 1', to: 'api', text: 'delete volume/v1' })
  const asked = { before: 'available f1 v2', after: 'deleting ssd@file f1 v3' }
  at(3, { kind: 'swap', lane: 'api', text: 'accept', key, ...asked })
  at(3, { kind: 'message', lane: 'api', to: 'node h1', text: 'doorbell volume/v1', fate: 'lost' })
  const claimed = { before: 'deleting ssd@file f1 v3', after: 'deleting h1@file#1 f2 v4' }
  at(10, { kind: 'swap', lane: 'node h1', text: 'claim', key, ...claimed })
  at(12, { kind: 'step', lane: 'driver h1', text: 'delete begins with fence 2' })
  at(20, { kind: 'fault', lane: 'node h1', text: 'killed', lifeline: 'ends' })
  const service = { before: 'up life 1 cleaned 0', after: 'down life 1 cleaned 0' }
  at(1020, { kind: 'swap', lane: 'scheduler 1', text: '', key: 'service/ssd@file@h1', ...service })
  at(1030, { kind: 'fault', lane: 'node h1', text: 'started again', lifeline: 'begins' })
  at(1030, { kind: 'message', lane: 'node h1', to: 'client 1', text: 'an answer to the left' })
  const text = 'an effect of fence 2 after one of fence 3, which is the end of the story'
  at(1040, { kind: 'violation', lane: 'driver h1', invariant: 'one_worker', text })
  at(1050, { kind: 'step', lane: 'driver h1', text: 'goes on' })
  return trace
}

test('a trace is drawn with a column for each lane, arrows between them and the violating step marked', () => {
  expect(`\n${diagram(fastRestart().events, { width: 120 })}`).toMatchInlineSnapshot(`
    "
      ms  client     api        scheduler  node       driver
          1                     1          h1         h1
       0  ├──────────▶          │          │          │          delete volume/v1
       3  │          ◆          │          │          │          accept volume/v1: available f1 v2 → deleting ssd@file f1 v3
          │          ├──────────┼──────────✗          │          doorbell volume/v1 (lost)
      10  │          │          │          ◆          │          claim volume/v1: deleting ssd@file f1 v3 → deleting
          │          │          │          │          │          h1@file#1 f2 v4
      12  │          │          │          │          ●          delete begins with fence 2
      20  │          │          │          ✗          │          killed
    1020  │          │          ◆          ┊          │          service/ssd@file@h1: up life 1 cleaned 0 → down life 1
          │          │          │          ┊          │          cleaned 0
    1030  │          │          │          ○          │          started again
          ◀──────────┼──────────┼──────────┤          │          an answer to the left
    1040  │          │          │          │          ‼          VIOLATED one_worker: an effect of fence 2 after one of
          │          │          │          │          │          fence 3, which is the end of the story
    1050  │          │          │          │          ●          goes on
    "
  `)
})

test('a long trace keeps its beginning and what led to the violation, and says what it left out', () => {
  expect(`\n${diagram(fastRestart().events, { width: 100, most: 6 })}`).toMatchInlineSnapshot(`
    "
      ms  client     api        scheduler  node       driver
          1                     1          h1         h1
       0  ├──────────▶          │          │          │          delete volume/v1
       3  │          ◆          │          │          │          accept volume/v1: available f1 v2 →
          │          │          │          │          │          deleting ssd@file f1 v3
            ⋮ 4 events left out
    1020  │          │          ◆          ┊          │          service/ssd@file@h1: up life 1 cleaned
          │          │          │          ┊          │          0 → down life 1 cleaned 0
    1030  │          │          │          ○          │          started again
          ◀──────────┼──────────┼──────────┤          │          an answer to the left
    1040  │          │          │          │          ‼          VIOLATED one_worker: an effect of fence
          │          │          │          │          │          2 after one of fence 3, which is the
          │          │          │          │          │          end of the story
            ⋮ 1 later event left out
    "
  `)
})

test('of a trace without a violation the end is kept', () => {
  const trace = new Trace()
  for (let step = 1; step <= 9; step++) trace.add({ kind: 'step', lane: 'node h1', text: `step ${step}` })
  expect(`\n${diagram(trace.events, { most: 3 })}`).toMatchInlineSnapshot(`
    "
    ms  node
        h1
        ●       step 1
          ⋮ 6 events left out
        ●       step 8
        ●       step 9
    "
  `)
})

test('no line is wider than the width, however many lanes and however long a word', () => {
  const trace = new Trace(() => 123_456)
  for (let lane = 1; lane <= 14; lane++)
    trace.add({ kind: 'message', lane: `node h${lane}`, to: `scheduler ${lane % 5}`, text: 'x'.repeat(300) })
  const drawn = diagram(trace.events, { width: 120 })
  expect(Math.max(...drawn.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120)
  expect(drawn.match(/x/g)).toHaveLength(14 * 300)
})

test('a lane that is down has a broken line until it begins again', () => {
  const trace = new Trace()
  trace.add({ kind: 'fault', lane: 'node h1', text: 'killed', lifeline: 'ends' })
  trace.add({ kind: 'step', lane: 'node h2', text: 'waits' })
  trace.add({ kind: 'fault', lane: 'node h1', text: 'started', lifeline: 'begins' })
  trace.add({ kind: 'step', lane: 'node h2', text: 'waits' })
  expect(`\n${diagram(trace.events)}`).toMatchInlineSnapshot(`
    "
    ms  node    node
        h1      h2
        ✗       │       killed
        ┊       ●       waits
        ○       │       started
        │       ●       waits
    "
  `)
})

test('an empty trace draws nothing but its head', () => {
  expect(diagram([])).toBe('ms\n')
})

test('rows are told in short: who has them, in which life, with which fence', () => {
  const row = {
    ...{ kind: 'volume', id: 'v1', version: 5, status: 'deleting', previous_status: 'available' },
    ...{ worker: 'h1@file', incarnation: 2, held_by: null, fence: 8, operation: null, cluster: 'ssd@file' },
  }
  expect(inShort(row)).toBe('deleting h1@file#2 f8 v5')
  expect(inShort({ ...row, worker: 'ssd@file', incarnation: null })).toBe('deleting ssd@file f8 v5')
  const held_by = { kind: 'snapshot', id: 's1', fence: 3 }
  expect(inShort({ ...row, worker: null, incarnation: null, held_by })).toBe(
    'deleting held by snapshot/s1 f8 v5',
  )
  expect(
    inShort({ kind: 'service', id: 'x', version: 1, state: 'up', incarnation: 3, cleaned_incarnation: 2 }),
  ).toBe('up life 3 cleaned 2')
  expect(inShort({ kind: 'beat', id: 'x', version: 9, counter: 9, incarnation: 3 })).toBe('beat 9 of life 3')
  expect(inShort({ kind: 'request', id: 'r', version: 1 })).toBe('v1')
  expect(inShort(null)).toBeNull()
})
