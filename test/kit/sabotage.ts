// The rules of the protocol, each switched off from outside: named guards are replaced, and stores, mailboxes
// and drivers are wrapped. Shipped code has no branch for it. Nothing here is a fault that may happen: with
// all rules on, the same scenario without its sabotage must find no violation.

import type { AnyStateMachine } from 'xstate'
import { type ResourceType, withChart } from '../../machines/definition.ts'
import { nodeChart } from '../../machines/node.ts'
import type { ResourceRow, ServiceRow } from '../../machines/row.ts'
import type { Environment } from '../../runtime/environment.ts'
import type { Mailbox } from '../../runtime/mailbox.ts'
import type { Seams } from '../../runtime/options.ts'
import { type Change, type Expectation, type Filter, keyOf, type StoredRow } from '../../store/store.ts'
import { overlay, standardTypes } from './fault_rig.ts'

type Types = typeof standardTypes
type Guards = { readonly [name: string]: (...args: never[]) => boolean }

/** The built-in types with guards replaced. */
export function withGuards(guards: Guards): Types {
  const replaced = (type: ResourceType) =>
    withChart(type.table, type.chart.provide({ guards: guards as never }) as AnyStateMachine)
  return standardTypes.map((type) => replaced(type as unknown as ResourceType)) as unknown as Types
}

/** The node's chart with guards replaced. */
export function nodeWithGuards(guards: Guards): AnyStateMachine {
  return nodeChart.provide({ guards: guards as never }) as AnyStateMachine
}

type StoreFor = NonNullable<Seams['storeFor']>

/** R1, R5: neither claim nor finish asks who holds the row or whether the node is up. */
export const anyoneFinishes = () => withGuards({ isClaimHolder: () => true, isServiceUp: () => true })

/** R2: `host@backend` alone tells whose claim it is; a cleaner takes those of every life. */
export const livesAreAlike = () =>
  withGuards({
    isClaimOver: (({ context, event }: { context: ResourceRow; event: { worker: string } }) =>
      context.worker === event.worker && context.incarnation !== null) as never,
  })

export const listsEveryLife: StoreFor = (_, store) =>
  overlay(store, {
    list: ({ incarnation_up_to: _up_to, ...filter }: Filter, page) => store.list(filter, page),
    count: ({ incarnation_up_to: _up_to, ...filter }: Filter) => store.count(filter),
  })

/** R3: nobody looks for rows that are queued. */
export const seesNoQueue: StoreFor = (actor, store) =>
  actor.startsWith('scheduler')
    ? overlay(store, {
        list: async (filter, page) =>
          filter.taken === false ? { rows: [], next: null } : store.list(filter, page),
      })
    : store

/** R7, and R4's other half: a write wins whatever it was decided on. */
export function writesBlindly(
  only: (actor: string) => boolean,
  touches: (row: StoredRow) => boolean,
): StoreFor {
  return (actor, store) =>
    only(actor)
      ? overlay(store, {
          transact: async (expect, changes) => {
            const isTouched = changes.some((change) => 'put' in change && touches(change.put))
            for (let result = await store.transact(expect, changes); ; ) {
              if (result.ok || !isTouched) return result
              const versions = new Map<string, number>(
                result.conflicts.map(({ key, found }) => [key, found?.version ?? 0]),
              )
              ;({ expect, changes } = over(expect, changes, versions))
              result = await store.transact(expect, changes)
            }
          },
        })
      : store
}

function over(
  expect: readonly Expectation[],
  changes: readonly Change[],
  versions: ReadonlyMap<string, number>,
): { expect: Expectation[]; changes: Change[] } {
  return {
    expect: expect.map(({ key, version }) => ({ key, version: versions.get(key) ?? version })),
    changes: changes.map((change) => {
      if (!('put' in change)) return change
      const version = versions.get(keyOf(change.put))
      return version === undefined ? change : { put: { ...change.put, version: version + 1 } }
    }),
  }
}

/**
 * R4: the message carries the operation. A node decides on the row as it was when the doorbell was rung,
 * and nothing compares a version.
 */
export function messagesCarryRows(rows: ReadonlyMap<string, StoredRow>): {
  /** Notes what a doorbell would carry. */
  post(key: string): void
  readonly storeFor: StoreFor
} {
  const carried = new Map<string, StoredRow>()
  const blind = writesBlindly(
    (actor) => actor.includes('@'),
    (row) => 'fence' in row,
  )
  return {
    post: (key) => {
      const row = rows.get(key)
      if (row?.incarnation === null && row.operation !== null && !carried.has(key)) carried.set(key, row)
    },
    storeFor: (actor, store) =>
      actor.includes('@')
        ? overlay(blind(actor, store), {
            get: async (key) => {
              const row = await store.get(key)
              const old = carried.get(key)
              // What it claimed itself it sees as it is, so that it can finish.
              return old === undefined || row?.incarnation !== null ? row : old
            },
          })
        : store,
  }
}

/**
 * R5: a life that is over goes on with its old identity. It sees its service row as its own and up,
 * whatever stands there, and nothing binds that row.
 */
export const goesOnAsItWas: StoreFor = (actor, store) => {
  if (!actor.includes('@')) return store
  let mine: ServiceRow | null = null
  const isMine = (key: string) => mine !== null && key === `service/${mine.id}`
  return overlay(store, {
    get: async (key) => {
      const row = await store.get(key)
      return isMine(key) ? ({ ...row, ...mine, state: 'up', version: row?.version ?? 0 } as never) : row
    },
    transact: async (expect, changes) => {
      const writes = changes.some((change) => 'put' in change && isMine(keyOf(change.put)))
      const result = await store.transact(writes ? expect : expect.filter(({ key }) => !isMine(key)), changes)
      if (result.ok)
        for (const change of changes)
          if ('put' in change && change.put.kind === 'service' && change.put.state === 'up')
            mine = change.put as unknown as ServiceRow
      return result
    },
  })
}

export const neverFences = () => nodeWithGuards({ isFresh: () => true })

/** R6: `cleanup_done` is a Boolean, written whatever the row says by then. */
export const closesBlindly: StoreFor = (actor, store) =>
  actor.startsWith('scheduler')
    ? overlay(store, {
        transact: async (expect, changes) => {
          const [change] = changes
          const isClose =
            change !== undefined &&
            'put' in change &&
            change.put.kind === 'service' &&
            change.put.cleaned_incarnation === change.put.incarnation
          const result = await store.transact(expect, changes)
          if (!isClose || result.ok) return result
          const found = result.conflicts[0]!.found!
          return store.transact(
            [{ key: keyOf(found), version: found.version }],
            [{ put: { ...found, version: found.version + 1, cleaned_incarnation: found.incarnation } }],
          )
        },
      })
    : store

/** R17: the text of `worker` alone tells queued from taken. */
export const workerTextTells: StoreFor = (actor, store) => {
  const isTopic = (worker: unknown, cluster: unknown) => worker === cluster
  const seen = (row: StoredRow | undefined) =>
    row !== undefined && isTopic(row.worker, row.cluster) && row.operation != null
      ? { ...row, incarnation: null }
      : row
  if (actor === 'api') return store
  return overlay(store, {
    list: async (filter, page) => {
      if (filter.taken !== false) return store.list(filter, page)
      const { taken: _taken, ...rest } = filter
      const found = await store.list(rest, page)
      return { rows: found.rows.map((row) => seen(row)!), next: found.next }
    },
    // A node that looks for something to claim; for its finish it sees what it wrote.
    get: async (key) => {
      const row = await store.get(key)
      return row?.worker === actor ? row : seen(row)
    },
  })
}

/** R11: a life that does not run in this process is held to be over. */
export const believesItIsAlone: StoreFor = (actor, store) =>
  actor.includes('@') ? overlay(store, { exclusive: true }) : store

/** R9: a send waits until the mailbox has room, and whoever makes a row queued sends. */
export function sendsBlock(mailbox: () => Mailbox, environment: Environment): StoreFor {
  return (_, store) =>
    overlay(store, {
      transact: async (expect, changes) => {
        const result = await store.transact(expect, changes)
        if (!result.ok) return result
        for (const change of changes) {
          if (!('put' in change) || change.put.operation == null || change.put.incarnation !== null) continue
          while (mailbox().size >= mailbox().capacity)
            await new Promise<void>((resolve) => environment.timer(50, resolve))
          mailbox().put(keyOf(change.put))
        }
        return result
      },
    })
}
