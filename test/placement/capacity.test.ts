// The arithmetic of room: what a report leaves free, with reserve, thin provisioning, over-subscription and what
// was promised since. Expected amounts are worked out by hand.

import { describe, expect, test } from 'vitest'
import { gib, roomOf } from '../../machines/capacity.ts'
import type { Capabilities } from '../../machines/row.ts'

const full = { total_gib: 100, free_gib: 60 }

describe('What a cluster still takes', () => {
  const cases: readonly [string, Capabilities | null, number, number | null][] = [
    ['nothing is known without a report', null, 5, null],
    [
      'nothing is known where the driver does not say what is free',
      { total_gib: 100, free_gib: null },
      5,
      null,
    ],
    ['what is free', full, 0, 60],
    ['what is free, less what was promised since', full, 25, 35],
    ['less than nothing, where more was promised than is free', full, 70, -10],
    ['what is free beyond a reserve of the total', { ...full, reserved_percent: 10 }, 0, 50],
    ['nothing beyond a reserve that is larger than what is free', { ...full, reserved_percent: 70 }, 0, -10],
    ['what is free of an unknown total', { total_gib: null, free_gib: 60 }, 20, 40],
    [
      'nothing of an unknown total of which a share is reserved',
      { total_gib: null, free_gib: 60, reserved_percent: 1 },
      0,
      0,
    ],
    ['nothing where the total is nothing', { total_gib: 0, free_gib: 0 }, 0, 0],
    // Thin: (total - reserve) x ratio - provisioned, and (free - reserve) x ratio.
    [
      'once the total where it is thin and may not be over-subscribed',
      { ...full, thin: true, provisioned_gib: 90 },
      0,
      10,
    ],
    [
      'the over-subscribed total less what is provisioned',
      { ...full, thin: true, provisioned_gib: 150, max_over_subscription: 2 },
      0,
      50,
    ],
    [
      'the same beyond a reserve',
      { ...full, thin: true, provisioned_gib: 150, max_over_subscription: 2, reserved_percent: 20 },
      0,
      10,
    ],
    [
      'no more than what is physically free, over-subscribed',
      { total_gib: 100, free_gib: 5, thin: true, provisioned_gib: 20, max_over_subscription: 3 },
      0,
      15,
    ],
    [
      'the over-subscribed total less what is provisioned and promised since',
      { ...full, thin: true, provisioned_gib: 150, max_over_subscription: 2 },
      30,
      20,
    ],
    ['what is used, where a thin cluster does not say what it provisioned', { ...full, thin: true }, 0, 60],
    [
      'nothing where the over-subscription is below 1',
      { ...full, thin: true, max_over_subscription: 0.5 },
      0,
      0,
    ],
    [
      'plain free space where it is not thin, whatever ratio it says',
      { ...full, max_over_subscription: 9 },
      0,
      60,
    ],
  ]

  test.each(cases)('is %s', (_, report, pending, free) => {
    const room = roomOf(report, pending, false)
    if (free === null) expect(room.free_gib).toBe(null)
    else expect(room.free_gib).toBeCloseTo(free, 9)
    expect(room.words).not.toBe('')
  })

  test('counts the full size against free space where thick is asked for', () => {
    const thin = { total_gib: 100, free_gib: 60, thin: true, provisioned_gib: 10, max_over_subscription: 20 }
    expect(roomOf(thin, 0, false).free_gib).toBe(1_200)
    expect(roomOf(thin, 0, true).free_gib).toBe(60)
  })

  test('is told in words that name the reserve, the over-subscription and what was promised', () => {
    const report = {
      ...full,
      thin: true,
      provisioned_gib: 150,
      max_over_subscription: 2,
      reserved_percent: 20,
    }
    expect(roomOf(report, 4, false).words).toBe(
      '6 GiB are free at an over-subscription of 2 beyond the reserve of 20 %, 4 GiB promised since its report',
    )
  })
})

test('amounts are told with three places at most, and never below nothing', () => {
  expect([gib(1), gib(0.1 + 0.2), gib(1 / 3), gib(-4)]).toEqual(['1 GiB', '0.3 GiB', '0.333 GiB', '0 GiB'])
})
