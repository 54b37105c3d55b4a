// Hand-made histories of one volume: calls with their times, told in any order, recorded as they would have
// been. It makes no judgement.

import type { ResourceRow } from '../../machines/row.ts'
import { volume } from '../../machines/volume.ts'
import { History, type HistoryVerdict } from '../kit/history.ts'
import type { Asked } from '../kit/register.ts'

export const key = 'volume/v1'

/** A row of volume v1 as a caller is told it: at rest, or with an operation accepted at some version. */
export function rowOf(
  version: number,
  status: string,
  operation: {
    readonly name: string
    readonly accepted: number
    readonly previous: string | null
  } | null = null,
): ResourceRow {
  return {
    ...{
      kind: 'volume',
      id: 'v1',
      version,
      status,
      previous_status: operation === null ? status : operation.previous,
    },
    ...{ worker: null, incarnation: null, cluster: 'ssd@file', host: null, held_by: null, fence: 0 },
    ...{ attempts: 0, children: {}, data: {}, error: null, created_at: 0, updated_at: version },
    operation:
      operation === null
        ? null
        : {
            ...{ name: operation.name, input: {}, request_id: null, accepted_at: 0 },
            ...{ accepted_version: operation.accepted, progress: null, cancel_requested_at: null },
            ...{ history: [], cleanup: null },
          },
  }
}

export const creating = rowOf(1, 'creating', { name: 'create', accepted: 1, previous: null })
export const extending = (version: number, accepted: number) =>
  rowOf(version, 'extending', { name: 'extend', accepted, previous: 'available' })
export const deleting = (version: number, accepted: number) =>
  rowOf(version, 'deleting', { name: 'delete', accepted, previous: 'available' })

export type Told = ResourceRow | 'absent' | 'accepted' | { readonly refused: string; readonly guard?: string }

export interface ToldCall {
  readonly asked: Asked
  readonly from: number
  /** Null: no answer came. */
  readonly to: number | null
  readonly told: Told | null
}

export const asks = (operation: string, from: number, to: number | null, told: Told | null): ToldCall => ({
  ...{ asked: { type: 'accept', operation }, from, to, told },
})
export const reads = (from: number, to: number, told: Told): ToldCall => ({
  ...{ asked: { type: 'read' }, from, to, told },
})

/** Writes the calls down at their times; each has a client of its own. */
export function historyOf(calls: readonly ToldCall[]): History {
  let now = 0
  const history = new History(() => now)
  const moments: { at: number; run: () => void }[] = []
  calls.forEach(({ asked, from, to, told }, index) => {
    moments.push({
      at: from,
      run: () => {
        const call = history.invoke(`client ${index + 1}`, key, asked)
        if (to === null || told === null) return
        const answer = () => {
          if (told === 'absent') call.absent()
          else if (told === 'accepted') call.accepted(key)
          else if ('refused' in told)
            call.refusal({
              ...{ resource: { kind: 'volume', id: 'v1' }, found: told.refused, guard: told.guard ?? null },
            })
          else call.row(told)
        }
        moments.push({ at: to, run: answer })
      },
    })
  })
  while (moments.length > 0) {
    moments.sort((a, b) => a.at - b.at)
    const next = moments.shift()!
    now = next.at
    next.run()
  }
  return history
}

export function judged(...calls: readonly ToldCall[]): HistoryVerdict {
  return historyOf(calls).check([volume])
}
