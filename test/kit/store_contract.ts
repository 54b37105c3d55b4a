// The contract of a store as a suite: every store passes it, and what runtime/ may rely on is here. It knows
// no store by name and may not look behind the interface.

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StoreSource } from '../../store/store.ts'
import {
  type Change,
  type Commit,
  type Filter,
  keyOf,
  type Store,
  type StoredRow,
} from '../../store/store.ts'

/** `makeSource` gives a new, empty place each time. */
export function storeContract(name: string, makeSource: () => StoreSource | Promise<StoreSource>): void {
  describe(`the contract of a store, kept by the ${name} store`, () => {
    let source: StoreSource
    let store: Store

    beforeEach(async () => {
      source = await makeSource()
      store = await source.open()
    })
    afterEach(() => store.close())

    describe('a transaction', () => {
      test('commits when every expectation holds, and the rows are there', async () => {
        expect(await put(store, row('a'), row('b'))).toEqual({ ok: true, offset: 1 })
        expect(await store.get('volume/a')).toEqual(row('a'))
        expect(await store.get('volume/c')).toBeUndefined()
      })

      test('changes all of its rows or none', async () => {
        await put(store, row('a'))
        const result = await put(store, row('b'), row('a'))
        expect(result.ok).toBe(false)
        expect(await store.get('volume/b')).toBeUndefined()
        expect(store.offset()).toBe(1)
      })

      test('that loses says for each key what was expected and what was found', async () => {
        await put(store, row('a'))
        expect(
          await store.transact(
            [
              { key: 'volume/a', version: 7 },
              { key: 'volume/b', version: 2 },
              { key: 'volume/c', version: 0 },
            ],
            [{ put: row('c') }],
          ),
        ).toEqual({
          ok: false,
          conflicts: [
            { key: 'volume/a', expected: 7, found: row('a') },
            { key: 'volume/b', expected: 2, found: null },
          ],
        })
        expect(await store.get('volume/c')).toBeUndefined()
      })

      test('is bound by an expectation on a row that it does not change', async () => {
        await put(store, row('node'))
        await put(store, row('node', 2))
        const claim = (version: number) =>
          store.transact(
            [
              { key: 'volume/node', version },
              { key: 'volume/a', version: 0 },
            ],
            [{ put: row('a') }],
          )
        expect((await claim(1)).ok).toBe(false)
        expect((await claim(2)).ok).toBe(true)
      })

      test('two that each look at what the other writes can not both commit', async () => {
        await put(store, row('a'), row('b'))
        const swap = (read: string, write: string) =>
          store.transact(
            [
              { key: `volume/${read}`, version: 1 },
              { key: `volume/${write}`, version: 1 },
            ],
            [{ put: row(write, 2) }],
          )
        const results = await Promise.all([swap('a', 'b'), swap('b', 'a')])
        expect(results.map(({ ok }) => ok)).toEqual([true, false])
      })

      test('without changes asks whether all expectations hold, and commits nothing', async () => {
        await put(store, row('a'))
        const holds = (version: number) => store.transact([{ key: 'volume/a', version }], [])
        expect(await holds(1)).toEqual({ ok: true, offset: 1 })
        expect((await holds(2)).ok).toBe(false)
        expect(store.offset()).toBe(1)
      })

      test('removes a row; its key is then absent and can be put again from version 1', async () => {
        await put(store, row('a'))
        await store.transact([{ key: 'volume/a', version: 1 }], [{ remove: 'volume/a' }])
        expect(await store.get('volume/a')).toBeUndefined()
        expect(await store.count({})).toBe(0)
        expect((await put(store, row('a'))).ok).toBe(true)
      })

      test('of many at once on one row exactly one commits, and the others see its row', async () => {
        await put(store, row('a'))
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, i) => put(store, row('a', 2, { by: i }))),
        )
        expect(results.filter(({ ok }) => ok)).toHaveLength(1)
        for (const result of results)
          if (!result.ok) expect(result.conflicts[0]!.found).toEqual(row('a', 2, { by: 0 }))
      })

      test('calls that touch one row commit in the order of the calls, without waiting for each other', async () => {
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, i) => put(store, row('a', i + 1, { step: i }))),
        )
        expect(results.map((result) => result.ok && result.offset)).toEqual(
          Array.from({ length: 20 }, (_, i) => i + 1),
        )
        expect(await store.get('volume/a')).toEqual(row('a', 20, { step: 19 }))
      })
    })

    describe('a call that breaks the contract is an error that names the key and changes nothing:', () => {
      const mistakes: [string, Change[], { key: string; version: number }[]][] = [
        ['a changed key is not expected', [{ put: row('x') }], []],
        [
          'a version does not follow the one expected',
          [{ put: row('x', 3) }],
          [{ key: 'volume/x', version: 0 }],
        ],
        ['a row is changed twice', [{ put: row('x') }, { put: row('x') }], [{ key: 'volume/x', version: 0 }]],
        ['an absent row is removed', [{ remove: 'volume/x' }], [{ key: 'volume/x', version: 0 }]],
        [
          'a kind has a slash',
          [{ put: { kind: 'volume/x', id: 'y', version: 1 } }],
          [{ key: 'volume/x/y', version: 0 }],
        ],
      ]
      test.each(mistakes)('%s', async (_, changes, expectations) => {
        await expect(
          store.transact(
            [{ key: 'volume/good', version: 0 }, ...expectations],
            [{ put: row('good') }, ...changes],
          ),
        ).rejects.toThrow(/^volume\/x/)
        await expect(store.transact(expectations, changes)).rejects.toBeInstanceOf(TypeError)
        expect(await store.count({})).toBe(0)
        expect((await put(store, row('good'))).ok).toBe(true)
      })
    })

    describe('rows', () => {
      test('handed out can not be changed, however deep', async () => {
        await put(store, row('a', 1, { deep: { list: [{ x: 1 }] } }))
        const found = (await store.get('volume/a')) as StoredRow & { deep: { list: { x: number }[] } }
        expect(() => Object.assign(found, { version: 9 })).toThrow(TypeError)
        expect(() => found.deep.list.push({ x: 2 })).toThrow(TypeError)
        expect(() => Object.assign(found.deep.list[0]!, { x: 2 })).toThrow(TypeError)
      })

      test('do not change when the object that was put does', async () => {
        const mine = { ...row('a'), data: { size: 1 } }
        const committed = put(store, mine)
        mine.data.size = 2
        await committed
        expect(await store.get('volume/a')).toMatchObject({ data: { size: 1 } })
        mine.data.size = 3
        expect(await store.get('volume/a')).toMatchObject({ data: { size: 1 } })
      })

      test('are JSON, and read the same before and after reopening', async () => {
        const odd = { ...row('ü/\n\u2028 😀'), none: undefined, date: new Date(0), quote: '"\\', tiny: 1e-7 }
        await put(store, odd)
        const before = await store.get(keyOf(odd))
        expect(before).toEqual(JSON.parse(JSON.stringify(odd)))
        await store.close()
        store = await source.open()
        expect(await store.get(keyOf(odd))).toEqual(before)
      })

      test('that are about to be written are seen by nobody until they are durable', async () => {
        await put(store, row('a'))
        let settled = false
        const told: boolean[] = []
        const stop = store.watch(store.offset(), () => told.push(settled))
        const writing = put(store, row('a', 2)).then(() => {
          settled = true
        })
        while (!settled) {
          // Rows, offset and feed move together.
          const { version } = (await store.get('volume/a')) as StoredRow
          expect([version, told.length, store.offset()]).toEqual(told.length === 0 ? [1, 0, 1] : [2, 1, 2])
          await Promise.race([writing, turn()])
        }
        stop()
        // The feed told it once, and before the caller heard.
        expect(told).toEqual([false])
      })
    })

    describe('the feed', () => {
      test('tells every commit once, in commit order, past and live', async () => {
        await put(store, row('a'))
        await put(store, row('b'))
        const told: Commit[] = []
        store.watch(1, (commit) => told.push(commit))
        expect(told.map(({ offset }) => offset)).toEqual([2])
        await Promise.all([put(store, row('c')), put(store, row('d')), put(store, row('a', 1))])
        await store.transact([{ key: 'volume/b', version: 1 }], [{ remove: 'volume/b' }])
        expect(told).toEqual([
          { offset: 2, changes: [{ key: 'volume/b', row: row('b') }] },
          { offset: 3, changes: [{ key: 'volume/c', row: row('c') }] },
          { offset: 4, changes: [{ key: 'volume/d', row: row('d') }] },
          { offset: 5, changes: [{ key: 'volume/b', row: null }] },
        ])
      })

      test('tells nothing after the watch was stopped', async () => {
        const told: number[] = []
        const stop = store.watch(0, ({ offset }) => told.push(offset))
        await put(store, row('a'))
        stop()
        await put(store, row('b'))
        expect(told).toEqual([1])
      })

      test('survives a listener that throws: the store and the other listeners go on', async () => {
        const told: number[] = []
        store.watch(0, () => {
          throw new Error('a listener failed')
        })
        store.watch(0, ({ offset }) => told.push(offset))
        expect((await put(store, row('a'))).ok).toBe(true)
        expect((await put(store, row('b'))).ok).toBe(true)
        expect(told).toEqual([1, 2])
      })

      test('lets a listener transact', async () => {
        let inner: Promise<unknown> = Promise.resolve()
        store.watch(0, ({ offset }) => {
          if (offset === 1) inner = put(store, row('a', 2))
        })
        await put(store, row('a'))
        expect(await inner).toEqual({ ok: true, offset: 2 })
      })

      test('knows no offset that was not committed yet', () => {
        expect(() => store.watch(1, () => {})).toThrow(RangeError)
      })
    })

    describe('list and count', () => {
      test('agree with a naive reading of all rows, for every filter, page by page', async () => {
        await fc.assert(
          fc.asyncProperty(
            fc.array(anyChange, { maxLength: 60 }),
            fc.integer({ min: 1, max: 4 }),
            async (steps, limit) => {
              const place = await makeSource()
              const own = await place.open()
              const model = new Map<string, StoredRow>()
              for (const step of steps) await applyStep(own, model, step)
              for (const filter of filters) {
                const wanted = [...model.values()]
                  .filter((one) => naivelyMatches(filter, one))
                  .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
                expect(await own.count(filter)).toBe(wanted.length)
                expect(await pages(own, filter, limit)).toEqual(wanted)
              }
              await own.close()
            },
          ),
          { numRuns: 25 },
        )
      })

      test('a page begins behind `after`, whether that row is still there or not', async () => {
        await put(store, row('a'), row('b'), row('c'))
        await store.transact([{ key: 'volume/b', version: 1 }], [{ remove: 'volume/b' }])
        expect(await store.list({}, { after: 'volume/b' })).toEqual({ rows: [row('c')], next: null })
        expect(await store.list({ kind: 'volume' }, { limit: 1 })).toEqual({
          rows: [row('a')],
          next: 'volume/a',
        })
      })

      test('give a thousand rows at most unless asked otherwise', async () => {
        await put(store, ...Array.from({ length: 1_001 }, (_, i) => row(String(i).padStart(4, '0'))))
        const first = await store.list({ kind: 'volume' })
        expect(first.rows).toHaveLength(1_000)
        expect((await store.list({ kind: 'volume' }, { after: first.next })).rows).toHaveLength(1)
      })
    })

    describe('closing', () => {
      test('waits for what was asked before, and answers it', async () => {
        const asked = Promise.all([put(store, row('a')), put(store, row('b'))])
        await store.close()
        expect((await asked).map(({ ok }) => ok)).toEqual([true, true])
        await store.close()
      })

      test('ends everything: later calls reject with store_lost, nobody is told, onLost stays silent', async () => {
        let lost = false
        store.onLost(() => {
          lost = true
        })
        await store.close()
        const closed = { code: 'store_lost' }
        await expect(store.get('volume/a')).rejects.toMatchObject(closed)
        await expect(store.list({})).rejects.toMatchObject(closed)
        await expect(store.count({})).rejects.toMatchObject(closed)
        await expect(put(store, row('a'))).rejects.toMatchObject(closed)
        expect(() => store.watch(0, () => {})).toThrow(expect.objectContaining(closed))
        expect(lost).toBe(false)
      })

      test('keeps every row and every offset for whoever opens again', async () => {
        await put(store, row('a'))
        await put(store, row('a', 2), row('b'))
        await store.transact([{ key: 'volume/b', version: 1 }], [{ remove: 'volume/b' }])
        await store.close()
        store = await source.open()
        expect(store.offset()).toBe(3)
        expect((await store.list({})).rows).toEqual([row('a', 2)])
        expect(await put(store, row('c'))).toEqual({ ok: true, offset: 4 })
      })

      test('an exclusive store is open once at a time', async () => {
        if (!store.exclusive) return
        await expect(source.open()).rejects.toMatchObject({ code: 'store_locked' })
        await store.close()
        store = await source.open()
        expect(store.offset()).toBe(0)
      })
    })
  })
}

/** A volume as tests put it. */
export function row(id: string, version = 1, fields: Record<string, unknown> = {}): StoredRow {
  return { kind: 'volume', id, version, ...fields }
}

/** Puts rows, each expecting the version below its own. */
export function put(store: Store, ...rows: StoredRow[]): ReturnType<Store['transact']> {
  return store.transact(
    rows.map((one) => ({ key: keyOf(one), version: one.version - 1 })),
    rows.map((one) => ({ put: one })),
  )
}

/** Lets the event loop turn once, so that a real disk can answer. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

async function pages(store: Store, filter: Filter, limit: number): Promise<StoredRow[]> {
  const rows: StoredRow[] = []
  let after: string | null = null
  do {
    const page = await store.list(filter, { after, limit })
    expect(page.rows.length).toBeLessThanOrEqual(limit)
    rows.push(...page.rows)
    after = page.next
  } while (after !== null)
  return rows
}

// Few values, so that every combination has some rows. Kinds whose keys sort unlike their names.
const kinds = ['a', 'a-b', 'b']
const maybe = <T>(values: readonly T[]) => fc.constantFrom<T | undefined>(undefined, ...values)
const anyChange = fc.record({
  kind: fc.constantFrom(...kinds),
  id: fc.constantFrom('1', '2', '3', '4'),
  remove: fc.boolean(),
  status: maybe(['available', 'deleting']),
  cluster: maybe(['ssd@file', 'hdd@file']),
  // A topic and a host may be the same text (rule R17).
  worker: maybe([null, 'ssd@file', 'h1@file']),
  incarnation: maybe([null, 1, 2, 3]),
})
type Step = typeof anyChange extends fc.Arbitrary<infer T> ? T : never

async function applyStep(
  store: Store,
  model: Map<string, StoredRow>,
  { remove, ...fields }: Step,
): Promise<void> {
  const key = keyOf(fields)
  const found = model.get(key)
  const version = found?.version ?? 0
  if (remove && found === undefined) return
  if (remove) model.delete(key)
  else model.set(key, JSON.parse(JSON.stringify({ ...fields, version: version + 1 })))
  await store.transact([{ key, version }], [remove ? { remove: key } : { put: model.get(key)! }])
}

const filters: Filter[] = [undefined, 'a', 'a-b', 'none'].flatMap((kind) =>
  [undefined, 'available'].flatMap((status) =>
    [undefined, 'ssd@file'].flatMap((cluster) =>
      [undefined, 'ssd@file', 'h1@file'].flatMap((worker) =>
        [undefined, true, false].flatMap((taken) =>
          [undefined, 2].map((incarnation_up_to) => {
            const filter = { kind, status, cluster, worker, taken, incarnation_up_to }
            const given = Object.entries(filter).filter(([, value]) => value !== undefined)
            return Object.fromEntries(given) as Filter
          }),
        ),
      ),
    ),
  ),
)

function naivelyMatches(filter: Filter, one: StoredRow): boolean {
  const { taken, incarnation_up_to, ...fields } = filter
  if (Object.entries(fields).some(([name, value]) => one[name] !== value)) return false
  if (taken !== undefined && taken !== (typeof one.incarnation === 'number')) return false
  if (incarnation_up_to === undefined) return true
  return typeof one.incarnation === 'number' && one.incarnation <= incarnation_up_to
}
