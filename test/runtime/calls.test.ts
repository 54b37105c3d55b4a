// The calls of a process that have not settled, by themselves: whom an abort reaches, and what a call that no
// mark can stop keeps back (rules R13, R18).

import { expect, test } from 'vitest'
import { Abort, Calls } from '../../runtime/calls.ts'
import { Aborted } from '../../runtime/work.ts'

const why = new Aborted('superseded', 'its claim is over')

function rig() {
  const rung: string[] = []
  const calls = new Calls(
    () => 7,
    (key) => rung.push(key),
  )
  const begin = (key: string, fence: number, more: { touches?: string[]; can_fence?: boolean } = {}) => {
    const { touches = [key], can_fence = false } = more
    return calls.begin({
      key,
      touches,
      fence,
      worker: 'h1@file',
      abort: new Abort(),
      can_fence,
    })
  }
  return { calls, rung, begin }
}

test("an abort reaches the calls of a resource's own operation up to its fence, and no others", () => {
  const { calls, begin } = rig()
  const [older, now, later] = [3, 4, 5].map((fence) => begin('volume/a', fence))
  const elsewhere = begin('volume/b', 3)
  // A backup of the volume touches it; its fence is one of the backup's and says nothing of the volume's.
  const backup = begin('backup/c', 1, { touches: ['backup/c', 'volume/a'] })
  calls.abortUpTo('volume/a', 4, why)
  const reached = [older, now, later, elsewhere, backup].map((call) => call!.abort.signal.aborted)
  expect(reached).toEqual([true, true, false, false, false])
  expect(older!.abort.signal.reason).toBe(why)
  expect(calls.leftovers()).toEqual([older, now])
})

test('a call keeps back everything that it touches until it has settled, unless a mark stops it', () => {
  const { calls, begin } = rig()
  const backup = begin('backup/c', 1, { touches: ['backup/c', 'volume/a'] })
  begin('volume/b', 1, { can_fence: true })
  const held = () => ['backup/c', 'volume/a', 'volume/b'].map((key) => calls.holds(key))
  expect(held()).toEqual([true, true, false])
  calls.abort(backup, why)
  expect(held()).toEqual([true, true, false])
  calls.settled(backup)
  expect(held()).toEqual([false, false, false])
  expect([calls.has('volume/a'), calls.has('volume/b')]).toEqual([false, true])
})

test('the end of a call that was aborted rings for all that it touched, once; that of any other for nothing', () => {
  const { calls, rung, begin } = rig()
  const left = begin('backup/c', 1, { touches: ['backup/c', 'volume/a'] })
  const good = begin('volume/b', 1)
  calls.abort(left, why)
  calls.abort(left, new Aborted('cancelled', 'a second abort says nothing new'))
  expect([left.aborted_at, left.abort.signal.reason]).toEqual([7, why])
  for (const call of [left, left, good]) calls.settled(call)
  expect(rung).toEqual(['backup/c', 'volume/a'])
  expect([calls.hasSettled(left), calls.leftovers()]).toEqual([true, []])
})
