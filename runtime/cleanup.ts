// Putting right what lives that are over left: the same steps for a starting node and for a scheduler.
// Several cleaners may race over the same rows; each row is one compare-and-swap, losers say nothing.

import type { Types } from '../machines/decision.ts'
import type { Limits } from '../machines/resource.ts'
import type { ResourceRow } from '../machines/row.ts'
import { StoreError } from '../store/error.ts'
import { keyOf, type Store } from '../store/store.ts'
import type { Calls } from './calls.ts'
import { commit, type Runner } from './commit.ts'
import type { Environment } from './environment.ts'
import { messageOf } from './error.ts'
import { fieldsOf, type Logger } from './log.ts'
import { limitsOf, type Settings } from './settings.ts'

/**
 * Lives that ended because the store or a probe was lost: a claim of theirs counts as no attempt. Known to this
 * process only; one that it does not know of counts.
 */
export class Spared {
  readonly #lives = new Set<string>()

  add(worker: string, incarnation: number): void {
    this.#lives.add(`${worker} ${incarnation}`)
  }

  /** The limits of a row, whose attempts are those of its history. */
  limits(limits: Limits, row: ResourceRow): Limits {
    const spared = (row.operation?.history ?? []).filter(
      // A claim at an earlier place is no attempt here.
      ({ worker, incarnation, not_here }) =>
        not_here === undefined && this.#lives.has(`${worker} ${incarnation}`),
    )
    return { ...limits, attempts: limits.attempts + spared.length }
  }
}

export interface CleanupPorts {
  readonly types: Types
  readonly store: Store
  readonly calls: Calls
  readonly spared: Spared
  readonly runner: Runner
  readonly settings: Settings
  readonly environment: Environment
  readonly log: Logger
}

export interface CleanupDuty {
  /** `host@backend`. */
  readonly worker: string
  /** Claims of this incarnation and all before it are over. */
  readonly incarnation: number
  /** The driver of that node can fence or undo. */
  readonly at_backend: boolean
  readonly reason: string
  /** Claims made after this time are not touched; all of them where absent. */
  readonly until?: number
  /** Which of its rows; all of them where absent. */
  readonly only?: (row: ResourceRow) => boolean
}

export interface Cleaned {
  readonly put_right: number
  /** Rows that another cleaner had first. */
  readonly lost: number
  /** Rows that could not be put right now: a call of this process still runs on them, or a fault. */
  readonly left: number
}

const PAGE = 500

/** Puts right every claim of a life that is over. A row that fails does not stop the others (rule R14). */
export async function cleanClaims(ports: CleanupPorts, duty: CleanupDuty): Promise<Cleaned> {
  const total = { put_right: 0, lost: 0, left: 0 }
  const filter = { worker: duty.worker, taken: true, incarnation_up_to: duty.incarnation }
  let after: string | null = null
  do {
    const page: { rows: readonly unknown[]; next: string | null } = await ports.store.list(filter, {
      after,
      limit: PAGE,
    })
    const rows = (page.rows as ResourceRow[]).filter((row) => duty.only?.(row) ?? true)
    const results = await Promise.all(rows.map((row) => cleanOne(ports, duty, row)))
    for (const result of results) total[result]++
    after = page.next
  } while (after !== null)
  return total
}

async function cleanOne(ports: CleanupPorts, duty: CleanupDuty, row: ResourceRow): Promise<keyof Cleaned> {
  // Without a mark to raise, the row may not change hands while the old call runs here (rule R18).
  if (!duty.at_backend && ports.calls.holds(keyOf(row))) return 'left'
  try {
    const outcome = await commit(
      ports.types,
      ports.store,
      {
        ref: row,
        event: (found) => ({
          type: 'cleanup',
          worker: duty.worker,
          incarnation: duty.incarnation,
          at_backend: duty.at_backend,
          reason: duty.reason,
          limits: ports.spared.limits(limitsOf(ports.settings), found),
          at: ports.environment.now(),
          ...(duty.until === undefined ? {} : { until: duty.until }),
        }),
      },
      ports.runner,
    )
    return outcome.ok ? 'put_right' : 'lost'
  } catch (error) {
    if (error instanceof StoreError && error.code === 'store_lost') throw error
    ports.log.warn(`${keyOf(row)} could not be put right: ${messageOf(error)}`, fieldsOf(row))
    return 'left'
  }
}
