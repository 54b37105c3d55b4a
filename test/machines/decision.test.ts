import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  type Accepted,
  backup,
  type Decision,
  defineResource,
  type ResourceRow,
  type ResourceType,
  snapshot,
  statePathOf,
  volume,
} from '../../machines/index.ts'
import type { Limits } from '../../machines/resource.ts'
import type { JsonObject, ServiceRow } from '../../machines/row.ts'
import { asList, USED } from '../../machines/table.ts'
import { limits } from '../kit/matrix.ts'
import { clusterings, expectAtRest } from '../kit/rig.ts'
import { Rows } from '../kit/rows.ts'

const VOLUME = 'volume/v1'
const BACKUP = 'backup/b1'
const SNAPSHOT = 'snapshot/s1'

describe.each(clusterings)('Decisions over several rows, $clustering', ({ cluster }) => {
  function held(operation: 'create' | 'restore', status = 'available') {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { status, data: { name: 'a', size: 2 }, fence: 4 })
    if (operation === 'restore') rows.put('backup', 'b1', { data: { name: 'b', volume_id: 'v0', size: 1 } })
    rows.ask(
      BACKUP,
      operation,
      operation === 'restore' ? { volume_id: 'v1' } : { name: 'b', volume_id: 'v1' },
    )
    return rows
  }

  test('an operation over two rows changes both in one decision, each one version up', () => {
    const rows = held('create')
    expect(rows.row(BACKUP)).toMatchObject({
      status: 'creating',
      worker: rows.topic,
      incarnation: null,
      version: 1,
    })
    expect(rows.row(VOLUME)).toMatchObject({
      status: 'backing-up',
      previous_status: 'available',
      held_by: { kind: 'backup', id: 'b1', fence: 0 },
      operation: null,
      worker: null,
      version: 2,
      fence: 5,
    })
  })

  test.each([
    { operation: 'create', ending: 'done', status: 'in-use', at: 'in-use', primary: 'available' },
    { operation: 'create', ending: 'failed', status: 'in-use', at: 'in-use', primary: 'error' },
    { operation: 'create', ending: 'cleanup', status: 'in-use', at: 'in-use', primary: 'error' },
    { operation: 'create', ending: 'cancelled', status: 'in-use', at: 'in-use', primary: 'gone' },
    { operation: 'restore', ending: 'done', status: 'available', at: 'available', primary: 'available' },
    {
      operation: 'restore',
      ending: 'failed',
      status: 'available',
      at: 'error_restoring',
      primary: 'available',
    },
    {
      operation: 'restore',
      ending: 'cleanup',
      status: 'available',
      at: 'error_restoring',
      primary: 'available',
    },
    { operation: 'restore', ending: 'cancelled', status: 'available', at: 'available', primary: 'available' },
  ] as const)('a $operation that ends by $ending leaves its volume $at and itself $primary', (expected) => {
    const rows = held(expected.operation, expected.status)
    const before = rows.row(VOLUME)
    if (expected.ending === 'cancelled') rows.ok(BACKUP, { type: 'cancel' })
    else {
      rows.claim(BACKUP)
      if (expected.ending === 'cleanup') expect(rows.clean(BACKUP).accepted).toBe(true)
      else rows.end(BACKUP, expected.ending)
    }
    expectAtRest(rows.row(BACKUP), expected.primary)
    expectAtRest(rows.row(VOLUME), expected.at)
    expect(rows.row(VOLUME).version).toBe(before.version + 1)
    expect(rows.row(VOLUME).fence).toBeGreaterThan(before.fence)
    expect(rows.row(VOLUME).error === null).toBe(expected.ending === 'done')
  })

  test('a volume that is busy is not held, and the refusal says what it is', () => {
    const rows = held('create')
    const refused = rows.no('backup/b2', {
      type: 'create',
      input: { name: 'c', volume_id: 'v1' },
      request_id: null,
      related: {},
    })
    expect(refused).toMatchObject({
      resource: { kind: 'volume', id: 'v1' },
      expected: ['available', 'in-use'],
      found: 'backing-up',
    })
    expect(rows.rows.has('backup/b2')).toBe(false)
  })

  test('a volume that is not there, or is of another cluster, is not held', () => {
    const rows = new Rows(cluster)
    const ask = { type: 'create', input: { name: 'c', volume_id: 'v1' }, request_id: null, related: {} }
    expect(rows.no(BACKUP, ask)).toMatchObject({ resource: { kind: 'volume', id: 'v1' }, found: 'absent' })
    rows.put('volume', 'v1', { cluster: 'hdd@file' })
    expect(rows.no(BACKUP, ask)).toMatchObject({ found: 'cluster hdd@file' })
  })

  test('a requeued operation renews what it holds, so that the older claim may not write there any more', () => {
    const rows = requeueing(cluster)
    rows.claim('copy/c1')
    const before = rows.row('page/p1')
    expect(rows.clean('copy/c1').accepted).toBe(true)
    expect(rows.row('page/p1')).toMatchObject({
      status: 'copied',
      fence: before.fence + 1,
      held_by: { kind: 'copy', id: 'c1', fence: rows.row('copy/c1').fence },
    })
  })

  test.each(['a cleaner goes down', 'a cleanup fails'])(
    'when %s, the next cleaner holds the other rows under a new fence',
    (what) => {
      const rows = held('restore')
      rows.claim(BACKUP)
      rows.clean(BACKUP, true)
      rows.claim(BACKUP, 'h2')
      const before = rows.row(VOLUME)
      if (what === 'a cleanup fails') rows.end(BACKUP, 'failed')
      else rows.clean(BACKUP, true)
      expect(statePathOf(rows.row(BACKUP))).toBe('restoring.cleanup_queued')
      rows.claim(BACKUP, 'h3')
      expect(rows.row(VOLUME).fence).toBeGreaterThan(before.fence)
    },
  )

  test('a child is counted at its accept and uncounted when it is gone', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1')
    rows.ask(SNAPSHOT, 'create', { name: 's', volume_id: 'v1' })
    rows.ask('snapshot/s2', 'create', { name: 's', volume_id: 'v1' })
    expect(rows.row(VOLUME)).toMatchObject({ children: { snapshot: 2 }, version: 3, status: 'available' })
    expect(rows.no(VOLUME, { type: 'delete', input: {}, request_id: null, related: {} })).toMatchObject({
      guard: 'hasNoSnapshots',
      found: 'available',
    })
    // Cancelled before a node took it: gone at once.
    rows.ok('snapshot/s2', { type: 'cancel' })
    expectAtRest(rows.row('snapshot/s2'), 'gone')
    expect(rows.row(VOLUME).children).toEqual({ snapshot: 1, [USED]: 1 })
    rows.claim(SNAPSHOT)
    rows.end(SNAPSHOT, 'failed')
    expect(rows.row(VOLUME).children).toEqual({ snapshot: 1 })
    rows.ask(SNAPSHOT, 'delete')
    rows.claim(SNAPSHOT)
    rows.end(SNAPSHOT, 'done')
    expect(rows.row(VOLUME).children).toEqual({})
    rows.ask(VOLUME, 'delete')
    expect(rows.row(VOLUME).status).toBe('deleting')
  })

  test('a resource is not made under a parent that is gone', () => {
    const child = defineResource({
      kind: 'leaf',
      data: z.object({ volume_id: z.string() }),
      statuses: ['ready'],
      parent: { kind: 'volume', id: 'volume_id' },
      operations: {
        create: { from: 'new', via: 'creating', to: 'ready', failed: 'ready', cleanup: 'gone' },
        delete: { from: 'ready', via: 'deleting', to: 'gone', failed: 'ready', cleanup: 'requeue' },
      },
    })
    const rows = new Rows(cluster, [volume, child])
    rows.put('volume', 'v1', { status: 'gone' })
    const ask = { type: 'create', input: { volume_id: 'v1' }, request_id: null, related: {} }
    expect(rows.no('leaf/l1', ask)).toMatchObject({
      resource: { kind: 'volume', id: 'v1' },
      found: 'gone',
    })
  })

  test('a parent that an operation only looked at binds the decision as well', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1')
    rows.put('snapshot', 's1', { data: { volume_id: 'v1' } })
    const { read } = rows.ask(SNAPSHOT, 'delete')
    expect(read.map(({ kind, id }) => `${kind}/${id}`)).toEqual([VOLUME])
  })
})

/** A type whose operation holds another and is done again from the start. */
function requeueing(cluster: string): Rows {
  const page = defineResource({
    kind: 'page',
    data: z.object({}),
    statuses: ['ready'],
    operations: {
      create: { from: 'new', via: 'creating', to: 'ready', failed: 'ready', cleanup: 'gone' },
      delete: { from: 'ready', via: 'deleting', to: 'gone', failed: 'ready', cleanup: 'requeue' },
    },
    held: { copied: { from: 'ready', to: 'ready', failed: 'ready', cleanup: 'restore' } },
  })
  const copy = defineResource({
    kind: 'copy',
    data: z.object({ page_id: z.string() }),
    statuses: ['ready', 'error'],
    operations: {
      create: {
        from: 'new',
        via: 'creating',
        to: 'ready',
        failed: 'error',
        cleanup: 'requeue',
        holds: { page: { as: 'copied', id: 'page_id' } },
      },
      delete: { from: ['ready', 'error'], via: 'deleting', to: 'gone', failed: 'error', cleanup: 'requeue' },
    },
  })
  const rows = new Rows(cluster, [page, copy])
  rows.put('page', 'p1', { status: 'ready' })
  rows.ask('copy/c1', 'create', { page_id: 'p1' })
  return rows
}

describe.each(clusterings)('Force operations, $clustering', ({ cluster }) => {
  test('on a held row take it away: the operation that held it fails, in the same decision (rule R13)', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1')
    rows.ask(BACKUP, 'create', { name: 'b', volume_id: 'v1' })
    rows.claim(BACKUP)
    const { changes } = rows.ask(VOLUME, 'force_delete')
    expect(changes.map(({ id }) => id).sort()).toEqual(['b1', 'v1'])
    expect(rows.asked).toEqual(expect.arrayContaining(['abort', 'ring']))
    expectAtRest(rows.row(BACKUP), 'error')
    expect(rows.row(BACKUP).error?.code).toBe('forced')
    expect(rows.row(VOLUME)).toMatchObject({
      status: 'deleting',
      held_by: null,
      previous_status: 'available',
    })
  })

  test("on a working row raise the fence, abort the driver and refuse the old claim's finish (rule R13)", () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { status: 'in-use', data: { size: 1 } })
    rows.ask(VOLUME, 'extend', { size: 2 })
    rows.claim(VOLUME)
    const { fence } = rows.row(VOLUME)
    rows.ask(VOLUME, 'force_delete')
    expect(rows.asked).toEqual(['abort', 'ring'])
    expect(rows.row(VOLUME)).toMatchObject({
      status: 'deleting',
      previous_status: 'in-use',
      worker: rows.topic,
      incarnation: null,
      fence: fence + 1,
      attempts: 0,
    })
    const late = { type: 'extend.done', claimant: rows.claimant(), fence, changes: { size: 2 } }
    rows.no(VOLUME, late)
    // Nor when the same node has claimed the force operation since.
    rows.claim(VOLUME)
    rows.no(VOLUME, late)
    expect(rows.row(VOLUME).data.size).toBe(1)
  })

  test('on the row that holds another release the other, in the same decision', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1')
    rows.ask(BACKUP, 'create', { name: 'b', volume_id: 'v1' })
    rows.claim(BACKUP)
    rows.ask(BACKUP, 'force_delete')
    expectAtRest(rows.row(VOLUME), 'available')
    expect(rows.row(BACKUP)).toMatchObject({ status: 'deleting', previous_status: null })
  })

  test('reset of a status in the middle of an operation leaves it at rest, its fence above the old claim', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { size: 1 } })
    rows.ask(VOLUME, 'extend', { size: 2 })
    rows.claim(VOLUME)
    const { fence } = rows.row(VOLUME)
    rows.ask(VOLUME, 'reset_status', { status: 'error' })
    expectAtRest(rows.row(VOLUME), 'error')
    expect(rows.asked).toEqual(['abort'])
    expect(rows.row(VOLUME)).toMatchObject({ fence: fence + 1, previous_status: 'available', attempts: 0 })
    rows.no(VOLUME, { type: 'extend.done', claimant: rows.claimant(), fence, changes: {} })
  })

  test('one after another keep previous_status the last rest status', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { status: 'in-use', data: { size: 1 } })
    rows.ask(VOLUME, 'extend', { size: 2 })
    rows.ask(VOLUME, 'force_delete')
    rows.ask(VOLUME, 'force_delete')
    expect(rows.row(VOLUME)).toMatchObject({ status: 'deleting', previous_status: 'in-use' })
  })
})

describe.each(clusterings)('Claims and finishes, $clustering', ({ cluster }) => {
  function extending() {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { size: 1 } })
    rows.ask(VOLUME, 'extend', { size: 2 })
    return rows
  }

  test('the second claim of a row is refused, whoever makes it', () => {
    const rows = extending()
    rows.claim(VOLUME, 'h1')
    for (const host of ['h1', 'h2']) rows.no(VOLUME, { type: 'claim', claimant: rows.claimant(host) })
    expect(rows.row(VOLUME)).toMatchObject({ worker: 'h1@file', incarnation: 1, attempts: 1, fence: 1 })
  })

  test('only a life that is up, and of the topic, claims (rule R5)', () => {
    const rows = extending()
    for (const service of [{ state: 'down' }, { state: 'starting' }, { incarnation: 2 }, { cluster: 'hdd' }])
      rows.no(VOLUME, { type: 'claim', claimant: rows.claimant('h1', 1, service as Partial<ServiceRow>) })
  })

  test('a later life of the same node can neither finish nor lose the claim of an earlier one (rules R1, R2)', () => {
    const rows = extending()
    rows.claim(VOLUME, 'h1', 2)
    const { fence } = rows.row(VOLUME)
    for (const life of [1, 3])
      rows.no(VOLUME, { type: 'extend.done', claimant: rows.claimant('h1', life), fence, changes: {} })
    // A cleaner that saw life 1 down comes late.
    rows.no(VOLUME, {
      type: 'cleanup',
      worker: 'h1@file',
      incarnation: 1,
      at_backend: false,
      reason: '',
      limits,
    })
    expect(statePathOf(rows.row(VOLUME))).toBe('extending.working')
  })

  test('a cleanup never takes a queued row, though its worker may be the same text (rule R17)', () => {
    const rows = extending()
    rows.no(VOLUME, {
      type: 'cleanup',
      worker: rows.topic,
      incarnation: 99,
      at_backend: false,
      reason: '',
      limits,
    })
  })

  test('an accept never hits a row that has an operation or is held (accept_at_rest)', () => {
    const rows = extending()
    for (const operation of ['extend', 'delete', 'attach', 'detach'])
      rows.no(VOLUME, { type: operation, input: { size: 9 }, request_id: null, related: {} })
    expect(rows.no(VOLUME, { type: 'delete', input: {}, request_id: null, related: {} }).found).toBe(
      'extending',
    )
  })

  test('a cancel does not undo what a claim may have begun: only the next claim ends it', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1')
    rows.ask(VOLUME, 'delete')
    rows.claim(VOLUME)
    rows.clean(VOLUME)
    rows.ok(VOLUME, { type: 'cancel' })
    expect(statePathOf(rows.row(VOLUME))).toBe('deleting.queued')
    expect(rows.row(VOLUME).operation?.cancel_requested_at).not.toBeNull()
    rows.claim(VOLUME, 'h2')
    rows.end(VOLUME, 'failed')
    expectAtRest(rows.row(VOLUME), 'error_deleting')
    expect(rows.row(VOLUME).error?.code).toBe('cancelled')
  })

  test('a finish restores previous_status or sets the end of its own, and empties the worker in the same change', () => {
    const rows = extending()
    rows.claim(VOLUME)
    rows.end(VOLUME, 'done', { changes: { size: 2 } })
    expectAtRest(rows.row(VOLUME), 'available')
    expect(rows.row(VOLUME)).toMatchObject({ data: { size: 2 }, error: null, attempts: 0, host: 'h1' })
  })

  test('a refused guard names itself, and what was found', () => {
    const rows = new Rows(cluster)
    rows.put('volume', 'v1', { data: { size: 2 } })
    const ask = { type: 'extend', input: { size: 2 }, request_id: null, related: {} }
    expect(rows.no(VOLUME, ask)).toMatchObject({ guard: 'isLarger', found: 'available' })
  })
})

/** Every operation that a driver does, with what its table says of its cleanup. */
const driven = [volume, snapshot, backup].flatMap((type) =>
  Object.entries(type.table.operations as ResourceType['table']['operations'])
    .filter(([, operation]) => operation.via !== undefined)
    .map(([name, operation]) => ({ kind: type.kind, name, operation })),
)
const cleanups = driven.flatMap((one) =>
  clusterings.map(({ clustering, cluster }) => ({ ...one, clustering, cluster })),
)

describe.each(cleanups)('Cleanup of $kind $name, $clustering', ({ kind, name, operation, cluster }) => {
  const key = `${kind}/x`
  const inputs: Record<string, JsonObject> = {
    'volume create': { name: 'a', size: 1 },
    'volume extend': { size: 2 },
    'snapshot create': { name: 's', volume_id: 'v1' },
    'backup create': { name: 'b', volume_id: 'v1' },
    'backup restore': { volume_id: 'v1' },
    'volume revert': { snapshot_id: 's1' },
    'volume migrate': { cluster: 'hdd@file' },
  }
  const prepared = (): Rows => {
    const rows = new Rows(cluster)
    if (kind !== 'volume') rows.put('volume', 'v1', { data: { size: 1 } })
    if (before !== null)
      rows.put(kind, 'x', {
        status: before,
        data: {
          size: 1,
          volume_id: 'v1',
          ...(name === 'release_source' ? { migrated_from: 'hdd@file' } : {}),
        },
      })
    if (name === 'revert') rows.put('snapshot', 's1', { data: { volume_id: 'x', size: 1 } })
    rows.ask(key, name, inputs[`${kind} ${name}`] ?? {})
    return rows
  }
  const topicOf = (rows: Rows) => (operation.at === undefined ? rows.topic : 'hdd@file')
  const before =
    operation.from === 'new' ? null : operation.from === 'any' ? 'available' : asList(operation.from)[0]!

  function working() {
    const rows = prepared()
    rows.claim(key)
    return rows
  }
  const end = operation.cleanup === 'restore' ? before! : operation.cleanup!
  const failed = operation.failed === 'previous' ? before! : operation.failed!

  test('says how by its table, nothing at the backend', () => {
    const rows = working()
    const { fence } = rows.row(key)
    expect(rows.clean(key).accepted).toBe(true)
    expect(rows.row(key).fence).toBe(fence + 1)
    if (operation.cleanup === 'requeue') {
      expect(rows.row(key)).toMatchObject({
        status: operation.via,
        worker: topicOf(rows),
        incarnation: null,
        attempts: 1,
      })
      expect(rows.asked).toEqual(['ring'])
    } else {
      expectAtRest(rows.row(key), end)
      expect(rows.row(key).error).toMatchObject({ code: 'interrupted' })
      expect(rows.row(key).error!.message).toContain('h1@file went down')
    }
    // Both cleaners and the old claim lose from here on.
    rows.no(key, { type: `${name}.done`, claimant: rows.claimant(), fence, changes: {} })
    rows.no(key, {
      type: 'cleanup',
      worker: 'h1@file',
      incarnation: 1,
      at_backend: false,
      reason: '',
      limits,
    })
  })

  test('says how by its table, at the backend: it is itself a claimed step', () => {
    const rows = working()
    const { fence } = rows.row(key)
    expect(rows.clean(key, true).accepted).toBe(true)
    if (operation.cleanup === 'requeue') {
      expect(statePathOf(rows.row(key))).toBe(`${operation.via}.queued`)
      return
    }
    expect(statePathOf(rows.row(key))).toBe(`${operation.via}.cleanup_queued`)
    rows.claim(key, 'h2', 5)
    expect(rows.asked).toEqual(['clean'])
    expect(rows.row(key)).toMatchObject({ fence: fence + 2, attempts: 1, worker: 'h2@file' })
    rows.end(key, 'done')
    expectAtRest(rows.row(key), end)
  })

  test('a cleanup that fails waits for its time, and ends in the failed status past the limit (rule R14)', () => {
    const rows = working()
    const used: Limits = { attempts: 1, cleanups: 3 }
    rows.clean(key, true, { limits: used })
    for (let failures = 1; failures < used.cleanups; failures++) {
      rows.claim(key, 'h2')
      rows.end(key, 'failed', { not_before: 5_000 * failures, limits: used })
      expect(rows.row(key).operation!.cleanup).toMatchObject({ failures, not_before: 5_000 * failures })
      rows.no(key, { type: 'claim', claimant: rows.claimant('h2'), at: 5_000 * failures - 1 })
      const due = {
        ...rows.row(key).operation!,
        cleanup: { ...rows.row(key).operation!.cleanup!, not_before: 0 },
      }
      rows.put(kind, 'x', { ...rows.row(key), operation: due })
    }
    rows.claim(key, 'h2')
    // The last cleaner goes down instead of failing: that counts as well.
    expect(rows.clean(key, true, { limits: used }).accepted).toBe(true)
    expectAtRest(rows.row(key), failed)
    expect(rows.row(key).error?.code).toBe('cleanup_failed')
    if (kind === 'backup' && operation.holds)
      expectAtRest(rows.row(VOLUME), operation.via === 'creating' ? 'available' : 'error_restoring')
  })

  test('cleaners that go down one after another are counted, and end it past the limit (rule R14)', () => {
    const rows = working()
    const used: Limits = { attempts: 1, cleanups: 3 }
    rows.clean(key, true, { limits: used })
    for (let failures = 1; failures < used.cleanups; failures++) {
      rows.claim(key, `h${failures + 1}`)
      expect(rows.clean(key, true, { limits: used }).accepted).toBe(true)
      expect(statePathOf(rows.row(key))).toBe(`${operation.via}.cleanup_queued`)
      expect(rows.row(key).operation!.cleanup).toMatchObject({ failures })
    }
    rows.claim(key, 'h4')
    expect(rows.clean(key, true, { limits: used }).accepted).toBe(true)
    expectAtRest(rows.row(key), failed)
    expect(rows.row(key).error?.code).toBe('cleanup_failed')
  })

  if (operation.cleanup === 'requeue')
    test.each([false, true])(
      'past its attempts it ends in its failed status, with the history of them (rule R15), at the backend: %s',
      (at_backend) => {
        const rows = working()
        for (let life = 2; life <= 4; life++) {
          expect(statePathOf(rows.row(key))).toBe(`${operation.via}.working`)
          expect(rows.clean(key, at_backend).accepted).toBe(true)
          if (rows.row(key).operation !== null) rows.claim(key, `h${life}`, life)
        }
        if (at_backend) rows.end(key, 'done')
        expectAtRest(rows.row(key), failed)
        expect(rows.row(key).error?.code).toBe('attempts_used_up')
        expect(rows.row(key).error?.message).toMatch(
          /1\. h1@file life 1 fence .*2\. h2@file life 2 .*3\. h3@file life 3/,
        )
      },
    )

  test("cancel: queued as if never asked for, working at the driver's word, cleaning not at all", () => {
    const rows = prepared()
    if (operation.follows !== undefined) {
      rows.no(key, { type: 'cancel' })
      working().no(key, { type: 'cancel' })
      return
    }
    rows.ok(key, { type: 'cancel' })
    if (operation.force) expect(rows.row(key).operation?.cancel_requested_at).not.toBeNull()
    else {
      expectAtRest(rows.row(key), before ?? 'gone')
      expect(rows.row(key).error?.code).toBe('cancelled')
    }

    const claimed = working()
    claimed.ok(key, { type: 'cancel' })
    expect(claimed.asked).toEqual(['abort'])
    claimed.end(key, 'failed')
    expectAtRest(claimed.row(key), failed)
    expect(claimed.row(key).error?.code).toBe('cancelled')

    const faster = working()
    faster.ok(key, { type: 'cancel' })
    faster.end(key, 'done')
    if (name === 'migrate') expect(statePathOf(faster.row(key))).toBe('releasing.queued')
    else expect(faster.row(key)).toMatchObject({ operation: null, error: null })

    // Its node goes down before the driver answers: it is not begun again.
    const down = working()
    down.ok(key, { type: 'cancel' })
    down.clean(key)
    expectAtRest(down.row(key), failed)
    expect(down.row(key).error?.code).toBe('cancelled')

    const cleaning = working()
    cleaning.clean(key, true, { limits: { attempts: 1, cleanups: 5 } })
    cleaning.no(key, { type: 'cancel' })
    cleaning.claim(key, 'h2')
    cleaning.no(key, { type: 'cancel' })
    cleaning.end(key, 'done')
    cleaning.no(key, { type: 'cancel' })
  })
})

const KEYS = [VOLUME, SNAPSHOT, BACKUP] as const

/** What a random world may do next. Wrong owners, late cleaners and double claims are part of it. */
const stepOf = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constant('ask' as const),
      key: fc.constantFrom(...KEYS),
      operation: fc.constantFrom(
        ...[
          'create',
          'create',
          'extend',
          'restore',
          'attach',
          'detach',
          'delete',
          'force_delete',
          'reset_status',
        ],
      ),
      size: fc.integer({ min: 2, max: 4 }),
      status: fc.constantFrom('available', 'in-use', 'error'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constant('claim' as const),
      key: fc.constantFrom(...KEYS),
      host: fc.constantFrom('h1', 'h2'),
      incarnation: fc.integer({ min: 1, max: 2 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      step: fc.constantFrom('done' as const, 'failed' as const, 'progress' as const),
      key: fc.constantFrom(...KEYS),
      who: fc.constantFrom('owner', 'owner', 'owner', 'other host', 'other life', 'older fence'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      step: fc.constant('cleanup' as const),
      key: fc.constantFrom(...KEYS),
      of: fc.constantFrom('its life', 'its life', 'an earlier life', 'another host'),
      at_backend: fc.boolean(),
    }),
  },
  fc.record({ step: fc.constant('cancel' as const), key: fc.constantFrom(...KEYS) }),
)
type RandomStep = typeof stepOf extends fc.Arbitrary<infer S> ? S : never

function take(rows: Rows, random: RandomStep): Decision | null {
  const { key } = random
  const row = rows.rows.get(key)
  const kind = key.split('/')[0]!
  if (random.step === 'ask') {
    const { operation, size, status } = random
    const table = rows.types.get(kind)!.table
    if (table.operations[operation] === undefined || (row === undefined && operation !== 'create'))
      return null
    // A backup no larger than any volume here can be restored.
    const input = { name: 'a', volume_id: 'v1', size: operation === 'create' ? 1 : size, status }
    return rows.send(key, { type: operation, input, request_id: null, related: {} })
  }
  if (row === undefined) return null
  if (random.step === 'cancel') return rows.send(key, { type: 'cancel' })
  if (random.step === 'claim')
    return rows.send(key, { type: 'claim', claimant: rows.claimant(random.host, random.incarnation) })
  const host = row.host ?? 'h1'
  const incarnation = row.incarnation ?? 1
  if (random.step === 'cleanup') {
    const worker = `${random.of === 'another host' ? 'h3' : host}@file`
    const last = random.of === 'an earlier life' ? incarnation - 1 : incarnation
    const { at_backend } = random
    return rows.send(key, { type: 'cleanup', worker, incarnation: last, at_backend, reason: 'down', limits })
  }
  const { who } = random
  const claimant = rows.claimant(
    who === 'other host' ? 'h3' : host,
    incarnation + (who === 'other life' ? 1 : 0),
  )
  const owned = { claimant, fence: row.fence - (who === 'older fence' ? 1 : 0) }
  if (random.step === 'progress')
    return rows.send(key, { type: 'progress', ...owned, fraction: 0.5, note: '' })
  const name = row.operation?.cleanup ? 'cleanup' : (row.operation?.name ?? 'delete')
  const error = { code: 'driver_failed', message: 'it broke' }
  return rows.send(key, {
    type: `${name}.${random.step}`,
    ...owned,
    changes: {},
    error,
    not_before: 0,
    limits,
  })
}

describe.each(clusterings)('Whatever happens in whatever order, $clustering', ({ cluster }) => {
  test('the invariants of the protocol hold after every decision', () => {
    const reached = new Set<string>()
    fc.assert(
      fc.property(fc.array(stepOf, { maxLength: 80, size: 'max' }), (steps) => {
        const rows = new Rows(cluster)
        rows.put('volume', 'v1', { data: { name: 'a', size: 1 } })
        for (const random of steps) {
          const before = new Map(rows.rows)
          const decision = take(rows, random)
          if (decision === null) continue
          const was = before.get(random.key)
          const state = was === undefined ? 'new' : (statePathOf(was).split('.')[1] ?? was.status)
          const what = random.step === 'ask' ? random.operation : random.step
          reached.add(`${what} ${decision.accepted ? 'in' : 'refused in'} ${state}`)
          if (decision.accepted) keepsInvariants(rows, before, decision, random)
          else expect(rows.rows).toEqual(before)
        }
      }),
      { numRuns: 500, seed: 20 },
    )
    // A run that never got there is blind.
    for (const place of [
      ...['claim in queued', 'claim in cleanup_queued', 'claim refused in working', 'progress in working'],
      ...['done in working', 'failed in working', 'done refused in working', 'done in cleaning'],
      ...['failed in cleaning', 'cleanup in working', 'cleanup in cleaning', 'cleanup refused in working'],
      ...['cleanup refused in queued', 'cancel in queued', 'cancel in working', 'cancel refused in cleaning'],
      ...['force_delete in working', 'force_delete in backing-up'],
      ...['force_delete in cleaning', 'delete refused in available', 'restore in available'],
    ])
      expect(reached).toContain(place)
  })
})

function keepsInvariants(
  rows: Rows,
  before: ReadonlyMap<string, ResourceRow>,
  { changes }: Accepted,
  random: RandomStep,
): void {
  expect(new Set(changes.map(({ kind }) => kind)).size).toBe(changes.length)
  for (const row of changes) {
    const was = before.get(`${row.kind}/${row.id}`)
    const { statuses } = rows.types.get(row.kind)!
    // version_grows, fence_grows
    expect(row.version).toBe((was?.version ?? 0) + 1)
    expect(row.fence).toBeGreaterThanOrEqual(was?.fence ?? 0)
    if (row.incarnation !== null && row.incarnation !== was?.incarnation)
      expect(row.fence).toBeGreaterThan(was!.fence)
    // rest_has_no_worker
    const isRest = statuses.rest.includes(row.status) || row.status === 'gone'
    const { operation, worker, incarnation, held_by } = row
    const atRest = operation === null && worker === null && incarnation === null && held_by === null
    expect(atRest).toBe(isRest)
    expect(operation !== null).toBe(statuses.transitional.includes(row.status))
    expect(held_by !== null).toBe(statuses.held.includes(row.status))
    if (operation !== null) expect(worker).toBe(incarnation === null ? row.cluster : `${row.host}@file`)
    if (isRest) expect(row.attempts).toBe(0)
    // Rule R13: never a transitional status.
    if (row.previous_status !== null) expect(statuses.rest).toContain(row.previous_status)
  }
  const was = before.get(random.key)
  const row = rows.row(random.key)
  // accept_at_rest
  if (random.step === 'ask' && !['force_delete', 'reset_status'].includes(random.operation))
    expect(was === undefined || (was.operation === null && was.held_by === null)).toBe(true)
  // finish_by_owner
  if (random.step === 'done' || random.step === 'failed' || random.step === 'progress')
    expect(random.who).toBe('owner')
  // cleaned_only_if_gone
  if (random.step === 'cleanup') {
    expect(was!.incarnation).not.toBeNull()
    expect(random.of).toBe('its life')
    expect(row.fence).toBe(was!.fence + 1)
  }
  // What is held is held by an operation that says so, and the parent counts what is there.
  const volumeRow = rows.rows.get(VOLUME)
  const holder = volumeRow?.held_by ? rows.row(BACKUP) : null
  if (holder !== null) expect(holder.operation?.name).toMatch(/^(create|restore)$/)
  const running = rows.rows.get(BACKUP)?.operation
  if (running && /^(create|restore)$/.test(running.name)) expect(volumeRow?.held_by?.id).toBe('b1')
  const child = rows.rows.get(SNAPSHOT)
  expect(volumeRow?.children.snapshot ?? 0).toBe(child === undefined || child.status === 'gone' ? 0 : 1)
}
