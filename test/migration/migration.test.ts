// A new version of a definition opens what the old one left: rows, statuses, operations under way, holds and
// quotas. What can't be migrated refuses all of it, and a crash anywhere in between is gone on from.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineResource, type ResourceType } from '../../machines/index.ts'
import { createRuntime, migrateStore } from '../../runtime/index.ts'
import { memoryStore } from '../../store/memory.ts'
import type { Store, StoredRow, StoreSource } from '../../store/store.ts'
import { ControlledDriver, clusterings, World } from '../kit/rig.ts'
import { VirtualEnvironment } from '../kit/virtual_environment.ts'
import { leaveBehind, tenant1, tenant2 } from './tenants.ts'

/** Dies at its n-th transaction from now, before or after that was written. */
function dyingAt(source: StoreSource, at: number, moment: 'before' | 'after'): StoreSource {
  let left = at
  return {
    name: source.name,
    async open() {
      const store = await source.open()
      const transact: Store['transact'] = async (expect, changes) => {
        const isLast = left-- === 0
        if (isLast && moment === 'before') throw new Error('the process died')
        const result = await store.transact(expect, changes)
        if (isLast) throw new Error('the process died')
        return result
      }
      return new Proxy(store, {
        get: (target, name) => {
          if (name === 'transact') return transact
          const value = Reflect.get(target, name) as unknown
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
  }
}

async function everything(source: StoreSource): Promise<readonly StoredRow[]> {
  const store = await source.open()
  const { rows } = await store.list({})
  await store.close()
  return rows
}

const plainly = (rows: readonly StoredRow[]) => rows.map(({ version: _, updated_at: __, ...row }) => row)

describe.each(clusterings)('$clustering', () => {
  test('every row is of the new version, and what was under way ends by the new table', async () => {
    const world = new World()
    const left = await leaveBehind(world)
    const driver = new ControlledDriver({ auto: true })
    const process = await world.start({ nodes: [{ host: 'h1' }], driver, resources: [tenant2] })
    for (const id of [left.queued, left.claimed]) await world.rest('tenant', id)

    expect(await world.row('tenant', left.rest)).toMatchObject({
      status: 'available',
      definition_version: 2,
      data: { name: 'rest', gib: 2, tags: [] },
    })
    expect(await world.row('tenant', left.failed)).toMatchObject({
      status: 'error',
      error: { code: 'driver_failed' },
    })
    expect(await world.row('tenant', left.gone)).toMatchObject({ status: 'gone', definition_version: 2 })
    // Queued goes on under its new name; claimed by a dead life: cleanup is requeue now, and was an error before.
    const scaled = driver.calls.map(({ key, operation, context }) => [key, operation, context.input])
    expect(scaled).toContainEqual([`tenant/${left.queued}`, 'scale', { gib: 3 }])
    expect(scaled).toContainEqual([`tenant/${left.claimed}`, 'scale', { gib: 5 }])
    expect((await world.row('tenant', left.claimed)).status).toBe('available')
    // What is no more has ended: its holds are let go, nobody uses what it used, and who asked for it is told.
    expect(await world.row('tenant', left.copying)).toMatchObject({
      ...{ status: 'available', operation: null, worker: null, incarnation: null },
      error: { code: 'migrated' },
    })
    expect(await world.row('tenant', left.held)).toMatchObject({ status: 'available', held_by: null })
    expect((await world.row('tenant', left.used)).children).toEqual({})
    const requests = await world.rows('request')
    expect(requests).toMatchObject([{ id: 'copy-1', settled: { error: { code: 'migrated' } } }])
    // Seven of the lab, two GiB each at the accept of their create.
    expect(await process.runtime.quotas()).toMatchObject([
      { id: 'lab', used: { tenants: 7, gib: 14, gigabytes: 0 } },
    ])
    expect(world.logs.join('\n')).toContain(
      '8 rows of tenant are migrated to version 2 of its definition; 1 operations ended with it',
    )
    await process.stop()
  })
})

test('a crash at any write is gone on from, and no row is migrated twice', async () => {
  const world = new World()
  await leaveBehind(world)
  const before = await everything(world.source)
  const environment = new VirtualEnvironment()
  const copied = async () => {
    const source = memoryStore()
    const store = await source.open()
    for (const row of before)
      for (let version = 1; version <= row.version; version++)
        await store.transact(
          [{ key: `${row.kind}/${row.id}`, version: version - 1 }],
          [{ put: { ...row, version } }],
        )
    await store.close()
    return source
  }
  const whole = await copied()
  await migrateStore(whole, [tenant2], { environment })
  const wanted = plainly(await everything(whole))
  let cuts = 0
  for (const moment of ['before', 'after'] as const)
    for (let at = 0; ; at++) {
      const source = await copied()
      const died = await migrateStore(dyingAt(source, at, moment), [tenant2], { environment }).then(
        () => false,
        () => true,
      )
      if (!died) break
      cuts++
      await migrateStore(source, [tenant2], { environment })
      expect(plainly(await everything(source))).toEqual(wanted)
    }
  // The mark, the batch, what is counted anew, the end: each before and after.
  expect(cuts).toBeGreaterThanOrEqual(8)
})

test('a dry run writes nothing and tells what then happens', async () => {
  const world = new World()
  const left = await leaveBehind(world)
  const before = await everything(world.source)
  const told = await migrateStore(world.source, [tenant2], { dry_run: true, environment: world.environment })
  expect(await everything(world.source)).toEqual(before)
  expect(told).toEqual({
    kinds: [
      {
        ...{ kind: 'tenant', to: 2, from: { 1: 8 }, rows: 8, going_on: 2, ended: 1, faults: 0 },
        statuses: {
          'active → available': 2,
          'failed → error': 1,
          'resizing → scaling': 2,
          'copying → available': 1,
        },
        fields: { added: { gib: 7, tags: 7 }, removed: { size: 7 }, changed: {} },
        examples: expect.toSatisfy((ids: string[]) => ids.length === 5 && ids.includes(left.rest)),
      },
    ],
    faults: [],
  })
  const done = await migrateStore(world.source, [tenant2], { environment: world.environment })
  expect(done).toEqual(told)
  expect(await migrateStore(world.source, [tenant2], { environment: world.environment })).toEqual({
    kinds: [],
    faults: [],
  })
})

const withMigration = (migrations: object, version = 2): ResourceType =>
  defineResource({ ...tenant2.table, version, migrations: migrations as never }) as unknown as ResourceType

test.each<[string, ResourceType, string]>([
  [
    'a status that is no more',
    withMigration({ 1: (row: object) => row }),
    "status: it is 'active', which is no rest status, and no operation runs",
  ],
  [
    'an operation that is no more',
    withMigration({
      1: (row: { status: string }) => ({
        ...row,
        status: row.status === 'active' ? 'available' : row.status,
      }),
    }),
    "operation: there is no operation 'resize' any more: map it to another one, or to null with a rest status",
  ],
  [
    'a migration that throws',
    withMigration({
      1: () => {
        throw new Error('no size')
      },
    }),
    'the migration from version 1 threw: no size',
  ],
  [
    'a step that is not there',
    withMigration({ 2: (row: object) => row }, 3),
    'no migration leads from version 1 to 2',
  ],
])('%s refuses the migration, and nothing is written', async (_, type, message) => {
  const world = new World()
  await leaveBehind(world)
  const before = await everything(world.source)
  await expect(
    createRuntime({ store: world.source, resources: [type], nodes: [], environment: world.environment }),
  ).rejects.toMatchObject({ code: 'migration_refused', message: expect.stringContaining(message) })
  expect(await everything(world.source)).toEqual(before)
})

test('an older program is refused by the rows of a newer one, also in the middle of a migration', async () => {
  const world = new World()
  await leaveBehind(world)
  await migrateStore(dyingAt(world.source, 1, 'after'), [tenant2], { environment: world.environment }).catch(
    () => {},
  )
  const refused = {
    code: 'unknown_rows',
    message:
      'the rows of tenant are of version 2 of its definition, and version 1 is given: open them with the newer one',
  }
  const old = () =>
    createRuntime({ store: world.source, resources: [tenant1], nodes: [], environment: world.environment })
  await expect(old()).rejects.toMatchObject(refused)
  await migrateStore(world.source, [tenant2], { environment: world.environment })
  await expect(old()).rejects.toMatchObject(refused)
})

test('on a store that others open too, a node that runs keeps the migration back', async () => {
  const world = new World({ exclusive: false })
  const driver = new ControlledDriver({ auto: true })
  const old = await world.start({ nodes: [{ host: 'h1' }], driver, resources: [tenant1] })
  const start = () => world.start({ nodes: [{ host: 'h2' }], driver, resources: [tenant2] })
  await expect(start()).rejects.toMatchObject({
    code: 'migration_refused',
    message: expect.stringContaining('ssd@file@h1; stop them first'),
  })
  await old.crash()
  // Its row still says that it is up; its beats stand still.
  await (await start()).stop()
})

test('a new store is of the version given, with nothing to migrate', async () => {
  const source = memoryStore()
  const environment = new VirtualEnvironment()
  const runtime = await createRuntime({ store: source, resources: [tenant2], nodes: [], environment })
  await environment.until(runtime.stop())
  expect(await migrateStore(source, [tenant2], { dry_run: true, environment })).toEqual({
    kinds: [],
    faults: [],
  })
  expect(await everything(source)).toMatchObject([
    { kind: 'definition', id: 'tenant', definition_version: 2, migrating_to: null },
  ])
})

test('for any rows, what a dry run tells is what the migration does', async () => {
  const status = fc.constantFrom('active', 'failed', 'odd')
  const rows = fc.array(fc.record({ status, size: fc.nat(9), tags: fc.boolean() }), { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(rows, async (given) => {
      const environment = new VirtualEnvironment()
      const source = memoryStore()
      const store = await source.open()
      for (const [i, { status: one, size, tags }] of given.entries()) {
        const data = tags ? { name: 'x', size, tags: [] } : { name: 'x', size }
        const put = { ...restRow, id: `t${i}`, status: one, data }
        await store.transact([{ key: `tenant/t${i}`, version: 0 }], [{ put }])
      }
      await store.close()
      const told = await migrateStore(source, [tenant2], { dry_run: true, environment })
      const odd = given.filter((row) => row.status === 'odd').length
      expect(told.kinds[0]?.faults ?? 0).toBe(odd)
      const run = migrateStore(source, [tenant2], { environment })
      if (odd > 0) return void (await expect(run).rejects.toMatchObject({ code: 'migration_refused' }))
      await run
      const after = (await everything(source)).filter(({ kind }) => kind === 'tenant')
      const count = (wanted: string) => after.filter((row) => row.status === wanted).length
      expect(count('available')).toBe(told.kinds[0]?.statuses['active → available'] ?? 0)
      expect(count('error')).toBe(told.kinds[0]?.statuses['failed → error'] ?? 0)
      expect(after.every((row) => 'gib' in (row.data as object))).toBe(true)
    }),
    { numRuns: 40 },
  )
})

const restRow = {
  ...{ kind: 'tenant', version: 1, previous_status: null, worker: null, incarnation: null, operation: null },
  ...{ cluster: 'ssd@file', host: 'h1', held_by: null, fence: 1, attempts: 0, children: {}, error: null },
  ...{ created_at: 0, updated_at: 0 },
}

describe('a table says where its migrations lead', () => {
  const base = {
    kind: 'note',
    data: z.object({ text: z.string() }),
    statuses: ['ready'],
    operations: {
      create: { from: 'new', via: 'creating', to: 'ready', failed: 'ready', cleanup: 'ready' },
      delete: { from: 'ready', via: 'deleting', to: 'gone', failed: 'ready', cleanup: 'requeue' },
    },
  } as const
  const same = <R>(row: R) => row

  test.each<[object, string]>([
    [{ version: 0 }, 'version is 0; a whole number from 1 is needed'],
    [{ version: 3, migrations: { 1: same } }, 'migrations: none leads from version 2 to 3'],
    [{ version: 2 }, 'migrations: none leads from version 1 to 2'],
    [{ version: 2, migrations: { 1: same, 2: same } }, 'migrations: 2 leads to no version up to 2'],
  ])('%j is refused', (change, message) => {
    expect(() => defineResource({ ...base, ...change } as never)).toThrow(message)
  })

  test('a migration that gives no row does not compile', () => {
    // @ts-expect-error A status is missing.
    defineResource({ ...base, version: 2, migrations: { 1: ({ data }) => ({ data }) } })
    // @ts-expect-error `colour` is no field of a row.
    defineResource({ ...base, version: 2, migrations: { 1: (row) => ({ ...row, status: row.colour }) } })
  })
})
