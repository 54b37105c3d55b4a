// How much more a cluster@backend can take: its last report, less what was accepted since, with reserve, thin
// provisioning and over-subscription as in Cinder's CapacityFilter. All amounts are GiB. Pure; an amount that
// a driver does not say is null or absent, and is then not held against it.

import type { Capabilities } from './row.ts'

/** `null`: it does not say, so it is not known to be full. */
export interface Room {
  /** What may still be promised there, virtual where it is thin; null where it does not say. */
  readonly free_gib: number | null
  /** How that comes about, for people. */
  readonly words: string
}

/**
 * Thin: what may be promised in all is (total - reserve) x over-subscription, less what is provisioned; and
 * what is physically free beyond the reserve, times over-subscription, bounds it too. Else: free - reserve.
 *
 * @param pending_gib accepted since the report, which so does not count it
 * @param thick full size is asked for, whatever the cluster is
 */
export function roomOf(report: Capabilities | null, pending_gib: number, thick: boolean): Room {
  if (report === null || report.free_gib === null) return { free_gib: null, words: 'it does not say' }
  const { total_gib, free_gib, reserved_percent = 0 } = report
  const free = free_gib - pending_gib
  const since = pending_gib > 0 ? `, ${gib(pending_gib)} promised since its report` : ''
  if (total_gib === null) {
    // No share of an unknown total can be kept back.
    if (reserved_percent > 0)
      return { free_gib: 0, words: `${reserved_percent} % of a total that it does not say are reserved` }
    return { free_gib: free, words: `${gib(free)} are free${since}` }
  }
  if (total_gib <= 0) return { free_gib: 0, words: 'its total is 0 GiB' }
  const reserve = (total_gib * reserved_percent) / 100
  const unreserved = free - reserve
  const kept = reserve > 0 ? ` beyond the reserve of ${reserved_percent} %` : ''
  if (report.thin !== true || thick)
    return { free_gib: unreserved, words: `${gib(unreserved)} are free${kept}${since}` }
  const ratio = report.max_over_subscription ?? 1
  if (ratio < 1) return { free_gib: 0, words: `its over-subscription is ${ratio}, which is below 1` }
  const provisioned = (report.provisioned_gib ?? total_gib - free_gib) + pending_gib
  const promisable = (total_gib - reserve) * ratio - provisioned
  const physical = unreserved * ratio
  return promisable <= physical
    ? {
        free_gib: promisable,
        words: `${gib(promisable)} are free at an over-subscription of ${ratio}${kept}${since}`,
      }
    : {
        free_gib: physical,
        words: `${gib(physical)} are free at an over-subscription of ${ratio}${kept}${since}`,
      }
}

/** Amounts as people read them: no more than three places, none that a float's last bit makes. */
export function gib(amount: number): string {
  return `${Number(Math.max(0, amount).toFixed(3))} GiB`
}
