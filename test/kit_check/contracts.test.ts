// The contract suites find what they are for: each test here breaks one promise of a store or of a driver on
// purpose, and names the tests of the suite that must fail for it.

import { expect, test } from 'vitest'
import type { Driver, DriverMethod } from '../../runtime/driver.ts'
import { DriverError } from '../../runtime/driver.ts'
import { memoryStore } from '../../store/index.ts'
import type { Store, StoreSource } from '../../store/store.ts'
import { driverContract } from '../kit/driver_contract.ts'
import type { GeneratedTest } from '../kit/generated_test.ts'
import { storeContract } from '../kit/store_contract.ts'

async function failing(tests: readonly GeneratedTest[], among: RegExp): Promise<string[]> {
  const failed: string[] = []
  for (const { title, run } of tests) if (among.test(title)) await run().catch(() => failed.push(title))
  return failed
}

/** A memory store with some of its methods replaced. */
function broken(change: (store: Store) => Partial<Store>): () => StoreSource {
  return () => ({
    name: 'broken',
    open: async () => {
      const store = await memoryStore().open()
      const changed = change(store)
      return new Proxy(store, {
        get: (_, name) => {
          const member = Reflect.get(name in changed ? changed : store, name)
          return typeof member === 'function' && !(name in changed) ? member.bind(store) : member
        },
      })
    },
  })
}

const stores: [string, RegExp, (store: Store) => Partial<Store>][] = [
  [
    'that writes the rows of a transaction one by one',
    /all of its rows or none/,
    (store) => ({
      transact: async (expects, changes) => {
        let last = await store.transact(expects.slice(0, 1), changes.slice(0, 1))
        for (let i = 1; i < changes.length; i++)
          last = await store.transact(expects.slice(i, i + 1), changes.slice(i, i + 1))
        return last
      },
    }),
  ],
  [
    'that looks at no expectation of a row which it does not change',
    /expectation on a row that it does not change|looks at what the other writes/,
    (store) => ({
      transact: (expects, changes) => {
        const keys = new Set(
          changes.map((one) => ('put' in one ? `${one.put.kind}/${one.put.id}` : one.remove)),
        )
        return store.transact(
          expects.filter(({ key }) => keys.has(key)),
          changes,
        )
      },
    }),
  ],
  [
    'that says of a conflict only that there was one',
    /says for each key/,
    (store) => ({
      transact: async (expects, changes) => {
        const result = await store.transact(expects, changes)
        return result.ok ? result : { ok: false, conflicts: [] }
      },
    }),
  ],
  [
    'that hands out rows which can be changed',
    /handed out can not be changed/,
    (store) => ({ get: async (key) => structuredClone(await store.get(key)) }),
  ],
  [
    'whose feed forgets the past',
    /past and live/,
    (store) => ({ watch: (_, listener) => store.watch(store.offset(), listener) }),
  ],
  [
    'whose feed goes on after it was stopped',
    /nothing after the watch was stopped/,
    (store) => ({
      watch: (from, listener) => {
        store.watch(from, listener)
        return () => {}
      },
    }),
  ],
  [
    'whose pages begin anew',
    /page begins behind|page by page/,
    (store) => ({ list: (filter, page) => store.list(filter, { ...page, after: null, limit: 10_000 }) }),
  ],
  ['that counts everything', /for every filter/, (store) => ({ count: () => store.count({}) })],
]

test.each(stores)('a store %s is found', async (_, among, change) => {
  expect(await failing(storeContract(broken(change)), among)).not.toEqual([])
  // The same tests pass on a sound store: it is the damage that they see.
  expect(
    await failing(
      storeContract(() => memoryStore()),
      among,
    ),
  ).toEqual([])
})

/** A backend of lines in memory, with a mark for each resource. */
function backend(change: (sound: Sound) => Partial<Sound> = () => ({})) {
  const lines = new Map<string, string>()
  const marks = new Map<string, number>()
  const method =
    (work: (id: string, name: string, operation: string) => void): DriverMethod =>
    async ({ row, operation, fence, signal, progress }) => {
      signal.throwIfAborted()
      if (fence < (marks.get(row.id) ?? 0)) throw new DriverError('fenced', 'an older fence')
      progress(0.5)
      work(row.id, String(row.data.name), operation)
      progress(1)
    }
  const sound: Sound = {
    create: method((id, name) => void lines.set(id, name)),
    delete: method((id) => void lines.delete(id)),
    fence: async (row, fence) => void marks.set(row.id, Math.max(fence, marks.get(row.id) ?? 0)),
    // What a create left half-done; a delete that was begun is none to take back.
    undo: method((id, _, operation) => void (operation === 'create' && lines.delete(id))),
    capabilities: async () => ({ total_gib: 10, free_gib: 4 }),
    lines,
    marks,
  }
  const { create, delete: remove, fence, undo, capabilities } = { ...sound, ...change(sound) }
  const driver: Driver = { operations: { line: { create, delete: remove } }, fence, undo, capabilities }
  return { driver, look: async () => [...lines].sort(), close: async () => {} }
}
interface Sound {
  readonly create: DriverMethod
  readonly delete: DriverMethod
  readonly fence: NonNullable<Driver['fence']>
  readonly undo: DriverMethod
  readonly capabilities: NonNullable<Driver['capabilities']>
  readonly lines: Map<string, string>
  readonly marks: Map<string, number>
}

const ref = { kind: 'line', id: 'l1' }
const story = [
  { ref, operation: 'create', makes: { name: 'a' } },
  { ref, operation: 'delete' },
]
const contractOf = (change?: (sound: Sound) => Partial<Sound>) =>
  driverContract({ story, open: async () => backend(change) })

const drivers: [string, RegExp, (sound: Sound) => Partial<Sound>][] = [
  [
    'whose delete is not idempotent',
    /run twice leaves and tells/,
    (sound) => ({
      delete: async (context) => {
        if (!sound.lines.has(context.row.id)) throw new Error('there is no such line')
        return sound.delete(context)
      },
    }),
  ],
  [
    'that does not look at the signal',
    /aborted before it starts/,
    (sound) => ({ create: (context) => sound.create({ ...context, signal: new AbortController().signal }) }),
  ],
  [
    'that lets an older fence through',
    /older fence is refused/,
    (sound) => ({ create: (context) => sound.create({ ...context, fence: Number.MAX_SAFE_INTEGER }) }),
  ],
  [
    'whose mark can be lowered',
    /mark only goes up/,
    (sound) => ({ fence: async (row, fence) => void sound.marks.set(row.id, fence) }),
  ],
  ['whose undo leaves what was made', /undo run twice/, () => ({ undo: async () => {} })],
  [
    'that undoes what never began, and more',
    /undoing what never began/,
    (sound) => ({ undo: async () => void sound.lines.set('other', 'x') }),
  ],
  [
    'whose progress goes back',
    /progress stays/,
    (sound) => ({
      create: async (context) => {
        context.progress(0.9)
        return sound.create(context)
      },
    }),
  ],
  [
    'with more room free than there is',
    /capabilities are amounts/,
    () => ({ capabilities: async () => ({ total_gib: 1, free_gib: 2 }) }),
  ],
]

test('a sound driver keeps its whole contract', async () => {
  expect(await failing(contractOf(), /./)).toEqual([])
})

test.each(drivers)('a driver %s is found', async (_, among, change) => {
  expect(await failing(contractOf(change), among)).not.toEqual([])
})
