// The mailbox by itself: a doorbell wakes one node that can take it, and none is left lying while a node
// with room waits (rule R9).

import { expect, test } from 'vitest'
import { Mailbox } from '../../runtime/mailbox.ts'

/** A node that takes doorbells, as many as it has room for. */
function node(mailbox: Mailbox, room: number) {
  const taken: string[] = []
  const wake = (): boolean => {
    if (taken.length === room) return false
    const key = mailbox.take()
    if (key === undefined) return false
    taken.push(key)
    return true
  }
  return { taken, wake }
}

test('a doorbell wakes the node that has waited longest', () => {
  const mailbox = new Mailbox(10)
  const [first, second] = [node(mailbox, 1), node(mailbox, 1)]
  mailbox.wait(first.wake)
  mailbox.wait(second.wake)
  mailbox.put('volume/a')
  mailbox.put('volume/b')
  expect([first.taken, second.taken]).toEqual([['volume/a'], ['volume/b']])
})

test('a node that can not take a doorbell leaves it to the next one', () => {
  const mailbox = new Mailbox(10)
  const [full, free] = [node(mailbox, 0), node(mailbox, 1)]
  mailbox.wait(full.wake)
  mailbox.wait(free.wake)
  mailbox.put('volume/a')
  expect(free.taken).toEqual(['volume/a'])
  expect(mailbox.size).toBe(0)
})

test('a node that begins to wait while a doorbell lies there is woken at once', () => {
  const mailbox = new Mailbox(10)
  mailbox.put('volume/a')
  const late = node(mailbox, 1)
  mailbox.wait(late.wake)
  expect(late.taken).toEqual(['volume/a'])
})

test('a node that has left is not woken', () => {
  const mailbox = new Mailbox(10)
  const gone = node(mailbox, 1)
  mailbox.wait(gone.wake)
  mailbox.leave(gone.wake)
  mailbox.put('volume/a')
  expect([gone.taken, mailbox.size]).toEqual([[], 1])
})

test('a full mailbox drops what is new, counts it, and takes again what lies there already', () => {
  const mailbox = new Mailbox(2)
  for (const key of ['volume/a', 'volume/b', 'volume/c', 'volume/a']) mailbox.put(key)
  expect([mailbox.size, mailbox.dropped]).toEqual([2, 1])
  expect([mailbox.take(), mailbox.take(), mailbox.take()]).toEqual(['volume/a', 'volume/b', undefined])
})
