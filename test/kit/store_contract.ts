// The contract of a store as a list of tests: every store passes it, and what runtime/ may rely on is here. It
// knows no store by name, may not look behind the interface, and needs no test runner.

import assert from 'node:assert/strict'
import type { StoreSource } from '../../store/store.ts'
import {
  type Change,
  type Commit,
  type Filter,
  keyOf,
  type Store,
  type StoredRow,
} from '../../store/store.ts'
import type { GeneratedTest } from './generated_test.ts'

/** What one test works on: its own place, and the store that is open there. */
interface Bench {
  readonly source: StoreSource
  store: Store
}

/**
 * The tests that hold for any store, each with a place of its own. `makeSource` gives a new, empty place each
 * time; the tests open and close it. A test rejects with an AssertionError that says what was expected.
 *
 * @example
 * for (const { title, run } of storeContract(() => myStore(newFolder()))) test(title, run)
 */
export function storeContract(
  makeSource: () => StoreSource | Promise<StoreSource>,
): readonly GeneratedTest[] {
  const tests: GeneratedTest[] = []
  let group = ''
  const describe = (title: string, declare: () => void) => {
    group = title
    declare()
  }
  const test = (title: string, check: (at: Bench) => Promise<void>) =>
    void tests.push({
      title: `${group} ${title}`,
      run: async () => {
        const source = await makeSource()
        const at: Bench = { source, store: await source.open() }
        try {
          await check(at)
        } finally {
          await at.store.close()
        }
      },
    })

  describe('a transaction', () => {
    test('commits when every expectation holds, and the rows are there', async (at) => {
      assert.deepEqual(await put(at.store, row('a'), row('b')), { ok: true, offset: 1 })
      assert.deepEqual(await at.store.get('volume/a'), row('a'))
      assert.equal(await at.store.get('volume/c'), undefined)
    })

    test('changes all of its rows or none', async (at) => {
      await put(at.store, row('a'))
      const result = await put(at.store, row('b'), row('a'))
      assert.equal(result.ok, false)
      assert.equal(await at.store.get('volume/b'), undefined)
      assert.equal(at.store.offset(), 1)
    })

    test('that loses says for each key what was expected and what was found', async (at) => {
      await put(at.store, row('a'))
      assert.deepEqual(
        await at.store.transact(
          [
            { key: 'volume/a', version: 7 },
            { key: 'volume/b', version: 2 },
            { key: 'volume/c', version: 0 },
          ],
          [{ put: row('c') }],
        ),
        {
          ok: false,
          conflicts: [
            { key: 'volume/a', expected: 7, found: row('a') },
            { key: 'volume/b', expected: 2, found: null },
          ],
        },
      )
      assert.equal(await at.store.get('volume/c'), undefined)
    })

    test('is bound by an expectation on a row that it does not change', async (at) => {
      await put(at.store, row('node'))
      await put(at.store, row('node', 2))
      const claim = (version: number) =>
        at.store.transact(
          [
            { key: 'volume/node', version },
            { key: 'volume/a', version: 0 },
          ],
          [{ put: row('a') }],
        )
      assert.equal((await claim(1)).ok, false)
      assert.equal((await claim(2)).ok, true)
    })

    test('two that each look at what the other writes can not both commit', async (at) => {
      await put(at.store, row('a'), row('b'))
      const swap = (read: string, write: string) =>
        at.store.transact(
          [
            { key: `volume/${read}`, version: 1 },
            { key: `volume/${write}`, version: 1 },
          ],
          [{ put: row(write, 2) }],
        )
      const results = await Promise.all([swap('a', 'b'), swap('b', 'a')])
      assert.deepEqual(
        results.map(({ ok }) => ok),
        [true, false],
      )
    })

    test('without changes asks whether all expectations hold, and commits nothing', async (at) => {
      await put(at.store, row('a'))
      const holds = (version: number) => at.store.transact([{ key: 'volume/a', version }], [])
      assert.deepEqual(await holds(1), { ok: true, offset: 1 })
      assert.equal((await holds(2)).ok, false)
      assert.equal(at.store.offset(), 1)
    })

    test('removes a row; its key is then absent and can be put again from version 1', async (at) => {
      await put(at.store, row('a'))
      await at.store.transact([{ key: 'volume/a', version: 1 }], [{ remove: 'volume/a' }])
      assert.equal(await at.store.get('volume/a'), undefined)
      assert.equal(await at.store.count({}), 0)
      assert.equal((await put(at.store, row('a'))).ok, true)
    })

    test('of many at once on one row exactly one commits, and the others see its row', async (at) => {
      await put(at.store, row('a'))
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, i) => put(at.store, row('a', 2, { by: i }))),
      )
      assert.equal(results.filter(({ ok }) => ok).length, 1)
      for (const result of results)
        if (!result.ok) assert.deepEqual(result.conflicts[0]!.found, row('a', 2, { by: 0 }))
    })

    test('calls that touch one row commit in the order of the calls, without waiting for each other', async (at) => {
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => put(at.store, row('a', i + 1, { step: i }))),
      )
      assert.deepEqual(
        results.map((result) => result.ok && result.offset),
        Array.from({ length: 20 }, (_, i) => i + 1),
      )
      assert.deepEqual(await at.store.get('volume/a'), row('a', 20, { step: 19 }))
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
    for (const [title, changes, expectations] of mistakes)
      test(title, async (at) => {
        await assert.rejects(
          at.store.transact(
            [{ key: 'volume/good', version: 0 }, ...expectations],
            [{ put: row('good') }, ...changes],
          ),
          { message: /^volume\/x/ },
        )
        await assert.rejects(at.store.transact(expectations, changes), TypeError)
        assert.equal(await at.store.count({}), 0)
        assert.equal((await put(at.store, row('good'))).ok, true)
      })
  })

  describe('rows', () => {
    test('handed out can not be changed, however deep', async (at) => {
      await put(at.store, row('a', 1, { deep: { list: [{ x: 1 }] } }))
      const found = (await at.store.get('volume/a')) as StoredRow & { deep: { list: { x: number }[] } }
      assert.throws(() => Object.assign(found, { version: 9 }), TypeError)
      assert.throws(() => found.deep.list.push({ x: 2 }), TypeError)
      assert.throws(() => Object.assign(found.deep.list[0]!, { x: 2 }), TypeError)
    })

    test('do not change when the object that was put does', async (at) => {
      const mine = { ...row('a'), data: { size: 1 } }
      const committed = put(at.store, mine)
      mine.data.size = 2
      await committed
      assertHas(await at.store.get('volume/a'), { data: { size: 1 } })
      mine.data.size = 3
      assertHas(await at.store.get('volume/a'), { data: { size: 1 } })
    })

    test('are JSON, and read the same before and after reopening', async (at) => {
      const odd = { ...row('ü/\n\u2028 😀'), none: undefined, date: new Date(0), quote: '"\\', tiny: 1e-7 }
      await put(at.store, odd)
      const before = await at.store.get(keyOf(odd))
      assert.deepEqual(before, JSON.parse(JSON.stringify(odd)))
      await at.store.close()
      at.store = await at.source.open()
      assert.deepEqual(await at.store.get(keyOf(odd)), before)
    })

    test('that are about to be written are seen by nobody until they are durable', async (at) => {
      await put(at.store, row('a'))
      let settled = false
      const told: boolean[] = []
      const stop = at.store.watch(at.store.offset(), () => told.push(settled))
      const writing = put(at.store, row('a', 2)).then(() => {
        settled = true
      })
      while (!settled) {
        // Rows, offset and feed move together.
        const { version } = (await at.store.get('volume/a')) as StoredRow
        assert.deepEqual([version, told.length, at.store.offset()], told.length === 0 ? [1, 0, 1] : [2, 1, 2])
        await Promise.race([writing, turn()])
      }
      stop()
      // The feed told it once, and before the caller heard.
      assert.deepEqual(told, [false])
    })
  })

  describe('the feed', () => {
    test('tells every commit once, in commit order, past and live', async (at) => {
      await put(at.store, row('a'))
      await put(at.store, row('b'))
      const told: Commit[] = []
      at.store.watch(1, (commit) => told.push(commit))
      assert.deepEqual(
        told.map(({ offset }) => offset),
        [2],
      )
      await Promise.all([put(at.store, row('c')), put(at.store, row('d')), put(at.store, row('a', 1))])
      await at.store.transact([{ key: 'volume/b', version: 1 }], [{ remove: 'volume/b' }])
      assert.deepEqual(told, [
        { offset: 2, changes: [{ key: 'volume/b', row: row('b') }] },
        { offset: 3, changes: [{ key: 'volume/c', row: row('c') }] },
        { offset: 4, changes: [{ key: 'volume/d', row: row('d') }] },
        { offset: 5, changes: [{ key: 'volume/b', row: null }] },
      ])
    })

    test('tells nothing after the watch was stopped', async (at) => {
      const told: number[] = []
      const stop = at.store.watch(0, ({ offset }) => told.push(offset))
      await put(at.store, row('a'))
      stop()
      await put(at.store, row('b'))
      assert.deepEqual(told, [1])
    })

    test('survives a listener that throws: the store and the other listeners go on', async (at) => {
      const told: number[] = []
      at.store.watch(0, () => {
        throw new Error('a listener failed')
      })
      at.store.watch(0, ({ offset }) => told.push(offset))
      assert.equal((await put(at.store, row('a'))).ok, true)
      assert.equal((await put(at.store, row('b'))).ok, true)
      assert.deepEqual(told, [1, 2])
    })

    test('lets a listener transact', async (at) => {
      let inner: Promise<unknown> = Promise.resolve()
      at.store.watch(0, ({ offset }) => {
        if (offset === 1) inner = put(at.store, row('a', 2))
      })
      await put(at.store, row('a'))
      assert.deepEqual(await inner, { ok: true, offset: 2 })
    })

    test('knows no offset that was not committed yet', async (at) => {
      assert.throws(() => at.store.watch(1, () => {}), RangeError)
    })
  })

  describe('list and count', () => {
    test('agree with a naive reading of all rows, for every filter, page by page', async () => {
      for (let seed = 1; seed <= 25; seed++) {
        const random = randomOf(seed)
        const limit = 1 + Math.floor(random() * 4)
        const place = await makeSource()
        const own = await place.open()
        const model = new Map<string, StoredRow>()
        for (let left = Math.floor(random() * 60); left > 0; left--)
          await applyStep(own, model, anyStep(random))
        for (const filter of filters) {
          const wanted = [...model.values()]
            .filter((one) => naivelyMatches(filter, one))
            .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
          assert.equal(await own.count(filter), wanted.length)
          assert.deepEqual(await pages(own, filter, limit), wanted)
        }
        await own.close()
      }
    })

    test('a page begins behind `after`, whether that row is still there or not', async (at) => {
      await put(at.store, row('a'), row('b'), row('c'))
      await at.store.transact([{ key: 'volume/b', version: 1 }], [{ remove: 'volume/b' }])
      assert.deepEqual(await at.store.list({}, { after: 'volume/b' }), { rows: [row('c')], next: null })
      assert.deepEqual(await at.store.list({ kind: 'volume' }, { limit: 1 }), {
        rows: [row('a')],
        next: 'volume/a',
      })
    })

    test('give a thousand rows at most unless asked otherwise', async (at) => {
      await put(at.store, ...Array.from({ length: 1_001 }, (_, i) => row(String(i).padStart(4, '0'))))
      const first = await at.store.list({ kind: 'volume' })
      assert.equal(first.rows.length, 1_000)
      assert.equal((await at.store.list({ kind: 'volume' }, { after: first.next })).rows.length, 1)
    })
  })

  describe('closing', () => {
    test('waits for what was asked before, and answers it', async (at) => {
      const asked = Promise.all([put(at.store, row('a')), put(at.store, row('b'))])
      await at.store.close()
      assert.deepEqual(
        (await asked).map(({ ok }) => ok),
        [true, true],
      )
      await at.store.close()
    })

    test('ends everything: later calls reject with store_lost, nobody is told, onLost stays silent', async (at) => {
      let lost = false
      at.store.onLost(() => {
        lost = true
      })
      await at.store.close()
      const closed = { code: 'store_lost' }
      await assert.rejects(at.store.get('volume/a'), closed)
      await assert.rejects(at.store.list({}), closed)
      await assert.rejects(at.store.count({}), closed)
      await assert.rejects(put(at.store, row('a')), closed)
      assert.throws(() => at.store.watch(0, () => {}), closed)
      assert.equal(lost, false)
    })

    test('keeps every row and every offset for whoever opens again', async (at) => {
      await put(at.store, row('a'))
      await put(at.store, row('a', 2), row('b'))
      await at.store.transact([{ key: 'volume/b', version: 1 }], [{ remove: 'volume/b' }])
      await at.store.close()
      at.store = await at.source.open()
      assert.equal(at.store.offset(), 3)
      assert.deepEqual((await at.store.list({})).rows, [row('a', 2)])
      assert.deepEqual(await put(at.store, row('c')), { ok: true, offset: 4 })
    })

    test('an exclusive store is open once at a time', async (at) => {
      if (!at.store.exclusive) return
      await assert.rejects(at.source.open(), { code: 'store_locked' })
      await at.store.close()
      at.store = await at.source.open()
      assert.equal(at.store.offset(), 0)
    })
  })
  return tests
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
    assert.ok(page.rows.length <= limit)
    rows.push(...page.rows)
    after = page.next
  } while (after !== null)
  return rows
}

// Few values, so that every combination has some rows. Kinds whose keys sort unlike their names.
const kinds = ['a', 'a-b', 'b']
const ids = ['1', '2', '3', '4']
const statuses = [undefined, 'available', 'deleting']
const clusters = [undefined, 'ssd@file', 'hdd@file']
// A topic and a host may be the same text (rule R17).
const workers = [undefined, null, 'ssd@file', 'h1@file']
const incarnations = [undefined, null, 1, 2, 3]

type Step = { readonly kind: string; readonly id: string; readonly remove: boolean } & Record<string, unknown>

function anyStep(random: () => number): Step {
  const one = <T>(values: readonly T[]) => values[Math.floor(random() * values.length)]!
  return {
    ...{ kind: one(kinds), id: one(ids), remove: random() < 0.5, status: one(statuses) },
    ...{ cluster: one(clusters), worker: one(workers), incarnation: one(incarnations) },
  }
}

/** A small generator of numbers from 0 to 1, the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Every field that is wanted is there, with its value. */
function assertHas(found: object | undefined, wanted: Readonly<Record<string, unknown>>): void {
  const picked = Object.keys(wanted).map((name) => [name, (found as Record<string, unknown>)?.[name]])
  assert.deepEqual(Object.fromEntries(picked), wanted)
}

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
