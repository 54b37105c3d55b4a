// Random histories of a register that is sequential by construction: calls take effect one after the other,
// and are asked and answered at random times around that moment. They always pass; with one lie in them they
// do not; and the search agrees with one that simply tries every order.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ResourceRow } from '../../machines/row.ts'
import { asList, startsOf } from '../../machines/table.ts'
import { volume } from '../../machines/volume.ts'
import { type Call, History } from '../kit/history.ts'
import { linearize, type Model } from '../kit/linearizable.ts'
import { absent, type RegisterState, registerOf } from '../kit/register.ts'
import { asks, historyOf, key, reads, rowOf, type ToldCall } from './story.ts'

const { operations, held } = volume.table
const asked = ['extend', 'delete', 'force_delete', 'attach', 'detach'] as const

/** One turn of the sequential register, and around it the times of a call. */
interface Turn {
  readonly dice: number
  readonly which: number
  readonly before: number
  readonly after: number
  readonly isAnswered: boolean
}

const turn: fc.Arbitrary<Turn> = fc.record({
  dice: fc.nat(9),
  which: fc.nat(60),
  before: fc.nat(35),
  after: fc.nat(35),
  isAnswered: fc.boolean(),
})

interface Run {
  readonly calls: readonly ToldCall[]
  /** The row when all is over. */
  readonly last: ResourceRow
  /** A time after every call. */
  readonly end: number
}

/** Turns into calls: each takes effect at its turn, ten units apart; in between the row moves on by itself. */
function runOf(turns: readonly Turn[]): Run {
  let row = rowOf(1, 'creating', { name: 'create', accepted: 1, previous: null })
  const calls = [asks('create', 0, 5, row)]
  turns.forEach(({ dice, which, before, after, isAnswered }, index) => {
    const at = 10 * (index + 1)
    const from = Math.max(0, at - before)
    const to = at + after
    if (dice < 4) row = moved(row, which)
    else if (dice < 6) calls.push(reads(from, to, row))
    else {
      const name = asked[which % asked.length]!
      const taken = dice < 9 ? accepted(row, name) : null
      if (taken !== null) row = taken
      if (dice === 9 && isAnswered) return
      // The ninth: an accept that never arrived.
      if (!isAnswered || dice === 9) calls.push(asks(name, from, null, null))
      else if (taken !== null) calls.push(asks(name, from, to, taken))
      else calls.push(asks(name, from, to, { refused: row.status }))
    }
  })
  return { calls, last: row, end: 10 * turns.length + 100 }
}

function accepted(row: ResourceRow, name: (typeof asked)[number]): ResourceRow | null {
  const operation = operations[name]
  if (row.status === 'gone' || !startsOf(volume.table, operation).includes(row.status)) return null
  const version = row.version + 1
  const previous = isAtRest(row) ? row.status : row.previous_status
  if (!('via' in operation)) return rowOf(version, asList(operation.to)[0]!)
  return rowOf(version, operation.via, { name, accepted: version, previous })
}

function isAtRest(row: ResourceRow): boolean {
  return row.operation === null && row.held_by === null
}

/** A claim, an end, a hold, a release, a child: whatever happens to a row without its callers. */
function moved(row: ResourceRow, which: number): ResourceRow {
  const version = row.version + 1
  const previous = row.previous_status ?? 'error'
  const end = (...ends: readonly string[]) => {
    const status = ends[which % ends.length]!
    return rowOf(version, status === 'previous' || status === 'restore' ? previous : status)
  }
  if (row.held_by !== null) {
    const { to, failed, cleanup } = held[row.status as keyof typeof held]
    return end(to, failed, cleanup)
  }
  if (row.operation !== null) {
    if (which % 2 === 0) return { ...row, version, updated_at: version }
    const { to, failed } = operations[row.operation.name as 'extend']
    return end(to, failed)
  }
  const [hold] = Object.entries(held).filter(([, { from }]) => asList(from).includes(row.status))
  if (row.status === 'gone' || hold === undefined || which % 2 === 0)
    return { ...row, version, updated_at: version }
  const held_by = { kind: 'backup', id: 'b1', fence: 1 }
  return { ...rowOf(version, hold[0]), previous_status: row.status, held_by }
}

const runs = fc.array(turn, { minLength: 1, maxLength: 40 }).map(runOf)
const verdictOf = (calls: readonly ToldCall[]) => historyOf(calls).check([volume])

test('whatever a sequential register does, its histories are linearizable', () => {
  fc.assert(
    fc.property(runs, ({ calls }) => {
      const verdict = verdictOf(calls)
      if (verdict.verdict === 'not_linearizable') throw new Error(verdict.explanation)
      expect(verdict.verdict).toBe('linearizable')
    }),
    { numRuns: 1_500, seed: 1 },
  )
})

const isRow = (told: ToldCall['told']): told is ResourceRow =>
  typeof told === 'object' && told !== null && 'version' in told

/** Runs the lie over random histories; those that offer no place for it are passed over. */
function isFound(lie: (run: Run, pick: number) => readonly ToldCall[] | null): number {
  let lies = 0
  fc.assert(
    fc.property(runs, fc.nat(1_000), (run, pick) => {
      const calls = lie(run, pick)
      if (calls === null) return
      lies++
      expect(verdictOf(calls).verdict).toBe('not_linearizable')
    }),
    { numRuns: 1_500, seed: 2 },
  )
  return lies
}

test('a stale look is found', () => {
  const lies = isFound(({ calls }, pick) => {
    // An answer that was told before the look was asked has shown a later version than the lie.
    const places = calls.flatMap((look) => {
      if (look.asked.type !== 'read') return []
      const seen = calls
        .filter(({ to, told }) => isRow(told) && to! < look.from)
        .map(({ told }) => told as ResourceRow)
      const latest = Math.max(...seen.map(({ version }) => version))
      return seen.filter(({ version }) => version < latest).map((told) => ({ look, told }))
    })
    if (places.length === 0) return null
    const { look, told } = places[pick % places.length]!
    return calls.map((call) => (call === look ? { ...call, told } : call))
  })
  expect(lies).toBeGreaterThan(200)
})

test('a lost update is found: what was accepted is not in the row of its version', () => {
  const lies = isFound(({ calls }, pick) => {
    const places = calls.filter(
      (call) => call.asked.type === 'accept' && isRow(call.told) && call.told.operation !== null,
    )
    const accept = places[pick % places.length]!
    const { version, previous_status } = accept.told as ResourceRow
    const lost = rowOf(version, previous_status ?? 'available')
    return [...calls, reads(accept.to! + 1, accept.to! + 2, lost)]
  })
  expect(lies).toBe(1_500)
})

test('a refusal is found where an accept was due', () => {
  const lies = isFound(({ calls, last, end }) => {
    if (!isAtRest(last) || last.status === 'gone') return null
    const operation = { available: 'extend', 'in-use': 'detach' }[last.status] ?? 'delete'
    // Two looks at one version: nothing happened between them.
    const refusal = asks(operation, end + 2, end + 3, { refused: 'creating' })
    return [...calls, reads(end, end + 1, last), refusal, reads(end + 4, end + 5, last)]
  })
  expect(lies).toBeGreaterThan(300)
})

/** Tries every order, every subset of the unanswered calls; knows nothing of ranks and needless orders. */
function everyOrder(calls: readonly Call[], model: Model<RegisterState, Call>): boolean {
  const from = (state: RegisterState, left: readonly Call[]): boolean => {
    const due = left.filter(({ answered }) => answered !== null)
    if (due.length === 0) return true
    const deadline = Math.min(...due.map(({ answered }) => answered!))
    return left
      .filter(({ invoked }) => invoked <= deadline)
      .some((call) => {
        const rest = left.filter((other) => other !== call)
        return model.step(state, call).some((next) => from(next, rest))
      })
  }
  return from(absent, calls)
}

test('the search agrees with one that tries every order', () => {
  const model = registerOf(volume, { cancels: false })
  const verdicts = { linearizable: 0, not_linearizable: 0, undecided: 0 }
  const small = fc.array(turn, { minLength: 3, maxLength: 12 }).map(runOf)
  fc.assert(
    fc.property(
      small,
      fc.array(fc.tuple(fc.nat(20), fc.integer({ min: -2, max: 3 })), { maxLength: 2 }),
      (run, lies) => {
        const calls = [...run.calls.slice(0, 7)]
        // Perhaps a lie: another version for some row that was told.
        for (const [place, by] of lies) {
          const index = place % calls.length
          const { told } = calls[index]!
          if (isRow(told))
            calls[index] = { ...calls[index]!, told: { ...told, version: Math.max(1, told.version + by) } }
        }
        const recorded = historyOf(calls).calls
        const { verdict } = linearize(recorded, absent, model)
        verdicts[verdict]++
        expect(verdict).toBe(everyOrder(recorded, model) ? 'linearizable' : 'not_linearizable')
      },
    ),
    { numRuns: 3_000, seed: 3 },
  )
  expect(Math.min(verdicts.linearizable, verdicts.not_linearizable)).toBeGreaterThan(500)
  expect(verdicts.undecided).toBe(0)
})

test('a recorded call is written down once, and what was withdrawn is not', () => {
  let now = 0
  const history = new History(() => now++)
  const first = history.invoke('a', key, { type: 'read' })
  first.row(rowOf(3, 'available'))
  first.row(rowOf(9, 'gone'))
  history.invoke('b', key, { type: 'accept', operation: 'extend' }).withdrawn()
  history.invoke('c', 'volume', { type: 'accept', operation: 'create' })
  expect(history.calls.map(({ number, answered }) => [number, answered])).toEqual([
    [1, 1],
    [3, null],
  ])
  expect(history.check([volume])).toEqual({ verdict: 'linearizable', resources: 1, calls: 1 })
})
