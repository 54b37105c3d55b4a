// A process that dies at a numbered crash point of runtime/commit.ts, as its store sees it: from that moment
// on nothing of it reads or writes any more. Which commit it is, is said by what becomes of the row.

import type { ResourceRow } from '../../machines/row.ts'
import type { Seams } from '../../runtime/options.ts'
import type { Change } from '../../store/store.ts'
import { overlay } from './fault_rig.ts'

/** What a dead process is answered. */
export const never = new Promise<never>(() => {})

/** What a change of a resource's row is: the moments at which a crash is interesting. */
export function momentOf(actor: string, changes: readonly Change[]): string | null {
  for (const change of changes) {
    if (!('put' in change) || !('fence' in change.put)) continue
    const row = change.put as unknown as ResourceRow
    if (row.operation === null && row.held_by === null)
      return actor === 'api' ? 'instant' : actor.startsWith('scheduler') ? 'put right' : 'finish'
    if (row.incarnation !== null) return row.operation?.cleanup === null ? 'claim' : 'claim of a cleanup'
    if (row.operation?.cleanup != null) return 'queue a cleanup'
    if (actor === 'api') return 'accept'
    return 'requeue'
  }
  return null
}

/** A process that dies at the n-th such moment, at the crash point: nothing of it goes on, no write, no read. */
export class Mortal {
  crashed = false
  died_at: string | null = null
  readonly seams: Seams
  #left: number

  constructor(moment: string, nth: number, point: 1 | 2) {
    this.#left = nth
    this.seams = {
      storeFor: (actor, store) => {
        const alive =
          <A extends unknown[], R>(run: (...args: A) => Promise<R>) =>
          async (...args: A): Promise<R> => {
            if (this.crashed) return never
            const result = await run(...args)
            return this.crashed ? never : result
          }
        return overlay(store, {
          get: alive((key) => store.get(key)),
          list: alive((filter, page) => store.list(filter, page)),
          count: alive((filter) => store.count(filter)),
          transact: async (expect, changes) => {
            if (this.crashed) return never
            const isIt = momentOf(actor, changes) === moment
            if (isIt && point === 1 && --this.#left === 0) return this.#die(actor)
            const result = await store.transact(expect, changes)
            if (isIt && point === 2 && result.ok && --this.#left === 0) return this.#die(actor)
            return this.crashed ? never : result
          },
        })
      },
    }
  }

  #die(actor: string): Promise<never> {
    this.crashed = true
    this.died_at = actor
    return never
  }
}
